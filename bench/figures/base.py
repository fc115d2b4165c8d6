"""What a figure is, and the words that figures share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from bench.figure_spec import FigureSpec, Options, Skip

__all__ = [
    "FigureSpec",
    "Options",
    "Skip",
    "Tables",
    "by_task",
    "evaluated_tasks",
    "evaluations",
    "is_mixed",
    "measured_tasks",
    "of_partition",
    "partition_title",
    "partitions_of",
    "slug",
    "spread",
]

Tables = dict[str, pd.DataFrame]
Value = TypeVar("Value")

PARTITION_NAMES = {
    "iid-exact": "iid, classes equal",
    "lda": "LDA",
    "lda-prior": "LDA by prior",
    "pachinko": "Pachinko",
    "dirichlet": "Dirichlet",
}


def slug(text: str) -> str:
    """Return ``text`` as a part of a file name: lower case, digits, letters, dots and hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def by_task(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (suffix of the file name, task, rows) for each task, and for each data set where a task has several.

    Real and stand-in results of one task never share a figure.
    """
    for task, rows in table.groupby("task", observed=True):
        titles = sorted(rows["data_title"].unique())
        for title in titles:
            suffix = slug(str(task)) if len(titles) == 1 else slug(f"{task} {title}")
            yield suffix, str(task), rows[rows["data_title"] == title]


def evaluated_tasks(rounds: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return (suffix of the file name, task, rows) for each task in which a cell was evaluated after training.

    Raises:
        Skip: there is no such task.
    """
    tasks = [
        (suffix, task, rows)
        for suffix, task, rows in by_task(rounds)
        if (rows["test_acc"].notna() & (rows["round"] > 0)).any()
    ]
    if not tasks:
        raise Skip("no cell was evaluated on the test set after its first round")
    return tasks


def evaluations(last: int, rounds: pd.DataFrame, value: str = "test_acc") -> str:
    """Return the words for the evaluations that the final accuracy averages, which a short run has fewer of.

    Args:
        last: how many are averaged where there are as many.
        rounds: what is averaged, one or more rows per cell and round; that of diverged cells is not.
        value: the column that an evaluation fills.
    """
    made = rounds[(rounds["round"] > 0) & rounds[value].notna() & (rounds["status"] != "diverged")]
    counts = made.groupby("cell", observed=True)["round"].nunique().clip(upper=last)
    most = last if counts.empty else int(counts.max())
    words = "the last evaluation" if most == 1 else f"the last {most} evaluations"
    return f"up to {words}" if (counts < most).any() else words


def measured_tasks(
    table: pd.DataFrame, columns: Sequence[str], missing: str, per: str | None = None
) -> list[tuple[str, str, pd.DataFrame]]:
    """Return (suffix of the file name, task, rows) for each task in which one of ``columns`` was measured.

    The rows are those in which it was, of diverged cells too; tasks in which all such cells diverged are left out.
    Columns that the tables of an earlier version lack are added, empty.

    Args:
        table: rows of cells.
        columns: of ``table``.
        missing: says in words what no finished cell has, where there is no such task.
        per: the column of which ``columns`` are drawn as a share; rows without it do not count.

    Raises:
        Skip: there is no such task.
    """
    shares = list(columns) if per is None else [*columns, per]
    table = table.assign(**{name: np.nan for name in shares if name not in table.columns})
    rows = table[table[list(columns)].notna().any(axis="columns")].dropna(subset=[] if per is None else [per])
    tasks = [(suffix, task, rows) for suffix, task, rows in by_task(rows) if (rows["status"] != "diverged").any()]
    if not tasks:
        raise Skip(f"no finished cell has {missing}")
    return tasks


def is_mixed(table: pd.DataFrame) -> bool:
    """Return whether ``table`` has cells whose clients differ in their keep ratio; ``keep`` is then the mean."""
    return "capacities" in table.columns and bool(table["capacities"].astype(str).str.contains(":").any())


def partitions_of(table: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the (partition, alpha) pairs of ``table``, from the most even to the most skewed, the natural one last."""
    pairs = table[["partition", "alpha"]].drop_duplicates().itertuples(index=False, name=None)
    skew = {"iid-exact": 0, "iid": 1, "natural": 3}
    return sorted(
        ((str(partition), float(alpha)) for partition, alpha in pairs),
        key=lambda pair: (skew.get(pair[0], 2), pair[0], -pair[1] if pair[1] == pair[1] else 0.0),
    )


def of_partition(table: pd.DataFrame, partition: str, alpha: float) -> pd.DataFrame:
    """Return the rows of one partition; a missing ``alpha`` (natural partition) matches a missing one."""
    same_alpha = table["alpha"].isna() if math.isnan(alpha) else table["alpha"] == alpha
    return table[(table["partition"] == partition) & same_alpha]


def partition_title(partition: str, alpha: float) -> str:
    """Return the words for a partition above a panel.

    >>> partition_title("lda", 0.1)
    'LDA, $\\\\alpha$ = 0.1'
    >>> partition_title("pachinko:2", 1.0)
    'Pachinko (fine 2), $\\\\alpha$ = 1'
    """
    if partition in ("iid", "natural"):
        return partition
    kind, _, fine = partition.partition(":")
    name = PARTITION_NAMES.get(kind, kind) + (f" (fine {fine})" if fine else "")
    if math.isnan(alpha):
        return name
    return rf"{name}, $\alpha$ = " + (r"$\infty$" if math.isinf(alpha) else f"{alpha:g}")


def spread(values: Sequence[Value], limit: int) -> list[Value]:
    """Return at most ``limit`` of ``values``, evenly spread and with both ends, where there are more."""
    if len(values) <= limit:
        return list(values)
    return [values[round(i * (len(values) - 1) / (limit - 1))] for i in range(limit)]
