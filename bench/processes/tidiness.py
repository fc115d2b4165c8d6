"""Whether a method leaves the process as it was: no thread running, standard output and error open and in place.

What is left behind would meet the cells that come after it, or keep the process from ending. Only processes that belong
to the harness are looked at: in a user's own, for example a notebook, others start threads too.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from bench.errors import BenchError
from bench.processes.children import is_own

LINGER_SECONDS = 1.0
"""What threads that are about to end have for it."""
STREAMS = {"standard output": ("stdout", 1), "standard error": ("stderr", 2)}

_left: list[threading.Thread] = []


class Untidy(BenchError):
    """A method has left something behind."""


@contextlib.contextmanager
def tidy(method: str) -> Iterator[None]:
    """Make sure that a method leaves nothing behind; what it has closed or replaced is put back.

    Raises:
        Untidy: it has.
    """
    if not is_own():
        yield
        return
    before = set(threading.enumerate())
    streams = {name: _Stream(*where) for name, where in STREAMS.items()}
    try:
        yield
    finally:
        changed = {name: words for name, stream in streams.items() if (words := stream.put_back())}
    for name, words in changed.items():
        raise Untidy(f"method {method!r} {words} {name}; allowed: to leave it as it was")
    left = _threads_beside(before)
    if left:
        _left.extend(left)
        names = ", ".join(repr(thread.name) for thread in left)
        raise Untidy(f"method {method!r} left a thread running ({names}); allowed: threads that end with the hook")


def is_spent() -> bool:
    """Return whether a thread that a method has left still runs: nothing more shall be done in this process."""
    return any(thread.is_alive() for thread in _left)


def _threads_beside(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that began meanwhile and hold up the end of the process."""
    left = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in left:
        thread.join(LINGER_SECONDS / len(left))
    return [thread for thread in left if thread.is_alive()]


class _Stream:
    """A standard stream as it is now."""

    def __init__(self, attribute: str, number: int) -> None:
        self.attribute, self.number = attribute, number
        self.value: Any = getattr(sys, attribute)
        self.about = _about(number)
        self.copy = os.dup(number) if self.about else None

    def put_back(self) -> str:
        """Put the stream back and return what was done to it; empty for nothing."""
        now = getattr(sys, self.attribute)
        setattr(sys, self.attribute, self.value)
        about = _about(self.number)
        if self.copy is not None:
            if about != self.about:
                os.dup2(self.copy, self.number)
            os.close(self.copy)
        closed = bool(getattr(self.value, "closed", False)) or (self.about is not None and about is None)
        if closed and self.value is not None:
            setattr(sys, self.attribute, os.fdopen(os.dup(self.number), "w", buffering=1))
        return "closed" if closed else "replaced" if now is not self.value or about != self.about else ""


def _about(number: int) -> tuple[int, int] | None:
    """Return what tells an open file from all others; None where it is closed."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
