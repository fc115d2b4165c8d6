"""How many seeds a difference needs, from the spread that the differences between seeds had so far."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.analysis.power import LEVEL, POWER, detectable, seeds_needed
from bench.errors import BenchError

COLUMNS = ["task", "label", "other", "settings", "seeds", "std", "freedom", "detectable", "needed", "needed_in_family"]


def seed_plan(rows: pd.DataFrame, difference: float, power: float = POWER) -> pd.DataFrame:
    """Return for each task and pair how many seeds a difference needs, and which one the present seeds could show.

    The spread is pooled over the task's settings, each weighed by its degrees of freedom: the median of spreads of few
    seeds would be too small.

    Args:
        rows: the table of :func:`bench.analysis.comparisons.comparisons`, whose rows are taken for the family that will
            be compared.
        difference: a fraction of accuracy, above 0.
        power: the probability that the test shows it, below 1 and above the level of 0.05.

    Returns:
        One row per task and pair: ``task``, ``label``, ``other``, ``settings``, ``seeds`` (pairs, in the setting that
        has fewest), ``std`` (pooled, a fraction), ``freedom`` (its degrees of freedom), ``detectable`` (the least
        difference that ``seeds`` show, at the level 0.05), ``needed`` (seeds for ``difference``), ``needed_in_family``
        (if it is one of all rows, at the level 0.05 / rows). Numbers are missing where nothing has two seeds or a
        spread.

    Raises:
        BenchError: the difference or the power is not possible.
    """
    if not 0 < difference < np.inf:
        raise BenchError(f"difference = {difference!r} is not possible; allowed: a fraction of accuracy above 0")
    if not LEVEL < power < 1:
        raise BenchError(f"power = {power!r} is not possible; allowed: a number above {LEVEL} and below 1")
    freedom = (rows["pairs"] - 1).clip(lower=0).where(rows["std"].notna(), 0)
    counted = rows.assign(freedom=freedom, squares=freedom * rows["std"].fillna(0.0) ** 2)
    groups = counted.groupby(["task", "label", "other"], sort=False)
    table = groups.agg(
        settings=("setting", "size"), seeds=("pairs", "min"), squares=("squares", "sum"), freedom=("freedom", "sum")
    )
    table = table.reset_index()
    known = table["freedom"] > 0
    table["std"] = ((table["squares"] / table["freedom"].where(known, 1.0)) ** 0.5).where(known)
    table["detectable"] = detectable(table["std"], table["seeds"], power)
    table["needed"] = seeds_needed(table["std"], difference, power)
    table["needed_in_family"] = seeds_needed(table["std"], difference, power, LEVEL / max(len(rows), 1))
    return table[COLUMNS]
