"""Why a cell or its process ended early, in one line that says what helps."""

from __future__ import annotations

import contextlib
import signal
from concurrent.futures import BrokenExecutor

import torch

LESS_AT_ONCE = "fewer cells at once (--jobs), a smaller batch or a smaller model need less"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory, the machine's or the accelerator's, could not be had."""
    # The allocator of the CPU raises no type of its own.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def reason_of(error: BaseException) -> str:
    """Return what a cell failed of as one line."""
    said = f"{type(error).__name__}: {error}".splitlines()[0]
    if is_out_of_memory(error):
        return f"out of memory; {LESS_AT_ONCE} ({said})"
    if isinstance(error, BrokenExecutor):
        return (
            "one of the processes that train its clients was ended from outside, "
            f"most likely because the machine ran out of memory; {LESS_AT_ONCE}"
        )
    return said


def exit_words(code: int | None) -> str:
    """Return how a process ended; a signal has a negative code."""
    if code is None or code >= 0:
        return f"exit code {code}"
    name = str(-code)
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
    likely = f", most likely because the machine ran out of memory; {LESS_AT_ONCE}" if name == "SIGKILL" else ""
    return f"signal {name}{likely}"
