"""Training curves against rounds, bytes, MACs or seconds."""

from __future__ import annotations

import pandas as pd

from bench.analysis.interval import mean_and_interval
from bench.analysis.series import CELL, SERIES, distinct_cells
from bench.errors import BenchError, choices

# The columns of a round that add up to each horizontal axis; "round" is the round number itself.
COSTS = {"bytes": ["down_bytes", "up_bytes"], "macs": ["forward_macs"], "seconds": ["round_s"]}
AXES = ("round", *COSTS)


def cell_curves(rounds: pd.DataFrame, x: str = "round", value: str = "test_acc") -> pd.DataFrame:
    """Return the curve of each cell, one row per round in which ``value`` was measured.

    Args:
        rounds: the table of rounds.
        x: the horizontal axis: "round", or the cost so far of the whole cohort: "bytes" (down and up), "macs"
            (forward) or "seconds" (wall clock of the rounds).
        value: the vertical axis, a column of ``rounds``.

    Returns:
        The cell columns, ``round``, ``x`` and ``value``. The initial model (round 0) has cost 0.

    Raises:
        BenchError: ``x`` is no axis.
    """
    if x not in AXES:
        raise BenchError(f"training curves: x = {x!r}, {choices(x, AXES)}")
    ordered = rounds.sort_values(["cell", "round"])
    if x == "round":
        position = ordered["round"]
    else:
        cost = ordered[COSTS[x]].astype(float).fillna(0.0).sum(axis="columns")
        position = cost.groupby(ordered["cell"], observed=True).cumsum()
    curves = ordered[[*CELL, "round"]].assign(x=position.astype(float), value=ordered[value].astype(float))
    return curves.dropna(subset=["value"]).reset_index(drop=True)


def training_curves(rounds: pd.DataFrame, x: str = "round", value: str = "test_acc") -> pd.DataFrame:
    """Return the mean curve of each series over its seeds, with its 95 % t-interval.

    The seeds are aligned by round: ``x`` is the mean over seeds of the cost after that round. A round is left out
    unless every seed of the series was measured in it, for a mean over fewer seeds would show as a jump. Diverged
    cells are left out (:func:`cell_curves` has them), and ``diverged`` counts them.

    Args:
        rounds, x, value: as for :func:`cell_curves`.

    Returns:
        One row per series and round: the series columns, ``round``, ``x``, ``mean``, ``seeds``, ``std``, ``low``,
        ``high``, ``diverged``.

    Raises:
        BenchError: ``x`` is no axis, or two cells share the series and the seed.
    """
    cells = distinct_cells(rounds)
    done = cells["status"].ne("diverged")
    counts = cells.assign(done=done.astype(int), diverged=(~done).astype(int))
    counts = counts.groupby(SERIES, dropna=False, observed=True)[["done", "diverged"]].sum().reset_index()

    curves = cell_curves(rounds, x, value)
    curves = curves[curves["status"] != "diverged"]
    by = [*SERIES, "round"]
    result = mean_and_interval(curves, by, "value")
    result.insert(len(by), "x", curves.groupby(by, dropna=False, observed=True)["x"].mean().to_numpy())
    result = result.merge(counts, on=SERIES, how="left")
    return result[result["seeds"] == result["done"]].drop(columns="done").reset_index(drop=True)
