"""Curves in a few numbers: at chosen rounds, over all rounds, and until a value is reached."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.analysis.curves import mean_curves
from bench.analysis.interval import mean_and_interval
from bench.analysis.series import CELL, SERIES, distinct_cells

LEAST_RATIO = 1e-2  # of measured to expected that says something, see measured_and_expected
STATISTICS = ["mean", "seeds", "std", "low", "high"]


def first_middle_last(means: pd.DataFrame) -> pd.DataFrame:
    """Return the first, middle and last measured round of each mean curve.

    The middle is the measured round nearest to half way between the other two, the earlier one of two equally near.

    Args:
        means: the table of :func:`bench.analysis.curves.mean_curves`.

    Returns:
        Three rows per series: the series columns, ``moment`` ("first", "middle", "last"), ``round``, ``mean``,
        ``seeds``, ``std``, ``low``, ``high``.
    """
    ordered = means.sort_values([*SERIES, "round"]).reset_index(drop=True)
    rounds = ordered.groupby(SERIES, dropna=False, observed=True)["round"]
    first, last = rounds.transform("min"), rounds.transform("max")
    places = ordered.assign(
        first=ordered["round"] - first,
        middle=(ordered["round"] - (first + last) / 2).abs(),
        last=last - ordered["round"],
    ).groupby(SERIES, dropna=False, observed=True)
    parts = [ordered.loc[places[moment].idxmin()].assign(moment=moment) for moment in ("first", "middle", "last")]
    # A stable sort keeps the three moments of a series in order.
    result = pd.concat(parts).sort_values(SERIES, kind="stable")
    return result[[*SERIES, "moment", "round", *STATISTICS]].reset_index(drop=True)


def mean_over_rounds(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over rounds of each cell's curve, averaged over the seeds of each series.

    A measurement counts as many times as there are rounds since the one before it, the first one since round 0: the
    last rounds of training, which are all evaluated, would outweigh the others in a plain mean.

    Args:
        curves: the columns of a cell, ``round`` and ``value``. Diverged cells are left out.

    Returns:
        One row per series: the series columns, ``mean``, ``seeds``, ``std``, ``low``, ``high``.

    Raises:
        BenchError: two cells share the series and the seed.
    """
    distinct_cells(curves)
    return mean_and_interval(cell_means(curves), SERIES, "value")


def cell_means(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over rounds of each finished cell's curve, weighed as by :func:`mean_over_rounds`.

    Returns:
        One row per cell: the columns of a cell, and ``value``.
    """
    finished = curves[curves["status"] != "diverged"].sort_values(["cell", "round"])
    since = finished["round"] - finished.groupby("cell", observed=True)["round"].shift(fill_value=0)
    weighted = finished.assign(value=since * finished["value"], rounds=since)
    sums = weighted.groupby(CELL, dropna=False, observed=True)[["value", "rounds"]].sum()
    return (sums["value"] / sums["rounds"]).rename("value").reset_index()


def measured_and_expected(measured: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Return the means over rounds (:func:`mean_over_rounds`) of what was measured and of what a formula says.

    A measured mean far below the expected one is a sign of rare and very large values that no run has met. Their ratio
    would then speak of the number of draws alone.

    Args:
        measured, expected: curves of cells, as for :func:`mean_over_rounds`; either may lack cells.

    Returns:
        One row per series: the series columns, ``measured``, ``measured_low``, ``measured_high``, ``expected``,
        ``ratio`` (measured by expected; missing below 0.01), ``seeds``.
    """
    names = {"mean": "measured", "low": "measured_low", "high": "measured_high"}
    left = mean_over_rounds(measured).rename(columns=names)
    right = mean_over_rounds(expected).rename(columns={"mean": "expected"})
    both = left.drop(columns="std").merge(right[[*SERIES, "expected"]], on=SERIES, how="outer")
    ratio = both["measured"] / both["expected"]
    both["ratio"] = ratio.where(ratio >= LEAST_RATIO)
    return both[[*SERIES, *names.values(), "expected", "ratio", "seeds"]]


def landmarks(largest: int) -> list[int]:
    """Return 1, 5, 10, 25, 50, 100, 250, 500, 1000, ... up to ``largest``."""
    steps = [1] + [step * 10**power for power in range(len(str(largest))) for step in (5, 10, 25)]
    return [step for step in steps if step <= largest]


def exploration(seen: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Return the coverage after 1, 5, 10, 25, 50, 100, ... rounds, as seen and as expected.

    Args:
        seen, expected: curves of cells whose ``value`` is the share of units trained so far; ``expected`` may lack
            cells.

    Returns:
        One row per series and such round in which ``seen`` was measured: the series columns, ``round``, ``seen``,
        ``seen_low``, ``seen_high``, ``expected``, ``seeds``.
    """
    rounds = landmarks(int(seen["round"].max())) if len(seen) else []
    at = mean_curves(seen[seen["round"].isin(rounds)])
    at = at.rename(columns={"mean": "seen", "low": "seen_low", "high": "seen_high"})
    by_law = mean_curves(expected[expected["round"].isin(rounds)]).rename(columns={"mean": "expected"})
    by = [*SERIES, "round"]
    return at.merge(by_law[[*by, "expected"]], on=by, how="left")[
        [*by, "seen", "seen_low", "seen_high", "expected", "seeds"]
    ]


def rounds_until(curves: pd.DataFrame, values: Sequence[float]) -> pd.DataFrame:
    """Return after how many rounds a curve first reached each of ``values``.

    Args:
        curves: the columns of a cell, ``round`` and ``value``. Diverged cells are left out.
        values: what to reach.

    Returns:
        One row per series and value: the series columns, ``reach`` (the value), ``reached`` (how many seeds reached
        it), ``seeds``, and ``rounds``, ``low``, ``high`` (mean over seeds and 95 % t-interval; missing unless every
        seed reached it, for the mean of those that did would be too small).
    """
    finished = curves[curves["status"] != "diverged"]
    cells = distinct_cells(finished)
    parts = []
    for value in values:
        first = finished[finished["value"] >= value].groupby("cell", observed=True)["round"].min()
        counted = cells.assign(rounds=cells["cell"].map(first).astype(float))
        means = mean_and_interval(counted, SERIES, "rounds").rename(columns={"mean": "rounds", "seeds": "reached"})
        means["seeds"] = counted.groupby(SERIES, dropna=False, observed=True).size().to_numpy()
        all_reached = means["reached"] == means["seeds"]
        means[["rounds", "low", "high"]] = means[["rounds", "low", "high"]].where(all_reached)
        parts.append(means.assign(reach=value))
    result = pd.concat(parts).sort_values(SERIES, kind="stable").reset_index(drop=True)
    return result[[*SERIES, "reach", "reached", "seeds", "rounds", "low", "high"]]
