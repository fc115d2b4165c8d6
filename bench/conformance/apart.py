"""Checks in a process of their own, which a method may end: the check that was at work has then failed."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.conformance.checking import CHECKS, Report, results_of
from bench.conformance.outcome import Result, Status
from bench.errors import BenchError
from bench.processes.children import Child
from bench.processes.pool import Raised
from bench.processes.tidiness import is_spent

DONE, SPENT = True, False
"""Said after the last result: whether the process can go on."""
NOT_RUN = "not run: the process of the checks had ended"


class Checker:
    """Runs the checks of one method after the other in another process, and in a new one where it has ended.

    Args:
        plugins: files of methods beside the built-in ones.
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
        self._child = child = self._child or Child(_serve, self.plugins, self.tasks)
        child.begin_work()
        child.send((method, dict(parameters or {})))
        results: list[Result] = []
        while (said := child.receive()) is not None:
            if isinstance(said, Raised):
                raise said.again()
            if isinstance(said, Result):
                results.append(said)
                continue
            if said is SPENT:
                self.close()
            return Report(method, self.tasks, tuple(results))
        self.close()
        return Report(method, self.tasks, tuple(results + _rest(method, self.tasks, len(results), child.ending)))

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.end(at_once=True)
        self._child = None


def _rest(method: str, tasks: tuple[str, ...], done: int, ending: str) -> list[Result]:
    """Return the results of the check that was at work when the process ended, and of those after it."""
    left = [(task, check) for task in tasks for check in CHECKS][done:]
    reason = f"the process ended with {ending}; expected: a whole run; hint: bench/api says what each hook returns"
    first, others = left[0], left[1:]
    failed = Result(method, *first, Status.failed, reason)
    return [failed, *(Result(method, *other, Status.undefined, NOT_RUN) for other in others)]


def _serve(line: Connection, plugins: tuple[Path, ...], tasks: tuple[str, ...]) -> None:
    while True:
        try:
            method, parameters = line.recv()
        except (EOFError, OSError):
            return
        try:
            for result in results_of(method, plugins, tasks, parameters):
                line.send(result)
            line.send(SPENT if is_spent() else DONE)
        except BenchError as error:
            line.send(Raised.of(error))
