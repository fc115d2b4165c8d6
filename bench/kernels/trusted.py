"""What may be loaded as code: files of this user's in a folder of this user's, neither of which others can write to.

Names and folders above do not count, since others may be able to rename them: owner and permissions are read from what
was opened, and that very file is loaded.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OPENED = Path("/proc/self/fd")
"""Where Linux shows what a process has opened."""


def private_folder(path: Path) -> Path | None:
    """Make a folder for this user alone and return it; None where what is there may be written to by others.

    A folder of this user's own that its group or others may write to is closed to them: it may come from a umask.

    Raises:
        OSError: it cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not hasattr(os, "geteuid"):  # Windows
        return None
    try:
        opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # a link, or not to be read
        return None
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            return None
        if os.fstat(opened).st_mode & BY_OTHERS:
            os.fchmod(opened, 0o700)
        return path if _is_private(os.fstat(opened)) else None
    except OSError:
        return None
    finally:
        os.close(opened)


def read(path: Path) -> bytes | None:
    """Return the bytes of a file that may be loaded, None of any other."""
    opened = _open(path)
    if opened is None:
        return None
    with os.fdopen(opened, "rb") as file:
        return file.read()


def load(path: Path) -> ctypes.CDLL:
    """Load a library.

    Raises:
        OSError: it is no library, or it may have been written by others.
    """
    opened = _open(path)
    if opened is None:
        raise PermissionError(f"{path} is not loaded: it is not this user's, or others can write to it")
    if not OPENED.is_dir():
        os.close(opened)
        return ctypes.CDLL(str(path))
    # It stays open: the loader takes a number that is used again for the same library.
    return ctypes.CDLL(str(path), handle=ctypes.CDLL(str(OPENED / str(opened)))._handle)


def _open(path: Path) -> int | None:
    """Open a regular file that belongs to this user and that nobody else can write to; no link is followed."""
    try:
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    status = os.fstat(opened)
    if stat.S_ISREG(status.st_mode) and _is_private(status):
        return opened
    os.close(opened)
    return None


def _is_private(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & BY_OTHERS)
