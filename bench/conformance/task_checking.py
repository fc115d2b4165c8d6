"""The list of checks of a task by itself, and how they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.conformance import task_data, task_families, task_training
from bench.conformance.judged import judged
from bench.conformance.outcome import Result, Status, Undefined, fault_of_task
from bench.conformance.task_subject import TaskSubject
from bench.numerics.runtime import prepared

DATA = "data declared"
TASK_CHECKS: dict[str, Callable[[TaskSubject], str | None]] = {
    DATA: task_data.data_can_be_had,
    "shapes of a batch": task_training.shapes_fit,
    "loss at initialisation": task_training.first_loss_is_a_guess,
    "one step lowers the loss": task_training.one_step_lowers_the_loss,
    "the same again": task_training.all_is_the_same_again,
    "partition possible": task_data.partition_is_possible,
    "families of methods": task_families.families_are_served,
    "costs of a sample": task_training.costs_are_counted,
    "tested on new samples": task_data.tested_on_new_samples,
}
"""The checks by the name that the report gives them; what exactly is checked is in their docstrings."""


@dataclass(frozen=True)
class TaskReport:
    """The results of one task.

    Attributes:
        task: its name.
        results: one for each check.
    """

    task: str
    results: tuple[Result, ...]

    @property
    def failures(self) -> list[str]:
        """One sentence for each mistake: task, checks, what was found, what is expected, a hint."""
        found: dict[str, list[str]] = {}
        for result in self.results:
            if result.status is Status.failed:
                found.setdefault(result.reason, []).append(repr(result.check))
        return [f"{self.task}, {', '.join(checks)}: {reason}" for reason, checks in found.items()]


def check_task(task: str, plugins: Iterable[Path] = (), model: Mapping[str, Any] | None = None) -> TaskReport:
    """Run every check on a task.

    Args:
        task: its name.
        plugins: files of tasks beside the built-in ones.
        model: parameters of the task that are not those of its tier "quick" (or its first, where it has none).

    Raises:
        BenchError: there is no such task, or a parameter is not possible.
    """
    return TaskReport(task, tuple(task_results_of(task, plugins, model)))


def task_results_of(
    task: str, plugins: Iterable[Path] = (), model: Mapping[str, Any] | None = None
) -> Iterator[Result]:
    """Yield the result of each check when it is known, see :func:`check_task`, as in ``TASK_CHECKS``."""
    with prepared():
        subject = TaskSubject(task, plugins, model)
        yield from (run_task_check(name, subject) for name in TASK_CHECKS)


def run_task_check(name: str, subject: TaskSubject) -> Result:
    """Run one check; a task that raises has failed it, and one without data fails the first check alone."""

    def check() -> str | None:
        if name != DATA and subject.unavailable:
            raise Undefined(subject.unavailable)
        return TASK_CHECKS[name](subject)

    status, reason = judged(
        check,
        subject.task,
        "bench/tasks/base.py says what each hook returns",
        lambda error: fault_of_task(error, subject.source),
    )
    return Result("", subject.task, name, status, reason)
