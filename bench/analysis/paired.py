"""Differences between two methods, taken within each seed: what a seed does to both is in none of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.analysis.budgets import nominal_keeps
from bench.analysis.interval import by_seed, mean_and_interval

OWN = ["setting", "task", "label", "method", "keep", "capacities", "partition", "alpha", "data_title", "stand_in"]
OTHER = ["other", "other_method", "other_keep", "other_capacities"]
AHEAD, BEHIND = "ahead", "behind"
_SERIES = ["setting", "label", "method", "keep", "capacities"]


def seed_differences(pairs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the mean over seeds of ``own`` less ``other`` in each group, with its 95 % t-interval.

    Args:
        pairs: one row per seed in each group: the columns ``by``, ``seed``, ``own`` and ``other`` (the same unit, here
            fractions). Rows that lack one of the two are in no mean.
        by: the grouping columns.

    Returns:
        One row per group, in the order of ``by``: these columns, ``mean``, ``low``, ``high`` (missing for one seed,
        which has no spread), ``by_seed`` (a tuple: the differences in the order of the seeds), ``std``, ``pairs`` (how
        many there are), ``own`` and ``other`` (means over the pairs).
    """
    difference = pairs["own"] - pairs["other"]
    rows = pairs.assign(difference=difference)
    result = mean_and_interval(rows, by, "difference").rename(columns={"seeds": "pairs"})
    result["by_seed"] = pd.Series(by_seed(rows, by, "difference"), result.index, dtype=object)
    for name in ("own", "other"):
        of_pairs = rows.assign(of_pairs=rows[name].where(difference.notna()))
        result[name] = mean_and_interval(of_pairs, by, "of_pairs")["mean"]
    return result[[*by, "mean", "low", "high", "by_seed", "std", "pairs", "own", "other"]]


def versus(cells: pd.DataFrame) -> pd.DataFrame:
    """Return how far one method is from each of the others, seed by seed, in each setting and at each keep ratio.

    Two cells are a pair where they have the setting, the keep ratios and the seed in common; a method that trains the
    full model has no keep ratio and is compared at every one.

    Args:
        cells: one row per finished cell: the columns of the table of cells, ``final_acc`` (a fraction, missing for a
            diverged cell), ``setting`` (a word for all that two cells share but method, keep ratios and seed), ``own``
            (whether it is of the method that is compared) and ``whole`` (whether its method ignores keep ratios).

    Returns:
        One row per series of the method and series of another one that it meets, in the order of ``cells``: the columns
        ``OWN`` and ``OTHER``; ``acc`` and ``other_acc`` (means over the seeds in common; where there is none, over each
        one's own); ``difference``, ``low``, ``high``, ``by_seed``, ``std`` and ``pairs`` as in
        :func:`seed_differences`; ``verdict`` ("ahead" or "behind" where the interval leaves zero out, else empty);
        ``seeds``, ``other_seeds`` (cells of each), ``common`` (seeds of both) and ``diverged``, ``other_diverged`` (how
        many of the cells did, which are in no mean).
    """
    words = ["setting", "task", "label", "method", "capacities", "partition", "data_title", "status"]
    cells = cells.astype(dict.fromkeys(words, str)).reset_index(drop=True)
    cells["final_acc"] = cells["final_acc"].astype(float).mask(cells["status"] == "diverged")
    cells["keep"] = nominal_keeps(cells, cells["capacities"])
    own, others = cells[cells["own"].astype(bool)], cells[~cells["own"].astype(bool)]
    names = dict(zip(_SERIES[1:], OTHER, strict=True)) | {"whole": "other_whole"}
    of_others = others[[*_SERIES, "whole"]].drop_duplicates().rename(columns=names)
    met = own[[*OWN, "whole"]].drop_duplicates().merge(of_others, on="setting")
    alike = (met["keep"] == met["other_keep"]) & (met["capacities"] == met["other_capacities"])
    met = met[met["whole"].astype(bool) | met["other_whole"].astype(bool) | alike].reset_index(drop=True)
    met["row"] = met.index  # one number names a row: groups by it keep the order of the cells
    mine = met[["row", *OWN]].merge(own[[*OWN, "seed", "status", "final_acc"]], on=OWN)
    theirs = met[["row", "setting", *OTHER]].merge(
        others[[*_SERIES, "seed", "status", "final_acc"]].rename(columns=names), on=["setting", *OTHER]
    )
    columns = ["row", "seed", "status", "final_acc"]
    both = mine[columns].merge(theirs[columns], on=["row", "seed"], how="outer", suffixes=("", "_other"))
    both = both.rename(columns={"final_acc": "own", "final_acc_other": "other"})
    result = seed_differences(both, ["row"]).merge(_counts(both), on="row")
    result = result.rename(columns={"mean": "difference", "own": "acc", "other": "other_acc"})
    result = met.drop(columns=["whole", "other_whole"]).merge(result, on="row")
    lone = both.groupby("row")[["own", "other"]].mean().reindex(result["row"]).reset_index(drop=True)
    result["acc"] = result["acc"].where(result["pairs"] > 0, lone["own"])
    result["other_acc"] = result["other_acc"].where(result["pairs"] > 0, lone["other"])
    result["verdict"] = np.select([result["low"] > 0, result["high"] < 0], [AHEAD, BEHIND], "")
    order = ["acc", "other_acc", "difference", "low", "high", "by_seed", "std", "pairs", "verdict"]
    counts = ["seeds", "other_seeds", "common", "diverged", "other_diverged"]
    return result[[*OWN, *OTHER, *order, *counts]]


def _counts(both: pd.DataFrame) -> pd.DataFrame:
    """Return how many cells each of the two has in a row, at how many common seeds, and how many of them diverged."""
    mine, theirs = both["status"].notna(), both["status_other"].notna()
    counted = {
        "row": both["row"],
        "seeds": mine,
        "other_seeds": theirs,
        "common": mine & theirs,
        "diverged": both["status"] == "diverged",
        "other_diverged": both["status_other"] == "diverged",
    }
    return pd.DataFrame(counted).groupby("row").sum().astype(int).reset_index()
