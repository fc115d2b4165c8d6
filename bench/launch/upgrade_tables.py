"""The columns that tables of earlier versions lack: what follows from the other columns, or else nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.cell import Cell
from bench.config.settings import number_or_words
from bench.errors import one_line
from bench.launch import scale
from bench.plugins import registry
from bench.store import schema
from bench.store.table_files import write_table

DERIVED = {**schema.ALL_TABLES, "cells": schema.CELLS, "footprint": schema.FOOTPRINT, "fits": schema.FITS}
"""The tables of a sweep by name."""
Key = tuple[Any, ...]


def upgrade_table(path: Path, plugins: tuple[Path, ...], cells: Mapping[str, Cell]) -> str:
    """Write a table of a sweep with the present columns in place of an older one.

    Return in words what was done; empty if it has them all.

    Args:
        path: the table.
        plugins: files of methods and tasks the user named.
        cells: configurations by the names that the column ``cell`` has.

    Raises:
        ValueError: it is damaged, or a later version wrote it, in words.
        StorageError: it cannot be written.
    """
    wanted = DERIVED[path.stem]
    try:
        table = pq.read_table(path)
        version = int((table.schema.metadata or {}).get(b"schema_version", b"1"))
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ValueError(f"it is damaged ({one_line(str(error))})") from None
    if version > schema.VERSION:
        raise ValueError("a later version wrote it")
    missing = [column for column in wanted if column.name not in table.column_names]
    if version == schema.VERSION and not missing and not (path.stem == "cells" and _lacks(table, cells)):
        return ""
    empty: list[str] = []
    fresh: list[str] = []
    for column in missing:
        values = _column(column.name, table, plugins)
        (empty if all(value is None for value in values) else fresh).append(column.name)
        table = table.append_column(column.with_nullable(True), pa.array(values, column.type))
    if path.stem == "cells":
        table, filled = _with_scale(table, cells, plugins)
        fresh, empty = [*fresh, *filled], [name for name in empty if name not in filled]
    others = [name for name in table.column_names if name not in wanted.names]
    about = {"schema_version": str(schema.VERSION), "upgraded_from": str(version)}
    write_table(path, table.select([*wanted.names, *others]), about)
    return in_words(version, fresh, empty)


def _column(name: str, table: pa.Table, plugins: tuple[Path, ...]) -> list[Any]:
    """Return a column that a sweep's table lacks, row by row: what its other columns say, or None."""
    if name == "classes" and {"alpha_per_class", "alpha_of_prior"} <= set(table.column_names):
        return _classes(table)
    if name == "local_training":
        rows = _rows(table, "task", "method", "label")
        known = {row: local_training(_cell(row, plugins), plugins) for row in dict.fromkeys(rows)}
        return [known[row] for row in rows]
    return [None] * len(table)


def _lacks(table: pa.Table, cells: Mapping[str, Cell]) -> bool:
    """Return whether a table of cells does not say what the configuration of one of its cells does."""
    rows = _rows(table, "cell", "settings")
    return any(settings is None and name in cells for name, settings in rows)


def _with_scale(table: pa.Table, cells: Mapping[str, Cell], plugins: tuple[Path, ...]) -> tuple[pa.Table, list[str]]:
    """Return a table of cells with what follows from their configurations, and the names of columns that have more."""
    names = table.column("cell").to_pylist()
    known = {name: scale.of_settings(cells[name], plugins) for name in names if name in cells}
    filled = []
    for field in schema.SCALE_FIELDS:
        before = table.column(field.name).to_pylist()
        after = [
            known.get(name, {}).get(field.name) if value is None else value
            for name, value in zip(names, before, strict=True)
        ]
        if after != before:
            place = table.column_names.index(field.name)
            table = table.set_column(place, field, pa.array(after, field.type))
            filled.append(field.name)
    return table, filled


def _classes(table: pa.Table) -> list[int | None]:
    """Return the number of classes: how alpha's two conventions differ, of any row of the same task and data."""
    rows = _rows(table, "task", "data_title", "alpha_per_class", "alpha_of_prior")
    found = {
        (task, data): round(of_prior / per_class) for task, data, per_class, of_prior in rows if per_class and of_prior
    }
    return [found.get((task, data)) for task, data, *_ in rows]


def local_training(cell: Cell | None, plugins: tuple[Path, ...]) -> str | None:
    """Return what a cell's method changes in local training, as it does now; None where that is not known."""
    try:
        return None if cell is None else ", ".join(registry.method(cell.method, plugins).build(cell).departures())
    except Exception:  # a method that is not here, or that has no such parameters any more
        return None


def _cell(row: Key, plugins: tuple[Path, ...]) -> Cell | None:
    """Return a cell with the parameters that a series' label names; None where they cannot be told from it."""
    task, method, label = row
    entry = registry.methods(plugins).get(method)
    if entry is None or entry.kind is None or task not in registry.tasks(plugins):
        return None
    words = (
        label.removeprefix(method)
        .partition(", keep ")[0]
        .partition(", budget ")[0]
        .strip()
        .removeprefix("(")
        .removesuffix(")")
    )
    if set(words) & set("()[]{}"):  # a value that has commas of its own
        return None
    settings = dict(part.split("=", 1) for part in words.split(", ") if "=" in part)
    names = {one.name for one in dataclasses.fields(entry.kind.Params)}
    return Cell(task, method, parameters={name: _value(value) for name, value in settings.items() if name in names})


def _value(word: str) -> Any:
    return {"True": True, "False": False}[word] if word in ("True", "False") else number_or_words(word)


def _rows(table: pa.Table, *names: str) -> list[Key]:
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def in_words(version: int, fresh: Iterable[str], empty: Iterable[str]) -> str:
    """Return what was done with what an earlier version wrote."""
    later = version < schema.VERSION
    parts = [f"schema {version} is {schema.VERSION} now" if later else "columns were added since it was written"]
    parts += [f"recomputed: {', '.join(fresh)}"] if list(fresh) else []
    parts += [f"empty: {', '.join(empty)}"] if list(empty) else []
    return "; ".join(parts)
