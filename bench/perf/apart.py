"""An object at work in a process of its own.

The processes are separate because the harness changes its process for good (threads, memory allocator), while the
bare loop is to run with the defaults; and because a peak of memory is one of a whole process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

from bench.errors import BenchError
from bench.processes.children import interrupts_held
from bench.processes.failure import ended_with


class Closable(Protocol):
    """What can be at work: it may have processes of its own, which it ends."""

    def close(self) -> None: ...


class Apart:
    """Makes an object in a new process and calls its methods there.

    An interruption from the keyboard reaches this process alone; :meth:`close` then ends the other one at once.

    Args:
        make: a function that returns the object; it and its arguments are pickled.
        arguments: of ``make``.
    """

    def __init__(self, make: Callable[..., Closable], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments))
        with interrupts_held():
            self._process.start()
        theirs.close()
        self._waiting = True
        try:
            self._answer()
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the object returns; what it raises is raised here.

        Raises:
            BenchError: the process has died.
        """
        self._waiting = True
        self._line.send((method, arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            error, value = self._line.recv()
        except EOFError:
            self._process.join()
            raise BenchError(
                f"a process that was timed ended with {ended_with(self._process.exitcode, for_memory=None)}"
            ) from None
        self._waiting = False
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """End the process and those it started, at once where it is still at work."""
        if self._waiting:
            self._process.terminate()
        self._line.close()
        self._process.join()


def _serve(line: Connection, make: Callable[..., Closable], arguments: tuple[Any, ...]) -> None:
    """Answer calls until the line is closed or broken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        at_work = make(*arguments)
    except Exception as error:
        _reply(line, error, None)
        return
    with contextlib.closing(at_work), contextlib.suppress(EOFError, BrokenPipeError):
        _reply(line, None, None)
        while True:
            method, of_method = line.recv()
            try:
                _reply(line, None, getattr(at_work, method)(*of_method))
            except Exception as error:
                _reply(line, error, None)


def _reply(line: Connection, error: Exception | None, value: Any) -> None:
    """Send an answer; an error that cannot be pickled goes as its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    line.send((error, value))
