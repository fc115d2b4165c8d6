"""What lies in a sweep's folder and is of no use to it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import StorageError
from bench.store.cells import FINISHED, Record, Store
from bench.store.leases import Leases
from bench.store.placing import leftovers as half_written


@dataclass(frozen=True)
class Leftover:
    """A file or folder that may go.

    Attributes:
        path: where it lies.
        name: the folder of the cell it belongs to; empty where it belongs to none that may be running.
        reason: why it may go.
    """

    path: Path
    name: str
    reason: str

    @property
    def size(self) -> int:
        """Its bytes on disk."""
        files = [self.path, *self.path.rglob("*")]
        return sum(file.stat().st_size for file in files if file.is_file())


def leftovers(store: Store, known: Iterable[Record]) -> list[Leftover]:
    """Return what may go: stale cells, cells that are not in the sweep, and what was set aside or half written.

    Args:
        store: the results of the whole sweep.
        known: the records of all its cells.
    """
    states = {record.cell.folder: record.state for record in known}
    return [
        *_cells(store, states),
        *_unfinished(store, states),
        *(Leftover(path, "", "half written by a process that has ended") for path in half_written(store.cells)),
    ]


def delete(found: Iterable[Leftover], store: Store) -> list[Leftover]:
    """Delete leftovers, and return those that stay because their cell is being run now.

    Raises:
        StorageError: one cannot be deleted.
    """
    leases, kept = Leases(store.unfinished), []
    for leftover in found:
        lease = leases.take(leftover.name, os.getpid()) if leftover.name else None
        if leftover.name and lease is None:
            kept.append(leftover)
            continue
        try:
            if leftover.path.is_dir():
                shutil.rmtree(leftover.path)
            else:
                leftover.path.unlink()
        except OSError as error:
            raise StorageError(f"{leftover.path}: it cannot be deleted: {error.strerror or error}") from None
        finally:
            if lease is not None:
                lease.release()
    return kept


def _cells(store: Store, states: dict[str, str]) -> Iterator[Leftover]:
    for path in _folders(store.cells):
        if path.name not in states:
            yield Leftover(path, path.name, "it is no cell of the sweep")
        elif states[path.name] == "stale":
            yield Leftover(
                path, path.name, "stale: made under another revision, by other files of yours or of other data"
            )


def _unfinished(store: Store, states: dict[str, str]) -> Iterator[Leftover]:
    for folder in _folders(store.unfinished):
        if folder.name not in states:
            yield Leftover(folder, folder.name, "checkpoint of no cell of the sweep")
        elif states[folder.name] in FINISHED:
            yield Leftover(folder, folder.name, "the cell is finished")
        else:
            for path in sorted(folder.glob("*.set-aside")):
                yield Leftover(path, folder.name, "a checkpoint that could not be used")


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.glob("[!.]*") if path.is_dir())
