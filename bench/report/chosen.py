"""Some of the results that a table is made of: those that meet conditions, as "task=cnn-femnist"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from bench.analysis.settings import in_words, with_settings
from bench.errors import BenchError, choices
from bench.report.source import Source

COLUMNS = {
    **{name: name for name in ("task", "method", "label", "partition", "alpha", "seed")},
    **{"keep": "at", "budget": "at"},
}
"""What conditions may name, and the column of :func:`bench.analysis.settings.with_settings` that has it."""


def chosen(source: Source, conditions: Iterable[str]) -> Source:
    """Return a source with the finished cells that meet all conditions; several of one name are alternatives.

    A full model, which stands at every keep ratio and budget of its place, stays with each of them.

    Args:
        source: what is chosen from.
        conditions: ``name=value``, or ``name!=value`` for all others; the names are :data:`COLUMNS`.

    Raises:
        BenchError: a condition names nothing, or no cell has its value, or none meets them all.
    """
    wanted: dict[tuple[str, bool], list[str]] = {}
    said = list(conditions)
    for condition in said:
        name, equals, value = (part.strip() for part in condition.partition("="))
        others, name = name.endswith("!"), name.removesuffix("!").strip()
        if not equals or name not in COLUMNS:
            raise BenchError(
                f"--only {condition!r}: it reads name=value or name!=value; names {choices(name, COLUMNS)}"
            )
        wanted.setdefault((name, others), []).append(value)
    if not wanted:
        return source
    rows = with_settings(source.cells)
    met = pd.Series(True, rows.index)
    for (name, others), values in wanted.items():
        has = _meets(source, rows, name, values)
        met &= ~has if others else has
    names = set(rows.loc[met, "cell"].astype(str))
    if not names:
        raise BenchError(
            f"--only: no finished cell of {source.opened} has {' and '.join(said)}; allowed: what cells have together"
        )
    tables = {name: _with_cells(table, names) for name, table in source.tables.items()}
    of_cell = rows.drop_duplicates("cell").set_index(rows.drop_duplicates("cell")["cell"].astype(str))
    finals = tables["finals"]
    known = {name: finals["cell"].astype(str).map(of_cell[name]).astype(bool) for name in ("whole", "control")}
    return replace(source, tables={**tables, "finals": finals.assign(**known)})


def _meets(source: Source, rows: pd.DataFrame, name: str, values: list[str]) -> pd.Series[bool]:
    words = rows[COLUMNS[name]].map(in_words)
    is_budget = words.str.contains("=", regex=False)
    if name in ("keep", "budget"):
        words = words.where(is_budget if name == "budget" else ~is_budget, "")
    met = pd.Series(False, rows.index)
    for value in values:
        sought = in_words(value) if name in ("keep", "alpha", "seed") else value
        found = words == sought
        if not found.any():
            known = sorted(set(words) - {""})
            raise BenchError(
                f"--only '{name}={value}': no finished cell of {source.opened} has it; {choices(value, known)}"
            )
        met |= found
    return met


def _with_cells(table: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    if "cell" not in table:
        return table
    return table[table["cell"].astype(str).isin(names)].reset_index(drop=True)
