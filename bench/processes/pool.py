"""Calls that are done by processes of the harness.

Python's own pool of processes has one queue for all of them: one that is killed while it writes a result leaves half of
it there, and whoever waits for the result waits for ever. Here each process has a line of its own, which ends with it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from bench.errors import words_of
from bench.processes.children import Child
from bench.processes.failure import Died, RemoteTraceback, Unreturnable

WATCH_SECONDS = 1.0


class Pool:
    """Processes that do calls, each one at a time; they are started when they are needed.

    Args:
        workers: number of processes, at most.
        prepare: called in each with ``arguments`` before its first call; what it raises, each call there raises.
    """

    def __init__(self, workers: int, prepare: Callable[..., None], *arguments: Any) -> None:
        self.workers, self._prepare = workers, (prepare, arguments)
        self.members: list[_Member] = []
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._unfinished = 0
        self._lock = threading.Lock()
        self._died: Died | None = None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a call done by the next process that is free, and return what will hold its result.

        The result raises what the function raised, its traceback as the cause, or
        :class:`bench.processes.failure.Died` where any of the processes has died: the others then do nothing more.
        """
        call = _Call(Future(), pickle.dumps((function, arguments), protocol=5))
        call.future.add_done_callback(self._count_down)
        with self._lock:
            self._unfinished += 1
            if self._died is None and len(self.members) < min(self._unfinished, self.workers):
                self.members.append(_Member(self, Child(_serve, os.getpid(), *self._prepare)))
        self._calls.put(call)
        if self._died is not None:
            self._fail_waiting()
        return call.future

    def next_call(self) -> _Call | None:
        """Return the next call that is not cancelled; None where there are no more."""
        while True:
            call = self._calls.get()
            if call is None or call.future.set_running_or_notify_cancel():
                return call

    def died(self, words: str) -> Died:
        """Hear that a process has died."""
        with self._lock:
            self._died = self._died or Died(f"one of the processes that train its clients ended with {words}")
        self._fail_waiting()
        return self._died

    def close(self) -> None:
        """End the processes; what they are at work on is given up."""
        self._fail_waiting()
        for member in self.members:
            self._calls.put(None)
            member.give_up()
        for member in self.members:
            member.end()

    def _fail_waiting(self) -> None:
        with contextlib.suppress(Empty):
            while (call := self._calls.get_nowait()) is not None:
                if call.future.set_running_or_notify_cancel():
                    call.future.set_exception(self._died or Died("the processes that train its clients were ended"))
            self._calls.put(None)  # it was for a member

    def _count_down(self, future: Future[Any]) -> None:
        with self._lock:
            self._unfinished -= 1


class _Call(NamedTuple):
    """A call, pickled, and what will hold its result."""

    future: Future[Any]
    packed: bytes


class _Member:
    """One process of a pool, and the thread of this one that waits for it."""

    def __init__(self, pool: Pool, child: Child) -> None:
        self.pool, self.child, self.busy, self._given_up = pool, child, False, False
        self._thread = threading.Thread(target=self._work, name="bench pool", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self.pool.next_call()) is not None:
            self.busy = True
            self.child.begin_work()
            self.child.send(call.packed)
            try:
                answer = self.child.receive()
            except Exception as error:  # what came cannot be read here
                call.future.set_exception(error)
                continue
            self.busy = False
            if answer is None:
                words = "the end of the whole pool" if self._given_up else self.child.ending
                call.future.set_exception(self.pool.died(words))
                return
            raised, result = answer
            if raised is None:
                call.future.set_result(result)
            else:
                call.future.set_exception(raised.again())

    def give_up(self) -> None:
        if self.busy:
            self._given_up = True
            self.child.process.terminate()

    def end(self) -> None:
        self._thread.join(WATCH_SECONDS)
        if self._thread.is_alive():
            self.child.process.kill()
            self._thread.join(WATCH_SECONDS)
        self.child.end()


class Raised(NamedTuple):
    """What was raised in another process: the error, empty where it cannot be sent, its words, and its traceback."""

    packed: bytes
    words: str
    traceback: RemoteTraceback

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """Return what to send of an error."""
        try:
            packed = pickle.dumps(error)
            pickle.loads(packed)
        except Exception:  # an error of a plugin's own may need more than its message
            packed = b""
        return cls(packed, words_of(error), RemoteTraceback.of(error))

    def again(self) -> Exception:
        """Return the error, to be raised again; its cause is the traceback."""
        found = None
        with contextlib.suppress(Exception):
            found = pickle.loads(self.packed)
        raised = found if isinstance(found, Exception) else Unreturnable(self.words)
        raised.__cause__ = self.traceback
        return raised


def _serve(line: Connection, parent: int, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Do the calls that come through the line until it is closed."""
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    unprepared: Raised | None = None
    try:
        prepare(*arguments)
    except (Exception, SystemExit) as error:
        unprepared = Raised.of(error)
    while True:
        try:
            packed = line.recv()
        except (EOFError, OSError):
            return
        line.send(_done(packed) if unprepared is None else (unprepared, None))


def _done(packed: bytes) -> tuple[Raised | None, Any]:
    try:
        function, arguments = pickle.loads(packed)
        return None, function(*arguments)
    except (Exception, SystemExit) as error:
        return Raised.of(error), None


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone, for example killed: nobody else would."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
