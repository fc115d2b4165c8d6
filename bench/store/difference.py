"""Whether two results of a cell are the same, time and memory apart, which differ from run to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bench.store.made import changes

_COMPARED = ("rounds", "ranks", "levels", "clients")


@dataclass(frozen=True)
class Result:
    """A result of a cell, wherever it lies.

    Attributes:
        facts: of the cell.
        read: returns one of its tables.
    """

    facts: Mapping[str, Any]
    read: Callable[[str], pa.Table]


def difference(here: Result, there: Result) -> str:
    """Return in words how two results of one cell differ; empty if they do not.

    Where one of them has its tables by layer at fewer rounds, the rounds that both have are compared.
    """
    words = of_making(here.facts, there.facts)
    if words:
        return words
    if here.facts["status"] != there.facts["status"]:
        return f"one is {here.facts['status']}, the other {there.facts['status']}"
    fewer = "layers_every" in here.facts or "layers_every" in there.facts
    for name in _COMPARED:
        one, other = _numbers(here.read(name)), _numbers(there.read(name))
        if fewer and name == "ranks":
            one, other = _of_rounds(one, other), _of_rounds(other, one)
        if not one.equals(other):
            return f"the two have other {name}"
    return ""


def of_making(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """Return in words why the numbers of two results may differ, by their facts; empty if nothing says so."""
    words = changes(there, here)
    if not words and here["data"] != there["data"]:
        return f"the two were made with other data ({here['data']} and {there['data']})"
    return words


def _of_rounds(table: pa.Table, other: pa.Table) -> pa.Table:
    return table.filter(pc.is_in(table.column("round"), pc.unique(other.column("round"))))


def _numbers(table: pa.Table) -> pa.Table:
    """Return a table without the columns of time and memory, its words as texts."""
    names = [name for name in table.column_names if not name.endswith("_s") and name != "peak_memory_bytes"]
    return pa.table([_plain(table.column(name)) for name in names], names).combine_chunks()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column whose equal values are equal: words as texts, and what is no number as no value."""
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column
