"""How far the final accuracy of a method is from the full model's, compared seed by seed."""

from __future__ import annotations

import pandas as pd

from bench.analysis.ablation import setting_of
from bench.analysis.paired import seed_differences
from bench.analysis.profiles import PLACE
from bench.analysis.series import SERIES
from bench.analysis.summary import final_accuracy
from bench.analysis.tables import FULL_MODEL


def gap_to_full(rounds: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return how far the final accuracy of each series is from that of the full model.

    The difference is taken within a seed: what a seed does to both runs, by the partition it draws and the clients it
    gathers, is not in the interval over the seeds' differences. A label with settings is compared with the full model
    that shares most of them and has no others: "prism (kappa=3, lr=0.1)" with "fedavg (lr=0.1)" if there is one in the
    same place, else with "fedavg".

    Args:
        rounds: the table of rounds.
        last: how many evaluations, counted from the end, the final accuracy averages.

    Returns:
        One row per series that has a full model to be compared with: the series columns, ``mean`` (the difference, a
        fraction), ``low``, ``high`` (its 95 % t-interval), ``by_seed`` (a tuple), ``std``, ``pairs`` (seeds compared),
        ``cells`` (of the series), ``final`` and ``full`` (mean accuracies of the pairs), ``against`` (label of the
        full model) and ``diverged`` (cells of the series that did). Cells whose partner is missing or diverged, and
        diverged ones, are in no difference; a series without any keeps its row, with a missing mean.

    Raises:
        BenchError: ``last`` is below 1, or two cells share the series and the seed.
    """
    cells = final_accuracy(rounds, last).astype({"label": str, "method": str})
    cells = cells.merge(_references(cells), on=[*PLACE, "label", "method"], how="left")
    full = cells.loc[cells["method"] == FULL_MODEL, [*PLACE, "label", "seed", "final_acc"]]
    full = full.rename(columns={"label": "against", "final_acc": "full"})
    cells = cells[cells["against"].notna()].merge(full, on=[*PLACE, "against", "seed"], how="left")
    pairs = cells.rename(columns={"final_acc": "own", "full": "other"})
    result = seed_differences(pairs, SERIES).rename(columns={"own": "final", "other": "full"})
    groups = cells.assign(hit=cells["status"] == "diverged").groupby(SERIES, dropna=False, observed=True)
    result["cells"], result["against"] = groups.size().to_numpy(), groups["against"].first().to_numpy()
    result["diverged"] = groups["hit"].sum().to_numpy()
    order = ["mean", "low", "high", "by_seed", "std", "pairs", "cells", "final", "full", "against", "diverged"]
    return result[[*SERIES, *order]]


def _references(cells: pd.DataFrame) -> pd.DataFrame:
    """Return for each label in each place the label of the full model it is compared with, missing where none is."""
    series = cells.drop_duplicates([*PLACE, "label", "method"])[[*PLACE, "label", "method"]]
    rows = []
    for _, of_place in series.groupby(PLACE, dropna=False, observed=True):
        full = {
            label: _settings(label, FULL_MODEL) for label in of_place.loc[of_place["method"] == FULL_MODEL, "label"]
        }
        for row in of_place.to_dict("records"):
            own = _settings(str(row["label"]), str(row["method"]))
            fitting = [label for label, settings in full.items() if settings <= own and label != row["label"]]
            best = max(fitting, key=lambda label: (len(full[label]), label), default=None)
            rows.append({**row, "against": best})
    return pd.DataFrame(rows, columns=[*series.columns, "against"])


def _settings(label: str, method: str) -> frozenset[str]:
    setting, _ = setting_of(label, method)
    return frozenset(setting.split(", ")) - {""}
