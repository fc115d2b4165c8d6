"""Leases: which process runs which cell, so that several sweeps share one folder of results.

A lease is a small file in the folder of an unfinished cell. It names its owner, who touches it every few seconds. It is
free to take once its owner is gone, or has not touched it for a minute. Changes are made one at a time, under a lock
that the system gives back when its holder dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import StorageError, Unfinished
from bench.files import write_whole
from bench.store.owner import Owner

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
LOOKS = 5
"""How often a lease that cannot be read is looked at before its holder gives up, once a second."""
NAME = "lease.json"


class LeaseLost(Unfinished):
    """Another process has taken the cell over, for example while this one was suspended."""


@dataclass(frozen=True)
class Lease:
    """The right to run one cell.

    Attributes:
        leases: where it was taken.
        name: the cell's folder.
        token: what tells it from any other lease of the cell.
    """

    leases: Leases
    name: str
    token: str

    def check(self) -> None:
        """Make sure that the cell is still this lease's.

        Raises:
            LeaseLost: it is not.
            StorageError: that cannot be read, not even after some seconds.
        """
        for look in range(1, LOOKS + 1):
            try:
                if self.leases.token(self.name) != self.token:
                    raise LeaseLost("another process has taken it over")
                return
            except OSError as error:
                if look == LOOKS:
                    path = self.leases.folder / self.name / NAME
                    raise StorageError(f"{path}: the lease cannot be read: {error.strerror or error}") from None
            time.sleep(1.0)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Touch the lease every few seconds, and give it back at the end."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.release()

    def release(self) -> None:
        """Give the lease back, if it still is this one's."""
        with contextlib.suppress(OSError, StorageError), self.leases.changing():
            if self.leases.token(self.name) == self.token:
                (self.leases.folder / self.name / NAME).unlink()
                (self.leases.folder / self.name).rmdir()  # not where a checkpoint is left

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # the disk may answer again at the next beat
                if self.leases.token(self.name) != self.token:
                    return
                os.utime(self.leases.folder / self.name / NAME)


class Leases:
    """The leases of one sweep, as this process sees them.

    Args:
        folder: the folder of unfinished cells.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[object, float]] = {}

    def take(self, name: str, process: int) -> Lease | None:
        """Take the lease of a cell for a process of this machine; None if another process has it.

        Raises:
            StorageError: the folder cannot be written.
        """
        try:
            with self.changing():
                if self.holder(name) is not None:
                    return None
                token = uuid.uuid4().hex
                (self.folder / name).mkdir(exist_ok=True)
                text = json.dumps({**asdict(Owner.of(process)), "token": token})
                write_whole(self.folder / name / NAME, text.encode())
                return Lease(self, name, token)
        except OSError as error:
            words = error.strerror or error
            raise StorageError(f"{self.folder / name}: the cell cannot be leased: {words}") from None

    def holder(self, name: str) -> str | None:
        """Return who has a cell, in words; None if it is free to take.

        Whether an owner on another machine is alive is told by the lease being touched while this process looks on:
        clocks of two machines may differ.
        """
        path = self.folder / name / NAME
        try:
            text, touched = path.read_bytes(), path.stat().st_mtime_ns
        except OSError:
            self._seen.pop(name, None)
            return None
        owner = Owner.read(text)
        if owner is not None and owner.is_gone():
            return None
        now = time.monotonic()
        sight, since = self._seen.get(name, (None, now))
        if sight != (text, touched):
            self._seen[name] = ((text, touched), now)
        elif now - since >= STALE_SECONDS:
            return None
        return owner.words if owner else "a process unknown"

    def token(self, name: str) -> str | None:
        """Return the token of a cell's lease; None if there is none or it is damaged.

        Raises:
            OSError: it cannot be read now, which says nothing about whose it is.
        """
        try:
            token = json.loads((self.folder / name / NAME).read_bytes())["token"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return str(token)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Keep all others from changing leases meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=STALE_SECONDS):
                yield
        except Timeout:
            raise StorageError(
                f"{self.folder / '.lock'}: another process has held this lock for {STALE_SECONDS:g} s; "
                "end it, or continue it if it is suspended"
            ) from None
