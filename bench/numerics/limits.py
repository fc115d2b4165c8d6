"""What this machine has, so that a request that cannot end well is refused before it starts."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bench.errors import BenchError

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
UNLIMITED = 1 << 60
"""Limits of control groups above this are none."""


def memory_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how much memory processes of this machine, or container, can have in all."""
    sizes = [UNLIMITED]
    if hasattr(os, "sysconf"):
        with contextlib.suppress(ValueError, OSError):
            sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # it says "max" where there is no limit
            sizes.append(int(path.read_text()))
    return min(sizes)


def check_memory(what: str, needed: float) -> None:
    """Refuse what needs more memory than there is.

    Args:
        what: the setting and what it asks for, before "needs".
        needed: bytes, at least.

    Raises:
        BenchError: it does not fit.
    """
    if needed > memory_bytes():
        raise BenchError(
            f"{what} needs {in_words(needed)} of memory at least; this machine has {in_words(memory_bytes())}"
        )


def in_words(size: float) -> str:
    """Return a number of bytes with two digits and a unit."""
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.2g} {unit}" if size < 100 else f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.2g} {UNITS[-1]}" if size < 100 else f"{size:.0f} {UNITS[-1]}" if size < 1e6 else f"{size:.0e} PB"
