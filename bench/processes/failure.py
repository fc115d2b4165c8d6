"""Why a cell or its process ended early, in one line that says what helps."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.errors import message_of, one_line, step_in, words_of

LESS_AT_ONCE = "fewer cells at once (--jobs), a smaller batch or a smaller model need less"
CORRUPTED = ("free()", "malloc", "corrupt", "munmap_chunk", "realloc()", "stack smashing", "calloc")
"""What the C library says where it finds its own memory damaged."""
SIGNALS = {
    "SIGSEGV": "compiled code touched memory that is not its own",
    "SIGBUS": "memory was not there, as where a mapped file has shrunk or its disk is full",
    "SIGILL": "compiled code used an instruction that this processor lacks",
    "SIGFPE": "compiled code divided a whole number by zero",
    "SIGTERM": "it was ended from outside",
    "SIGHUP": "it was ended from outside",
    "SIGINT": "it was interrupted",
}


class Frame(NamedTuple):
    """A line of a traceback."""

    file: str
    line: int
    function: str


class RemoteTraceback(Exception):
    """The cause of an error that was raised in another process: its traceback.

    Args:
        text: as Python prints it.
        frames: outermost first.
    """

    def __init__(self, text: str, frames: tuple[Frame, ...] = ()) -> None:
        super().__init__(text, frames)
        self.text, self.frames = text, frames

    def __str__(self) -> str:
        return f"in another process\n{self.text}"

    @classmethod
    def of(cls, error: BaseException) -> RemoteTraceback:
        """Return what another process is told of an error."""
        text = "".join(traceback.format_exception(error)).encode(errors="backslashreplace").decode()
        return cls(text, tuple(frames_of(error)))


class Died(Exception):
    """A process of the harness ended in the middle of its work; the text says how."""


class Unreturnable(Exception):
    """What another process raised, in words, where it cannot be sent as it is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory, the machine's or the accelerator's, could not be had."""
    # The allocator of PyTorch's CPU raises no type of its own; that of its GPUs is known by name, without its import.
    of_a_device = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    return isinstance(error, MemoryError) or of_a_device or "DefaultCPUAllocator" in message_of(error)


def reason_of(error: BaseException, sources: Iterable[Path] = ()) -> str:
    """Return what a cell failed of as one line.

    Args:
        error: what was raised.
        sources: files of the method and the task; the deepest line of theirs that was at work is named.
    """
    if isinstance(error, Died):
        return str(error)
    words = str(error) if isinstance(error, Unreturnable) else words_of(error)
    said = words + place_in(error, sources)
    return f"out of memory; {LESS_AT_ONCE} ({said})" if is_out_of_memory(error) else said


def place_in(error: BaseException, sources: Iterable[Path]) -> str:
    """Return the deepest line of these files that was at work, as " (name.py, line 3, in select)"; empty if none."""
    return step_in(frames_of(error), sources)


def frames_of(error: BaseException) -> list[Frame]:
    """Return where an error was raised, outermost frame first; of one from another process, the frames of there."""
    here = [Frame(frame.filename, frame.lineno or 0, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
    return [*here, *(error.__cause__.frames if isinstance(error.__cause__, RemoteTraceback) else ())]


def ended_with(code: int | None, last_line: str = "", for_memory: bool | None = False) -> str:
    """Return how a process ended, after "ended with".

    Args:
        code: its exit code; a signal has a negative one.
        last_line: of its standard error.
        for_memory: whether the kernel ended processes for want of memory meanwhile; None where it does not say.
    """
    if code is None or code >= 0:
        words = f"exit code {code}"
    else:
        name = str(-code)
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
        about = _about(name, last_line, for_memory)
        words = f"signal {name}: {about}" if about else f"signal {name}"
    return f"{words}; its last words: {one_line(last_line, 200)}" if last_line else words


def _about(name: str, last_line: str, for_memory: bool | None) -> str:
    if name == "SIGKILL":
        if for_memory:
            return f"most likely because the machine ran out of memory; {LESS_AT_ONCE}"
        maybe = ", or by the system, which does not say whether it ran out of memory" if for_memory is None else ""
        return f"it was ended from outside{maybe}"
    if name == "SIGABRT":
        found = any(word in last_line for word in CORRUPTED)
        return "a library found its memory corrupted" if found else "a library or the plugin gave up"
    return SIGNALS.get(name, "")


def kills_for_memory(cgroups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return how many processes the kernel has ended for want of memory, here as near as it says; None if it does not.

    That is in the control group of this process, of either version, else on the whole machine.
    """
    for path in (*_counters(cgroups, root), Path("/proc/vmstat")):
        with contextlib.suppress(OSError, ValueError):
            for name, _, number in (line.partition(" ") for line in path.read_text().splitlines()):
                if name == "oom_kill":
                    return int(number)
    return None


def _counters(cgroups: Path, root: Path) -> Iterable[Path]:
    """Return where the counters of this process's control group may be; within a container its path is the root's."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for line in cgroups.read_text().splitlines():
            _, _, rest = line.partition(":")
            controllers, _, group = rest.partition(":")
            if controllers == "":
                found += [root / group.lstrip("/") / "memory.events", root / "memory.events"]
            elif "memory" in controllers.split(","):
                found += [root / "memory" / group.lstrip("/") / "memory.oom_control"]
                found += [root / "memory" / "memory.oom_control"]
    return found
