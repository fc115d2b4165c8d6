"""Accuracy of the nested sub-model of each keep ratio at the end of training."""

from __future__ import annotations

import pandas as pd

from bench.analysis.interval import by_seed, mean_and_interval
from bench.analysis.series import SERIES, distinct_cells
from bench.analysis.summary import last_evaluations


def level_accuracy(levels: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return the final accuracy of the nested sub-models of each series, over its seeds.

    Args:
        levels: one row per cell, evaluated round and level (keep ratio of the sub-model). Evaluations on held-out
            samples (``validates``) do not count.
        last: how many evaluations, counted from the end, the final accuracy averages.

    Returns:
        One row per series and level: the series columns, ``level``, ``mean``, ``seeds``, ``std``, ``low``, ``high``,
        ``by_seed`` (a tuple), ``diverged`` (cells that did, which are in no mean), ``parameters`` and ``macs`` (per
        sample, forward) of the sub-model, means over seeds.

    Raises:
        BenchError: ``last`` is below 1, or two cells share the series and the seed.
    """
    if "validates" in levels:
        levels = levels[~levels["validates"].astype(bool)]
    distinct_cells(levels)
    by, of_cell = [*SERIES, "level"], ["cell", "level"]
    ends = last_evaluations(levels, "level_acc", last, of_cell)
    finals = ends.groupby(of_cell, observed=True)["level_acc"].mean().rename("final").reset_index()
    cells = levels.drop_duplicates(of_cell).merge(finals, on=of_cell, how="left")
    diverged = cells["status"] == "diverged"
    cells = cells.assign(final=cells["final"].mask(diverged), diverged=diverged.astype(int))
    groups = cells.groupby(by, dropna=False, observed=True)
    result = mean_and_interval(cells, by, "final")
    result["by_seed"] = pd.Series(by_seed(cells, by, "final"), result.index, dtype=object)
    result["diverged"] = groups["diverged"].sum().to_numpy()
    for column in ("parameters", "macs"):
        result[column] = groups[column].mean().to_numpy()
    return result
