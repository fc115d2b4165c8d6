"""How cells ended, and what a diverged one counts as: nothing is left out without being counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.analysis.settings import with_settings
from bench.errors import BenchError, choices

CHANCE, LAST, MISSING = "chance", "last", "missing"
RULES = (CHANCE, LAST, MISSING)
"""What a diverged run counts as: guessing, its last measured accuracy, or nothing."""
USABLE = ("done", "diverged")
STATUSES = ("done", "diverged", "skipped", "failed")


def valued(cells: pd.DataFrame, diverged: str = CHANCE) -> pd.DataFrame:
    """Return the finished and diverged cells, these with an accuracy by a stated rule.

    By default a diverged run has the accuracy of guessing, 1 / classes: who has no model can still guess, and a method
    whose failures were left out would be judged by its lucky seeds alone.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells. ``classes`` is
            needed for "chance" and ``last_acc`` for "last"; a cell that lacks it stays without an accuracy.
        diverged: one of :data:`RULES`.

    Returns:
        The rows whose status is "done" or "diverged", ``final_acc`` filled in.

    Raises:
        BenchError: there is no such rule.
    """
    if diverged not in RULES:
        raise BenchError(f"diverged = {diverged!r} is not possible; {choices(diverged, RULES)}")
    cells = cells[cells["status"].isin(USABLE)].reset_index(drop=True)
    hit = cells["status"] == "diverged"
    if diverged == MISSING:
        value: float | pd.Series[float] = np.nan
    elif diverged == CHANCE:
        value = 1 / _classes(cells) if "classes" in cells else np.nan
    else:
        value = cells["last_acc"].astype(float) if "last_acc" in cells else np.nan
    accuracies = cells["final_acc"].astype(float).replace([np.inf, -np.inf], np.nan)
    return cells.assign(final_acc=accuracies.mask(hit, value))


def _classes(cells: pd.DataFrame) -> pd.Series[float]:
    """Return how many classes the data of each cell has, where its row lacks it from other cells of the same data."""
    classes = cells["classes"].astype(float)
    return classes.fillna(classes.groupby([cells["task"], cells["data_title"]], observed=True).transform("max"))


def outcomes(cells: pd.DataFrame, diverged: str = CHANCE, by: Sequence[str] = ()) -> pd.DataFrame:
    """Return how the cells of each label ended, and how many are not there.

    Expected are the cells of each label in each setting of the table, with each seed that any label has there.

    Args:
        cells: as for :func:`valued`; rows of status "skipped" and "failed", which tables of results do not have, are
            counted where they are there.
        diverged: the rule for diverged cells.
        by: columns of :func:`bench.analysis.settings.with_settings` to count by beside the label, as "setting".

    Returns:
        One row per label: ``by``, ``label``, ``expected``, ``done``, ``diverged``, ``skipped``, ``failed``, ``missing``
        (of the expected, those without a row), ``unvalued`` (done or diverged, but without an accuracy by the rule) and
        ``counts_as`` (the rule). A full model counts once for each keep ratio that it stands beside.
    """
    rows = with_settings(cells)
    known = valued(rows, diverged)
    rows = rows.assign(unvalued=rows["cell"].isin(known.loc[known["final_acc"].isna(), "cell"]))
    groups = ["setting", "seed"]
    of_setting = rows[list(dict.fromkeys([*groups, *by]))].drop_duplicates()
    grid = of_setting.merge(rows[["label"]].drop_duplicates(), how="cross")
    counted = {status: rows["status"] == status for status in STATUSES}
    columns = [*STATUSES, "unvalued"]
    found = rows.assign(**counted)[[*groups, "label", *columns]].groupby([*groups, "label"])[columns].sum()
    table = grid.merge(found.reset_index(), on=[*groups, "label"], how="left")
    table["missing"] = table["done"].isna()
    names = [*STATUSES, "missing", "unvalued"]
    table[names] = table[names].fillna(0).astype(int)
    keys = [*by, "label"]
    result = table.groupby(keys, sort=False)[names].sum().reset_index()
    result.insert(len(keys), "expected", table.groupby(keys, sort=False).size().to_numpy())
    return result.assign(counts_as=diverged)
