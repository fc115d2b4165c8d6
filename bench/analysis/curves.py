"""Training curves against rounds, bytes, MACs or seconds."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from bench.analysis.interval import mean_and_interval
from bench.analysis.series import CELL, SERIES, distinct_cells
from bench.errors import BenchError, choices


def method_seconds(rounds: pd.DataFrame) -> pd.Series[float]:
    """Return the wall clock that the method takes in each round, in seconds; 0 for the initial model.

    Evaluations and diagnoses are left out: they are the benchmark's, and a diagnosis may train FedAvg beside it.
    """
    seconds = rounds["round_s"] - rounds["evaluate_s"] - rounds["diagnose_s"]
    return seconds.where(rounds["round"] > 0, 0.0)


def macs_column(rounds: pd.DataFrame) -> str:
    """Return the column that counts the cohort's work: ``train_macs`` (forward and backward), else ``forward_macs``.

    Training is counted where every trained round of ``rounds`` has it, so that no sum or comparison mixes the two.
    """
    trained = rounds.loc[rounds["round"] > 0]
    return "train_macs" if "train_macs" in trained and trained["train_macs"].notna().all() else "forward_macs"


# What a round adds to each horizontal axis; "round" is the round number itself.
COSTS: dict[str, Callable[[pd.DataFrame], pd.Series[float]]] = {
    "bytes": lambda rounds: rounds["down_bytes"].fillna(0) + rounds["up_bytes"].fillna(0),
    "macs": lambda rounds: rounds[macs_column(rounds)].fillna(0),
    "seconds": method_seconds,
}
AXES = ("round", *COSTS)


def cell_curves(rounds: pd.DataFrame, x: str = "round", value: str = "test_acc") -> pd.DataFrame:
    """Return the curve of each cell, one row per round in which ``value`` was measured.

    Args:
        rounds: the table of rounds.
        x: the horizontal axis: "round", or the cost so far of the whole cohort: "bytes" (down and up), "macs"
            (of the column :func:`macs_column`) or "seconds" (:func:`method_seconds`).
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
        position = COSTS[x](ordered).astype(float).groupby(ordered["cell"], observed=True).cumsum()
    curves = ordered[[*CELL, "round"]].assign(x=position.astype(float), value=ordered[value].astype(float))
    return curves.dropna(subset=["value"]).reset_index(drop=True)


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the mean curve of each series over its seeds, with its 95 % t-interval.

    The seeds are aligned by round. A round is left out unless every seed of the series was measured in it, for a mean
    over fewer seeds would show as a jump. Diverged cells are left out of the means, and ``diverged`` counts them.

    Args:
        curves: the columns of a cell, ``round``, ``x`` and ``value``: one row per cell and measured round.

    Returns:
        One row per series and round: the series columns, ``round``, ``x`` (mean over seeds), ``mean``, ``seeds``,
        ``std``, ``low``, ``high``, ``diverged``.

    Raises:
        BenchError: two cells share the series and the seed.
    """
    cells = distinct_cells(curves)
    done = cells["status"].ne("diverged")
    counts = cells.assign(done=done.astype(int), diverged=(~done).astype(int))
    counts = counts.groupby(SERIES, dropna=False, observed=True)[["done", "diverged"]].sum().reset_index()

    curves = curves[curves["status"] != "diverged"]
    by = [*SERIES, "round"]
    result = mean_and_interval(curves, by, "value")
    result.insert(len(by), "x", curves.groupby(by, dropna=False, observed=True)["x"].mean().to_numpy())
    result = result.merge(counts, on=SERIES, how="left")
    return result[result["seeds"] == result["done"]].drop(columns="done").reset_index(drop=True)


def training_curves(rounds: pd.DataFrame, x: str = "round", value: str = "test_acc") -> pd.DataFrame:
    """Return the mean over seeds (:func:`mean_curves`) of the curves of :func:`cell_curves`."""
    return mean_curves(cell_curves(rounds, x, value))


def smoothed(curves: pd.DataFrame, weight: float = 0.95, least: int = 20) -> pd.DataFrame:
    """Return the curves of cells, each replaced by its exponentially weighted moving average.

    The value of ``k`` measurements ago counts ``weight ** k``, and the weights are divided by their sum, so that the
    average does not lean on its first value. A curve of fewer than ``least`` measurements is left as it is.

    Args:
        curves: the columns of a cell, ``round``, ``x`` and ``value``.
        weight: from 0 (no smoothing) to below 1.
        least: measurements from which a curve is smoothed.
    """
    ordered = curves.sort_values(["cell", "round"]).reset_index(drop=True)
    values = ordered.groupby("cell", observed=True)["value"]
    averages = values.transform(lambda value: value.ewm(alpha=1 - weight).mean())
    return ordered.assign(value=ordered["value"].where(values.transform("size") < least, averages))
