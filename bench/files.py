"""Writing files so that they are whole or not there, whatever ends the process or the machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from bench.errors import BenchError


def expanded(path: str | Path) -> Path:
    """Return a path with a leading ``~`` replaced by the user's home.

    Raises:
        BenchError: there is no such home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise BenchError(f"{path}: there is no home folder that '~' could stand for; name the whole path") from None


def write_whole(path: Path, *parts: bytes) -> None:
    """Write a file beside its place, force it to the disk and rename it into place.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_synced(fresh, *parts)
        fresh.replace(path)
        sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def write_synced(path: Path, *parts: bytes) -> None:
    """Write a file and force it to the disk."""
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Force what was written to a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(*parts: bytes) -> str:
    """Return the SHA-256 of parts one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
