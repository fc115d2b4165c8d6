"""Cells on disk: one folder for each finished cell, put in place by one atomic rename.

``results/<sweep>/cells/<readable>-<identity>/`` holds the tables (``rounds.parquet`` and others), ``environment.json``,
``log.txt`` and ``cell.json``, which is written last. A folder that lacks a whole ``cell.json`` is no result. Beside
``cells/``, ``unfinished/<the same name>/`` holds the checkpoint and the lease of a cell that is being run or was
interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bench.cell import Cell
from bench.errors import StorageError
from bench.files import checksum, write_synced
from bench.store.claims import Claims
from bench.store.placing import replace_folder, scratch
from bench.store.schema import OPTIONAL, TABLES, VERSION, table_of
from bench.store.table_files import table_in, write_parquet
from bench.store.wholeness import OtherVersion, as_json, sealed, whole

if TYPE_CHECKING:
    from bench.store.bundle import Bundle
    from bench.store.made import Made

FINISHED = ("done", "diverged", "skipped")


@dataclass(frozen=True)
class Record:
    """What the store knows of one cell.

    Attributes:
        cell: the configuration.
        state: one of ``STATES``. "stale": finished under another revision or with other data; "damaged": its files
            are not whole.
        facts: the contents of ``cell.json``; empty where there is none.
        same_code: False where other code of the same revisions made it: its numbers are held to be the same.
        bundle: the file of others that says so, where the cell was not finished here.
    """

    cell: Cell
    state: str
    facts: Mapping[str, Any]
    same_code: bool = True
    bundle: Bundle | None = None

    @property
    def reason(self) -> str:
        """Why a cell is failed, diverged, skipped, stale or damaged; empty for the others."""
        return str(self.facts.get("reason", ""))


class Store:
    """The results of one sweep.

    Args:
        folder: ``results/<sweep>``; made when something is first written. Finished cells are also found in the bundles
            ``NAME.bench`` that lie in it, see :mod:`bench.store.claims`; those that were finished here come first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"
        self.unfinished = folder / "unfinished"
        self.claims = Claims(folder)

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            probe = self.cells / f".write-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise self._unwritable(error) from None

    def check(self) -> None:
        """Make sure that results can lie here, which needs no right to write: there is the folder, or room for it.

        Raises:
            StorageError: a file stands in its place or above it, or it cannot be looked at.
        """
        for place in (self.cells, *self.cells.parents):
            try:
                if not stat.S_ISDIR(place.stat().st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                return
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(f"{self.folder}: results cannot be written here: {error.strerror or error}")

    def path(self, cell: Cell) -> Path:
        """Return the folder of a finished cell."""
        return self.cells / cell.folder

    def checkpoint(self, cell: Cell) -> Path:
        """Return the file of an unfinished cell's checkpoint."""
        return self.unfinished / cell.folder / "checkpoint.pt"

    def stamp(self, cell: Cell) -> int | None:
        """Return what changes whenever a cell's folder is replaced; None where there is none."""
        try:
            return (self.path(cell) / "cell.json").stat().st_mtime_ns
        except OSError:
            return None

    def record(self, cell: Cell, made: Made, data: str | None) -> Record:
        """Return what is known of a cell.

        Args:
            cell: the configuration.
            made: what would make its numbers now.
            data: fingerprint of the data it would read now; None if that is not known.

        Raises:
            BenchError: a bundle in the folder cannot be used, or two of them disagree.
        """
        here = self._record_here(cell, made, data)
        if here.state in FINISHED:
            return here
        claimed = [
            replace(_judged(cell, bundle.claims[cell.identity].facts, made, data), bundle=bundle)
            for bundle in self.claims.of(cell)
        ]
        usable = [record for record in claimed if record.state in FINISHED]
        return next(iter(usable or (claimed if here.state == "to do" else [])), here)

    def _record_here(self, cell: Cell, made: Made, data: str | None) -> Record:
        folder = self.path(cell)
        if not folder.exists():
            return Record(cell, "to do", {})
        try:
            return _judged(cell, whole(folder), made, data)
        except OtherVersion as reason:
            return Record(cell, "stale", {"reason": str(reason)})
        except ValueError as damage:
            return Record(cell, "damaged", {"reason": str(damage)})

    def write(
        self,
        cell: Cell,
        *,
        status: str,
        reason: str,
        tables: Mapping[str, list[dict[str, Any]] | pa.Table],
        facts: Mapping[str, Any],
        environment: Mapping[str, Any],
        log: Iterable[str],
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        """Put a finished or failed cell in place; an older folder of the same cell is replaced.

        Args:
            tables: rows, or a table of them, by the name of their table, see :data:`bench.store.schema.TABLES`; a name
                left out has none.
            guard: called last before that; raises if the cell has become somebody else's.

        Raises:
            LeaseLost: another process put the cell in place meanwhile.
            StorageError: the disk is full or the folder cannot be written; nothing else is lost.
        """
        self.prepare()
        fresh = scratch(self.path(cell))
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            about_data = {"data_title": str(facts.get("data_title", "")), "stand_in": str(cell.data == "stand-in")}
            for name, schema in TABLES.items():
                rows = tables.get(name, [])
                if not len(rows) and name in OPTIONAL:
                    continue
                table = table_of(rows, schema)
                metadata = {**(table.schema.metadata or {}), **about_data}
                write_parquet(fresh / f"{name}.parquet", table.replace_schema_metadata(metadata))
            write_synced(fresh / "environment.json", as_json(environment))
            write_synced(fresh / "log.txt", "".join(f"{line}\n" for line in log).encode())
            checksums = {path.name: checksum(path.read_bytes()) for path in sorted(fresh.iterdir())}
            record = {
                "schema": VERSION,
                "status": status,
                "reason": reason,
                "cell": cell.canonical(),
                "identity": cell.identity,
                **facts,
                "files": checksums,
            }
            write_synced(fresh / "cell.json", sealed(record))
            guard()
            _put_in_place(fresh, self.path(cell))
        except OSError as error:
            raise StorageError(f"{self.path(cell)}: the cell cannot be written: {error.strerror or error}") from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def adopt(self, cell: Cell, files: Mapping[str, bytes], guard: Callable[[], None] = lambda: None) -> None:
        """Put a cell in place whose folder was written on another machine.

        Args:
            cell: the configuration.
            files: all files of its folder, by name.
            guard: called last before that; raises if the cell has become somebody else's.

        Raises:
            LeaseLost: another process put the cell in place meanwhile.
            ValueError: they are not whole, or of another cell; nothing is changed.
            StorageError: they cannot be written.
        """
        self.prepare()
        fresh = scratch(self.path(cell))
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            for name, content in files.items():
                write_synced(fresh / Path(name).name, content)
            if whole(fresh)["identity"] != cell.identity:
                raise ValueError("it is of another cell")
            guard()
            _put_in_place(fresh, self.path(cell))
        except OSError as error:
            raise StorageError(f"{self.path(cell)}: the cell cannot be written: {error.strerror or error}") from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def table(self, record: Record, name: str) -> pa.Table:
        """Return a table of a cell as a record tells of it: of the bundle that it comes from, or of its folder.

        Raises:
            BenchError: the file is damaged.
        """
        return self.read(record.cell, name) if record.bundle is None else record.bundle.table(record.cell, name)

    def read(self, cell: Cell, name: str) -> pa.Table:
        """Return a cell's table, see :data:`bench.store.schema.TABLES`; empty where the cell has no such rows.

        A cell that has no folder here is looked for in the bundles.

        Raises:
            BenchError: the file is damaged.
        """
        folder = self.path(cell)
        if not folder.exists():
            for bundle in self.claims.of(cell):
                return bundle.table(cell, name)
        return table_in(folder, name)

    def environment(self, record: Record) -> Mapping[str, Any]:
        """Return the machine and the software that a cell was made with; empty where that is not known."""
        if record.bundle is not None:
            return record.bundle.claims[record.cell.identity].environment
        try:
            found = json.loads((self.path(record.cell) / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _judged(cell: Cell, facts: Mapping[str, Any], made: Made, data: str | None) -> Record:
    """Return the record of a cell whose facts are whole: what it came to counts if it would come to the same now."""
    state = facts["status"]
    changed = made.changes(facts) if state in FINISHED else ""
    if changed:
        return Record(cell, "stale", {**facts, "reason": changed})
    if state in FINISHED and data is not None and facts["data"] not in (None, data):
        return Record(cell, "stale", {**facts, "reason": "it was made from other data"})
    return Record(cell, state, facts, same_code=facts.get("code") == made.code)


def _put_in_place(fresh: Path, place: Path) -> None:
    try:
        replace_folder(fresh, place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        from bench.store.leases import LeaseLost  # leases need more than training does

        raise LeaseLost("another process has put it in place") from None
