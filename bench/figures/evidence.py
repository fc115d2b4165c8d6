"""What a figure rests on, in words: data, scale, rounds, seeds, and what diverged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pandas as pd

from bench.analysis.series import SERIES

_cells: ContextVar[pd.DataFrame | None] = ContextVar("cells", default=None)
_at_chance: ContextVar[frozenset[tuple[str, str]]] = ContextVar("at_chance", default=frozenset())
SCALE = ("model", "width", "clients", "cohort", "precision")
"""Columns of the table of cells that say how large a run is."""


@contextmanager
def said_of(cells: pd.DataFrame | None, at_chance: Collection[tuple[str, str]]) -> Iterator[None]:
    """Let subtitles say what the table of cells says of the scale, and what is at chance, within the context."""
    before, chance_before = _cells.set(cells), _at_chance.set(frozenset(at_chance))
    try:
        yield
    finally:
        _cells.reset(before)
        _at_chance.reset(chance_before)


def is_at_chance(tables: Mapping[str, pd.DataFrame]) -> bool:
    """Return whether all that the tables show is of a task and data of which no run is above chance."""
    of = [table for table in tables.values() if {"task", "data_title"} <= set(table.columns) and len(table)]
    places = {place for table in of for place in set(_pairs(table))}
    return bool(places) and places <= _at_chance.get()


def _pairs(table: pd.DataFrame) -> Iterator[tuple[str, str]]:
    yield from zip(table["task"].astype(str), table["data_title"].astype(str), strict=True)


def provenance(tables: Mapping[str, pd.DataFrame]) -> tuple[str, bool]:
    """Return what figures of ``tables`` rest on (data, scale, rounds, seeds, diverged runs), and if any is stand-in.

    Tables without data (the footprint) add nothing.
    """
    parts = [table for table in tables.values() if "data_title" in table.columns and len(table)]
    if not parts:
        return "", False
    cells = pd.concat([table[["cell", *SERIES, "seed", "status", "round"]].astype({"label": str}) for table in parts])
    diverged = cells["status"] == "diverged"
    rounds = cells[diverged == diverged.all()].groupby("cell", observed=True)["round"].max()
    seeds = cells.groupby(SERIES, dropna=False, observed=True)["seed"].nunique()
    words = [
        ", ".join(sorted(set(cells["data_title"].astype(str)))),
        *_scale(set(cells["cell"].astype(str))),
        counted(rounds.min(), rounds.max(), "round"),
        counted(seeds.min(), seeds.max(), "seed"),
    ]
    if diverged.any():
        words.append(f"{cells.loc[diverged, 'cell'].nunique()} of {cells['cell'].nunique()} runs diverged")
    return "; ".join(words), bool(cells["stand_in"].any())


def _scale(names: set[str]) -> list[str]:
    """Return what the table of cells says of the scale of some cells: model and width, clients and cohort, precision.

    Tables of earlier versions say nothing, and what only some cells say is left out.
    """
    table = _cells.get()
    if table is None or not {"cell", *SCALE} <= set(table.columns):
        return []
    rows = table[table["cell"].astype(str).isin(names)]
    if rows.empty:
        return []
    known = {name: sorted(set(rows[name])) for name in SCALE if rows[name].notna().all()}
    architectures = {_named(str(words), "architecture") for words in known.get("model", [])} - {""}
    words = [*sorted(architectures)] if len(architectures) == 1 else []
    if "width" in known:
        words.append(f"width {_span(known['width'])}")
    if {"clients", "cohort"} <= known.keys():
        words.append(f"{_span(known['clients'])} clients, {_span(known['cohort'])} a round")
    return [*words, " and ".join(map(str, known["precision"]))] if "precision" in known else words


def _named(settings: str, name: str) -> str:
    """Return the value of a setting in words as 'architecture=resnet18, width=8'; empty where it is not among them."""
    parts = (part.partition("=") for part in settings.split(", "))
    return next((value for of, _, value in parts if of == name), "")


def _span(numbers: list[Any]) -> str:
    low, high = int(numbers[0]), int(numbers[-1])
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def counted(low: int, high: int, noun: str) -> str:
    """Return a number of things in words.

    >>> counted(1, 3, "seed"), counted(1, 1, "seed")
    ('1 to 3 seeds', '1 seed')
    """
    number = f"{low}" if low == high else f"{low} to {high}"
    return f"{number} {noun}" + ("" if high == 1 else "s")
