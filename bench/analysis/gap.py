"""How far the final accuracy of a method is from the full model's, compared seed by seed."""

from __future__ import annotations

import pandas as pd

from bench.analysis.ablation import setting_of
from bench.analysis.profiles import PLACE
from bench.analysis.series import SERIES
from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import FULL_MODEL


def gap_to_full(rounds: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return how far the final accuracy of each series is from that of the plain full model.

    The difference is taken within a seed: both runs have the partition, the cohorts and the full model's initial
    weights in common, and what these do to both is not in the interval over the seeds' differences.

    Args:
        rounds: the table of rounds.
        last: how many evaluations, counted from the end, the final accuracy averages.

    Returns:
        One row per series that has such a difference, without the plain full model: the series columns, ``mean``
        (the difference, a fraction), ``low``, ``high`` (its 95 % t-interval), ``std``, ``pairs`` (seeds compared),
        ``final`` and ``full`` (mean accuracies of the pairs) and ``diverged`` (cells of the series that did). Cells
        without a full model of the same place and seed, and diverged ones, are in no difference.

    Raises:
        BenchError: ``last`` is below 1, or two cells share the series and the seed.
    """
    cells = final_accuracy(rounds, last).astype({"label": str, "method": str})
    plain = pd.Series(
        [
            method == FULL_MODEL and setting_of(label, method) == ("", "")
            for label, method in zip(cells["label"], cells["method"], strict=True)
        ],
        cells.index,
        dtype=bool,
    )
    key = [*PLACE, "seed"]
    full = cells.loc[plain, [*key, "final_acc"]].rename(columns={"final_acc": "full"})
    others = cells[~plain].merge(full, on=key, how="left")
    others["gap"] = others["final_acc"] - others["full"]
    compared = others["gap"].notna()
    result = over_seeds(others, "gap").rename(columns={"seeds": "pairs"})
    for name, of_pairs in (("final", "final_acc"), ("full", "full")):
        result[name] = over_seeds(others.assign(of_pairs=others[of_pairs].where(compared)), "of_pairs")["mean"]
    order = [*SERIES, "mean", "low", "high", "std", "pairs", "final", "full", "diverged"]
    return result.loc[result["pairs"] > 0, order].reset_index(drop=True)
