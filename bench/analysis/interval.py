"""Mean, spread and 95 % interval over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


def mean_and_interval(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Return the mean of ``value`` in each group, and Student's t-interval around it.

    Args:
        frame: one row per seed in each group; missing values are left out.
        by: the grouping columns; a missing key (the ``alpha`` of a natural partition) is a group like any other.
        value: the column to average.

    Returns:
        The columns ``by``, ``mean``, ``seeds`` (the number of values averaged), ``std`` (with n - 1), and ``low`` and
        ``high``: mean -+ t(0.975, n - 1) * std / sqrt(n), missing for a single seed, which has no spread.
    """
    groups = frame.groupby(by, dropna=False, observed=True)[value]
    result = groups.agg(mean="mean", seeds="count", std="std").reset_index()
    seeds = result["seeds"].to_numpy(dtype=float)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1) * result["std"].to_numpy(dtype=float) / np.sqrt(seeds)
    return result.assign(low=result["mean"] - half, high=result["mean"] + half)


def by_seed(frame: pd.DataFrame, by: list[str], value: str) -> list[tuple[float, ...]]:
    """Return what :func:`mean_and_interval` averages in each of its rows, in the order of the seeds."""
    groups = frame.sort_values("seed", kind="stable").groupby(by, dropna=False, observed=True)[value]
    known = (values.to_numpy(dtype=float) for _, values in groups)
    return [tuple(numbers[~np.isnan(numbers)].tolist()) for numbers in known]
