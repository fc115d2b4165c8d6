"""Bringing cells and tables that earlier versions wrote to the present columns: recomputed, or else empty."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.cell import Cell, from_canonical
from bench.errors import BenchError, Unfinished, one_line
from bench.launch.upgrade_tables import DERIVED, in_words, local_training, upgrade_table
from bench.store import schema
from bench.store.cells import FINISHED, Store
from bench.store.leases import Leases
from bench.store.wholeness import OtherVersion, whole_of_older

OF_THE_FOLDER = ("schema", "status", "reason", "cell", "identity", "files")
OF_DATA = ("classes", "evaluated_samples", "commonest_class", "classes_per_client", "divergence_bits")
"""Facts that are counted anew where the data that a cell read is here."""


@dataclass
class Upgraded:
    """What became of a folder.

    Attributes:
        changed: what was brought up to date, with what was recomputed and what is empty.
        same: number of cells and tables that had all columns.
        left: what could not be, with the reason.
    """

    changed: dict[str, str] = field(default_factory=dict)
    same: int = 0
    left: dict[str, str] = field(default_factory=dict)


def upgrade(store: Store, plugins: Iterable[Path] = (), sweep: Iterable[Cell] = ()) -> Upgraded:
    """Bring the finished cells and the tables of a folder to the present columns, each put in place as a whole.

    Doing so twice changes nothing more, and a process that dies meanwhile leaves each cell and table as it was or as it
    is to be. No number that is there is changed, and no cell becomes one of the present revisions: one that was made
    before there were any stays stale.

    Args:
        store: the folder.
        plugins: files of methods and tasks the user named.
        sweep: cells that may have made the tables. A cell's name holds a hash of its configuration: what the tables do
            not say of one that has the same name follows from it.

    Raises:
        BenchError: there is nothing of a sweep in the folder.
        StorageError: it cannot be written; what was done so far is whole.
    """
    tables = sorted((store.folder / "tables").glob("[!.]*.parquet"))
    if not store.cells.is_dir() and not tables:
        raise BenchError(f"{store.folder}: there are no results here; allowed: a folder with cells/ or tables/ in it")
    done, plugins, by_name = Upgraded(), tuple(plugins), {cell.folder: cell for cell in sweep}
    if store.cells.is_dir():
        for folder in sorted(path for path in store.cells.glob("[!.]*") if path.is_dir()):
            _upgrade_cell(store, folder, plugins, done)
    for path in tables:
        if path.stem not in DERIVED:
            continue
        try:
            words = upgrade_table(path, plugins, by_name)
        except ValueError as reason:
            done.left[str(path)] = str(reason)
            continue
        if words:
            done.changed[str(path)] = words
        done.same += not words
    return done


def _upgrade_cell(store: Store, folder: Path, plugins: tuple[Path, ...], done: Upgraded) -> None:
    try:
        facts = whole_of_older(folder)
        if facts["schema"] == schema.VERSION or facts["status"] not in FINISHED:
            done.same += 1
            return
        cell = from_canonical(facts["cell"])
        if cell.folder != folder.name:
            raise ValueError(f"it is the cell {cell.folder} by now")
        tables, empty = _filled_tables(folder)
        lease = Leases(store.unfinished).take(folder.name, os.getpid())
        if lease is None:
            raise ValueError("it is being run now")
        fresh = _recomputed(cell, facts, plugins)
        with lease.held():
            store.write(
                cell,
                status=facts["status"],
                reason=facts["reason"],
                tables=tables,
                facts={name: value for name, value in facts.items() if name not in OF_THE_FOLDER}
                | fresh
                | {"upgraded_from": facts["schema"]},
                environment=json.loads((folder / "environment.json").read_bytes()),
                log=(folder / "log.txt").read_text(encoding="utf-8").splitlines(),
            )
    except OtherVersion:
        done.left[folder.name] = "a later version wrote it"
    except (ValueError, TypeError, KeyError, OSError, Unfinished) as reason:
        done.left[folder.name] = one_line(str(reason))
    else:
        empty += [name for name in OF_DATA if name not in facts and name not in fresh]
        done.changed[folder.name] = in_words(facts["schema"], fresh, empty)


def _filled_tables(folder: Path) -> tuple[dict[str, pa.Table], list[str]]:
    """Return a cell's tables with the present columns, and the names of those that are empty."""
    tables, empty = {}, []
    for name, wanted in schema.TABLES.items():
        path = folder / f"{name}.parquet"
        if not path.exists():
            continue
        try:
            table = pq.read_table(path)
        except pa.ArrowException as error:
            raise ValueError(f"{path.name} is damaged ({one_line(str(error))})") from None
        missing = [column for column in wanted if column.name not in table.column_names]
        needed = [column.name for column in missing if not column.nullable]
        if needed:
            raise ValueError(f"{path.name} lacks {', '.join(needed)}, for which nothing stands in; run the cell again")
        for column in missing:
            table = table.append_column(column, pa.nulls(len(table), column.type))
        tables[name] = table.select(wanted.names)
        empty += [f"{name}.{column.name}" for column in missing]
    return tables, empty


def _recomputed(cell: Cell, facts: Mapping[str, Any], plugins: tuple[Path, ...]) -> dict[str, Any]:
    """Return the facts that a cell lacks and that follow from its configuration, with its data if that is here."""
    fresh: dict[str, Any] = {}
    if "local_training" not in facts:
        changed = local_training(cell, plugins)
        fresh |= {} if changed is None else {"local_training": changed}
    if facts["status"] != "skipped" and any(name not in facts for name in OF_DATA):
        from bench.federation.federation import Federation
        from bench.launch.running import facts_of

        try:
            found = facts_of(Federation.build(cell, plugins))
        except Exception:  # the data is not here, or the user's code is another by now: then it is not known
            return fresh
        if found["data"] == facts["data"]:
            fresh |= {name: found[name] for name in OF_DATA if name not in facts}
    return fresh
