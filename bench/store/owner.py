"""A process as others on the same or on another machine can tell it from all others."""

from __future__ import annotations

import functools
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        host: name of its machine.
        pid: its number there.
        started: when it was started, as the kernel says it, so that a later process of the same number is another one;
            empty where the system does not say.
        among: which processes its number tells it from: those of one start of the machine and, there, of one container;
            empty where the system does not say.
    """

    host: str
    pid: int
    started: str
    among: str

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return a process of this machine."""
        return cls(platform.node(), pid, _started(pid) or "", _among())

    @classmethod
    def read(cls, text: bytes) -> Owner | None:
        """Return the owner that a lease names; None if it is damaged."""
        try:
            values = json.loads(text)
            return cls(str(values["host"]), int(values["pid"]), str(values["started"]), str(values["among"]))
        except (ValueError, KeyError, TypeError):
            return None

    def is_gone(self) -> bool:
        """Return whether the process is known to have ended; of another machine or container nothing is known."""
        return self._is_near and _started(self.pid) != self.started

    @property
    def words(self) -> str:
        """The process as a user may look for it."""
        return f"process {self.pid}" if self._is_near else f"process {self.pid} on {self.host}"

    @property
    def _is_near(self) -> bool:
        """Whether its number means the same here: two machines, and two containers of one, may share a name."""
        return (self.host, self.among) == (platform.node(), _among())


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs."""
    return _started(pid) is not None


def _started(pid: int) -> str | None:
    """Return when a process was started; None if it has ended, even if its parent has not noticed yet."""
    if not Path("/proc/self/stat").exists():  # not Linux
        return "" if _answers(pid) else None
    try:
        # The name of the program, in parentheses, may hold spaces; then state and, 19 fields on, the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@functools.cache
def _among() -> str:
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{start} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
