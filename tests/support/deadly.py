"""Processes that are killed while they write."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def killed_at(call: int, act: Callable[[], object]) -> bool:
    """Do something in a process that is killed as it forces a file or folder to the disk for this time.

    Return whether it was; it was not where there are fewer such calls.
    """
    child = os.fork()
    if child == 0:
        fsync, seen = os.fsync, [0]

        def deadly(descriptor: int) -> None:
            seen[0] += 1
            if seen[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(descriptor)

        os.fsync = deadly
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL
