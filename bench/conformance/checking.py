"""The list of checks, and how they are run on a method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.conformance import aggregation, costs, device, expectation, runs, submodels
from bench.conformance.judged import judged
from bench.conformance.outcome import Result, Status, fault
from bench.conformance.subject import TASKS, Subject
from bench.numerics.runtime import prepared

Check = Callable[[Subject], None]

CHECKS: dict[str, Check] = {
    "keep 1 is the full model": submodels.everything_is_the_full_model,
    "keep 1 equals FedAvg": runs.everything_equals_fedavg,
    "untrained changes nothing": aggregation.nothing_trained_changes_nothing,
    "unheld parts stay": aggregation.unheld_parts_stay,
    "order does not matter": aggregation.order_does_not_matter,
    "memory of its own": submodels.memory_of_its_own,
    "costs grow with keep": costs.costs_grow,
    "costs never shrink": costs.costs_never_shrink,
    "costs as counted": costs.costs_are_as_counted,
    "unbiased": expectation.mean_is_the_full_model,
    "two runs agree": runs.two_runs_agree,
    "two workers agree": runs.two_workers_agree,
    "resumed runs agree": runs.resumed_equals_uninterrupted,
    "no global randomness": runs.no_global_randomness,
    "any device": device.any_device,
}
"""The checks by the name that the report gives them; what exactly is checked is in their docstrings."""


@dataclass(frozen=True)
class Report:
    """The results of one method.

    Attributes:
        method: its name.
        tasks: the tasks it was checked on.
        results: one for each check and task.
    """

    method: str
    tasks: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def failures(self) -> list[str]:
        """One sentence for each mistake: method, tasks, checks, what was found, what is expected, a hint."""
        sentences = []
        for reason, results in self.by_reason(Status.failed).items():
            tasks = ", ".join(dict.fromkeys(result.task for result in results))
            checks = ", ".join(repr(check) for check in dict.fromkeys(result.check for result in results))
            sentences.append(f"{self.method} on {tasks}, {checks}: {reason}")
        return sentences

    def by_reason(self, *statuses: Status) -> dict[str, list[Result]]:
        """Return the results of these statuses by their reason: one mistake may fail many checks."""
        found: dict[str, list[Result]] = {}
        for result in self.results:
            if result.status in statuses:
                found.setdefault(result.reason, []).append(result)
        return found


def check_method(
    method: str,
    plugins: Iterable[Path] = (),
    tasks: Iterable[str] = tuple(TASKS),
    parameters: Mapping[str, Any] | None = None,
) -> Report:
    """Run every check on a method.

    Args:
        method: its name.
        plugins: files of methods beside the built-in ones.
        tasks: names of the tasks it is checked on.
        parameters: parameters of the method that are not the default.

    Raises:
        BenchError: there is no such method or task, or a parameter is not possible.
    """
    tasks = tuple(tasks)
    return Report(method, tasks, tuple(results_of(method, plugins, tasks, parameters)))


def results_of(
    method: str, plugins: Iterable[Path], tasks: Iterable[str], parameters: Mapping[str, Any] | None = None
) -> Iterator[Result]:
    """Yield the result of each check when it is known, see :func:`check_method`: task by task, as in ``CHECKS``."""
    spawns = True
    with prepared():
        for task in tasks:
            subject = Subject(method, task, plugins, parameters, spawns)
            yield from (run_check(name, subject) for name in CHECKS)
            spawns = spawns and bool(subject.skipped)


def run_check(name: str, subject: Subject) -> Result:
    """Run one check; a method that raises has failed it."""
    if subject.skipped:
        return Result(subject.method, subject.task, name, Status.undefined, subject.skipped)
    status, reason = judged(
        lambda: CHECKS[name](subject),
        subject.method,
        "bench/api says what each hook returns",
        lambda error: fault(error, subject.source),
    )
    return Result(subject.method, subject.task, name, status, reason)
