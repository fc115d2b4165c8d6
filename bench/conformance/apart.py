"""Checks in a process of their own, which a plugin may end: the check that was at work has then failed."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.conformance.checking import CHECKS, Report, results_of
from bench.conformance.outcome import Result, Status
from bench.conformance.task_checking import TASK_CHECKS, TaskReport, task_results_of
from bench.errors import BenchError
from bench.processes.children import Child
from bench.processes.pool import Raised
from bench.processes.tidiness import is_spent

DONE, SPENT = True, False
"""Said after the last result: whether the process can go on."""
NOT_RUN = "not run: the process of the checks had ended"
_Order = tuple[str, tuple[str, ...], dict[str, Any]]
"""A method ("" for a task by itself), the tasks, and parameters of the method or task."""


class Checker:
    """Runs the checks of one method or task after the other in another process, and in a new one where it has ended.

    Args:
        plugins: files of methods and tasks beside the built-in ones.
        tasks: names of the tasks that methods are checked on.
    """

    def __init__(self, plugins: tuple[Path, ...], tasks: tuple[str, ...]) -> None:
        self.plugins, self.tasks = plugins, tasks
        self._child: Child | None = None

    def check(self, method: str, parameters: Mapping[str, Any] | None = None) -> Report:
        """Run every check on a method, see :func:`bench.conformance.check_method`.

        Raises:
            BenchError: there is no such method or task, or a parameter is not possible.
        """
        every = [(method, task, check) for task in self.tasks for check in CHECKS]
        return Report(method, self.tasks, self._results((method, self.tasks, dict(parameters or {})), every))

    def check_task(self, task: str, model: Mapping[str, Any] | None = None) -> TaskReport:
        """Run every check of tasks on one, see :func:`bench.conformance.check_task`.

        Raises:
            BenchError: there is no such task, or a parameter is not possible.
        """
        every = [("", task, check) for check in TASK_CHECKS]
        return TaskReport(task, self._results(("", (task,), dict(model or {})), every))

    def _results(self, order: _Order, every: list[tuple[str, str, str]]) -> tuple[Result, ...]:
        """Return the results of an order, which are one for each (method, task, check)."""
        self._child = child = self._child or Child(_serve, self.plugins)
        child.begin_work()
        child.send(order)
        results: list[Result] = []
        while (said := child.receive()) is not None:
            if isinstance(said, Raised):
                raise said.again()
            if isinstance(said, Result):
                results.append(said)
                continue
            if said is SPENT:
                self.close()
            return tuple(results)
        self.close()
        return tuple(results + _rest(every[len(results) :], child.ending))

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.end(at_once=True)
        self._child = None


def _rest(left: list[tuple[str, str, str]], ending: str) -> list[Result]:
    """Return the results of the check that was at work when the process ended, and of those after it."""
    contract = "bench/api says" if left[0][0] else "bench/tasks/base.py and bench/models/base.py say"
    reason = f"the process ended with {ending}; expected: a whole run; hint: {contract} what each hook returns"
    first, others = left[0], left[1:]
    failed = Result(*first, Status.failed, reason)
    return [failed, *(Result(*other, Status.undefined, NOT_RUN) for other in others)]


def _serve(line: Connection, plugins: tuple[Path, ...]) -> None:
    while True:
        try:
            method, tasks, given = line.recv()
        except (EOFError, OSError):
            return
        try:
            of_task = task_results_of(tasks[0], plugins, given) if not method else None
            for result in of_task or results_of(method, plugins, tasks, given):
                line.send(result)
            line.send(SPENT if is_spent() else DONE)
        except BenchError as error:
            line.send(Raised.of(error))
