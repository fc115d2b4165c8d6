"""One number per cell, and one per series over its seeds."""

from __future__ import annotations

import pandas as pd

from bench.analysis.curves import method_seconds
from bench.analysis.interval import by_seed, mean_and_interval
from bench.analysis.series import SERIES, distinct_cells
from bench.errors import BenchError


def last_evaluations(table: pd.DataFrame, value: str, last: int, by: list[str]) -> pd.DataFrame:
    """Return the rows of the last ``last`` measurements of ``value`` in each group; round 0 is not counted.

    Raises:
        BenchError: ``last`` is below 1.
    """
    if last < 1:
        raise BenchError(f"final accuracy: last = {last}, allowed: a whole number of evaluations from 1 up")
    measured = table[(table["round"] > 0) & table[value].notna()].sort_values([*by, "round"])
    return measured.groupby(by, observed=True).tail(last)


def final_accuracy(rounds: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return the headline of each cell: its accuracy at the end of training, and what training cost in total.

    Args:
        rounds: the table of rounds, one row per cell and round.
        last: how many evaluations, counted from the end, the headline averages.

    Returns:
        One row per cell: the cell columns and
        ``rounds`` (completed), ``evaluations`` (how many the headline averages, at most ``last``),
        ``final_acc`` (fraction; missing for a diverged cell, which has no final model),
        ``oracle_acc`` (best over rounds: chosen on the test set, so an upper bound and never the headline),
        ``last_acc`` (last evaluation, of a diverged cell too), ``classes`` (of the data, where the table has it),
        ``total_bytes`` (down and up, whole cohort), ``total_forward_macs`` (whole cohort), ``total_s``
        (of the method, see :func:`bench.analysis.curves.method_seconds`).
        The evaluation of the initial model (round 0) is not counted.

    Raises:
        BenchError: ``last`` is below 1, two cells share the series and the seed, or a round is there twice.
    """
    twice = rounds.loc[rounds.duplicated(["cell", "round"]), "cell"]
    if len(twice):
        raise BenchError(
            f"cell {str(twice.iloc[0])!r} has rounds that are there twice: allowed is one row per cell and round, so "
            "take each cell from one table alone"
        )
    ends = last_evaluations(rounds, "test_acc", last, ["cell"])
    cells = distinct_cells(rounds).set_index("cell", drop=False)
    ordered = rounds.sort_values(["cell", "round"])
    trained = ordered[(ordered["round"] > 0) & ordered["test_acc"].notna()]
    headline = ends.groupby("cell", observed=True)["test_acc"]
    by_cell = ordered.groupby("cell", observed=True)
    cells["rounds"] = by_cell["round"].max()
    cells["evaluations"] = headline.count().reindex(cells.index, fill_value=0)
    cells["final_acc"] = headline.mean().where(cells["status"] != "diverged")
    cells["oracle_acc"] = trained.groupby("cell", observed=True)["test_acc"].max()
    cells["last_acc"] = trained.groupby("cell", observed=True)["test_acc"].last()
    if "classes" in rounds:
        cells["classes"] = by_cell["classes"].first()
    cells["total_bytes"] = by_cell["down_bytes"].sum() + by_cell["up_bytes"].sum()
    cells["total_forward_macs"] = by_cell["forward_macs"].sum()
    cells["total_s"] = method_seconds(ordered).groupby(ordered["cell"], observed=True).sum()
    return cells.reset_index(drop=True)


def over_seeds(cells: pd.DataFrame, value: str = "final_acc") -> pd.DataFrame:
    """Return the mean of ``value`` over the seeds of each series, with its 95 % t-interval.

    Args:
        cells: the table of :func:`final_accuracy`.
        value: the column to average.

    Returns:
        One row per (task, label, method, keep, partition, alpha, data_title, stand_in): these columns, ``mean``,
        ``seeds``, ``std``, ``low``, ``high`` (see :func:`bench.analysis.interval.mean_and_interval`), ``by_seed`` (a
        tuple: what was averaged, in the order of the seeds) and ``diverged``: how many cells diverged. Those are
        counted there and left out of the mean; a series whose cells have all diverged keeps its row, with a missing
        mean.
    """
    diverged = cells["status"] == "diverged"
    counted = cells.assign(counted=cells[value].mask(diverged), diverged=diverged.astype(int))
    result = mean_and_interval(counted, SERIES, "counted")
    result["by_seed"] = pd.Series(by_seed(counted, SERIES, "counted"), result.index, dtype=object)
    result["diverged"] = counted.groupby(SERIES, dropna=False, observed=True)["diverged"].sum().to_numpy()
    return result
