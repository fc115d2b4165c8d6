"""Intervals that hold together: the level of each is that of the family, divided by the number of its members."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis.interval import CONFIDENCE


def adjusted(rows: pd.DataFrame, mean: str = "mean", confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Return rows with simultaneous intervals (Bonferroni): all of them hold together with probability ``confidence``.

    Of twenty comparisons of equal methods, each by an interval of its own with 95 %, one is expected to look different.

    Args:
        rows: the comparisons that are judged together: the columns ``mean``, ``std`` (with n - 1) and ``pairs`` (n).
        mean: the name of the column of the means.
        confidence: of the family.

    Returns:
        The rows with ``family`` (m: how many have an interval), and ``adjusted_low`` and ``adjusted_high``: mean
        -+ t(1 - (1 - confidence) / (2 m), n - 1) * std / sqrt(n), missing where there are fewer than two pairs.
    """
    pairs, std = rows["pairs"].to_numpy(dtype=float), rows["std"].to_numpy(dtype=float)
    judged = (pairs > 1) & np.isfinite(std)
    family = int(judged.sum())
    quantile = stats.t.isf((1 - confidence) / 2 / max(family, 1), np.where(judged, pairs - 1, np.nan))
    half = quantile * std / np.sqrt(np.where(judged, pairs, np.nan))
    return rows.assign(family=family, adjusted_low=rows[mean] - half, adjusted_high=rows[mean] + half)
