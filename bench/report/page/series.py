"""The series of a report and the cells each of them stands on: what every number of the page leads back to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.budgets import heading
from bench.analysis.profiles import split_label
from bench.analysis.series import SERIES
from bench.report.source import Source

Key = tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Cells that differ in their seed only.

    Attributes:
        number: of the series on the page; it is called S1, S2, ...
        label, method: as in the tables.
        name: the label without the keep ratios of its clients, which the place has: as in comparisons.
        place: task, keep ratio or profile and partition in words.
        cells: names of their folders, in the order of the seeds.
    """

    number: int
    label: str
    method: str
    name: str
    place: str
    cells: tuple[str, ...]

    @property
    def id(self) -> str:
        """What links lead to."""
        return f"s{self.number}"

    @property
    def word(self) -> str:
        """What the page calls it in notes."""
        return f"S{self.number}"

    @property
    def origin(self) -> str:
        """Where its numbers come from, in words."""
        return f"{self.word}: cells {' '.join(name.rsplit('-', 1)[-1] for name in self.cells)}"


class Index:
    """All series of a source, by the columns that name one.

    Args:
        source: what the report is made of.
        placed: its finished cells in their settings (:func:`bench.analysis.settings.with_settings`).
    """

    def __init__(self, source: Source, placed: pd.DataFrame) -> None:
        self.by_key: dict[Key, Series] = {}
        self._by_cell: dict[str, Series] = {}
        names_of = dict(zip(placed["cell"].astype(str), placed["label"].astype(str), strict=True))
        cells = source.cells.sort_values(["task", "label", "keep", "partition", "alpha", "seed"], kind="stable")
        for number, (_, rows) in enumerate(cells.groupby(SERIES, dropna=False, observed=True, sort=False), 1):
            first = rows.iloc[0].to_dict()
            names = tuple(rows["cell"].astype(str))
            name = names_of[names[0]]
            series = Series(number, str(first["label"]), str(first["method"]), name, place_of(first), names)
            self.by_key[_key(first)] = series
            self._by_cell |= dict.fromkeys(names, series)

    def of(self, row: Mapping[Any, Any]) -> Series:
        """Return the series of a row that has the columns of one."""
        return self.by_key[_key(row)]

    def of_cell(self, cell: str) -> Series:
        """Return the series that a cell belongs to."""
        return self._by_cell[cell]

    def of_label(self, label: str) -> list[Series]:
        """Return all series of a label without keep ratios."""
        return [series for series in self.by_key.values() if series.name == label]

    def all(self) -> list[Series]:
        """Return all series in order."""
        return list(self.by_key.values())


def _key(row: Mapping[Any, Any]) -> Key:
    return tuple(f"{row[name]:.12g}" if isinstance(row[name], float) else str(row[name]) for name in SERIES)


def place_of(row: Mapping[Any, Any]) -> str:
    """Return where a row of cells is, in words: its task, its keep ratio or profile and its partition."""
    profile = split_label(str(row["label"]), str(row["method"]))[1]
    keep = heading(profile) if profile else f"keep {float(row['keep']):g}"
    return f"{row['task']}, {keep}, {partition_words(str(row['partition']), float(row['alpha']))}"


def partition_words(partition: str, alpha: float) -> str:
    """Return a partition in plain words.

    >>> partition_words("lda", 0.1), partition_words("iid", math.inf)
    ('lda, alpha 0.1', 'iid')
    """
    if math.isnan(alpha) or (math.isinf(alpha) and partition == "iid"):
        return partition
    return f"{partition}, alpha {'∞' if math.isinf(alpha) else f'{alpha:g}'}"


def seeds_of(rows: pd.DataFrame) -> list[int]:
    """Return the seeds of some cells, each once, in order."""
    return sorted({int(seed) for seed in rows["seed"]})
