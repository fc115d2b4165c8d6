"""Footprints that were counted before: rows of earlier tables, as long as the revisions hold that made them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench import revisions
from bench.cell import Cell
from bench.store.made import made
from bench.store.schema import FOOTPRINT, as_now

MADE_BY = b"made_by"
Row = dict[str, Any]
Counted = Mapping[str, Mapping[float, Row]]
"""Rows by what they were made by and keep ratio."""


def made_by(cell: Cell, tier: str, kind: Mapping[str, str], plugins: Iterable[Path] = ()) -> str:
    """Return what a method's footprint on a task depends on: what it counts, of which model, and their revisions.

    Args:
        cell: its task, method and parameters are looked at.
        tier: whose size the model has.
        kind: what kind of model it is.
        plugins: files of methods and tasks that the user named.
    """
    by = made(cell, plugins)
    of = [cell.task, tier, dict(kind), cell.method, cell.label, dict(by.revisions), by.own_code, revisions.MEASURES]
    return json.dumps(of, sort_keys=True)


def counted_in(files: Iterable[Path]) -> dict[str, dict[float, Row]]:
    """Return the rows of earlier tables; a file that is not there, or is no such table, has none."""
    found: dict[str, dict[float, Row]] = defaultdict(dict)
    for file in files:
        try:
            table = pq.read_table(file)
            by = {(task, label): key for task, label, key in json.loads(table.schema.metadata[MADE_BY])}
            rows = [_with_ideal(row) for row in as_now(table, FOOTPRINT).to_pylist()]
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
            continue
        for row in rows:
            key = by.get((row["task"], row["label"]))
            if key is not None:
                found[key].setdefault(row["keep"], row)
    return found


def _with_ideal(row: Row) -> Row:
    """Return a row with the operations of ideal kernels; before they were counted, all sub-models were dense."""
    return row | {f"ideal_{name}": row[name] for name in ("macs", "train_macs") if row[f"ideal_{name}"] is None}
