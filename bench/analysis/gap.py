"""How far the final accuracy of a method is from the full model's or another's, compared seed by seed."""

from __future__ import annotations

import pandas as pd

from bench.analysis.ablation import setting_of
from bench.analysis.adjusted import adjusted
from bench.analysis.budgets import nominal_keeps
from bench.analysis.paired import seed_differences
from bench.analysis.profiles import PLACE, split_rows
from bench.analysis.series import SERIES
from bench.analysis.summary import final_accuracy
from bench.analysis.tables import FULL_MODEL


def gap_to_full(rounds: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return how far the final accuracy of each series is from that of the full model, see :func:`gap_to`."""
    return gap_to(rounds, FULL_MODEL, last)


def gap_to(rounds: pd.DataFrame, reference: str, last: int = 3) -> pd.DataFrame:
    """Return how far the final accuracy of each series is from that of a reference.

    The difference is taken within a seed: what a seed does to both runs, by the partition it draws and the clients it
    gathers, is not in the interval over the seeds' differences. A reference that is a method may have settings: a label
    is compared with the one that shares most of its own and has no others: "prism (kappa=3, lr=0.1)" with
    "fedavg (lr=0.1)" if there is one in the same place, else with "fedavg".

    A method that trains the full model has no keep ratio. As the reference it stands beside every one; beside a
    reference that has some, it has a row for each keep ratio or profile of the reference.

    Args:
        rounds: the table of rounds.
        reference: a method, or a label.
        last: how many evaluations, counted from the end, the final accuracy averages.

    Returns:
        One row per series that has a reference to be compared with: the series columns, ``profile`` (of the clients, ""
        where they are alike), ``mean`` (the difference, a fraction), ``low``, ``high`` (its 95 % t-interval),
        ``adjusted_low``, ``adjusted_high`` and ``family`` (all rows: :func:`bench.analysis.adjusted.adjusted`),
        ``by_seed`` (a tuple), ``std``, ``pairs`` (seeds compared), ``cells`` (of the series), ``final`` and ``full``
        (mean accuracies of the pairs, ``full`` the reference's), ``against`` (label of the reference) and ``diverged``
        (cells of the series that did). Cells whose partner is missing or diverged, and diverged ones, are in no
        difference; a series without any keeps its row, with a missing mean.

    Raises:
        BenchError: ``last`` is below 1, or two cells share the series and the seed.
    """
    cells = final_accuracy(rounds, last).astype({"label": str, "method": str})
    is_reference = (cells["method"] == reference) | (cells["label"] == reference)
    profiles = split_rows(cells)["profile"]
    cells = cells.assign(reference=is_reference, profile=profiles, keep=nominal_keeps(cells, profiles))
    own = cells[is_reference & ((cells["keep"] < 1) | (cells["profile"] != ""))]
    place = list(PLACE)
    if len(own):
        cells, place = _beside_each(cells, own), [*PLACE, "keep", "profile"]
    cells = cells.merge(_references(cells, place, reference), on=[*place, "label", "method"], how="left")
    other = cells.loc[cells["reference"], [*place, "label", "seed", "final_acc"]]
    other = other.rename(columns={"label": "against", "final_acc": "full"})
    cells = cells[cells["against"].notna()].merge(other, on=[*place, "against", "seed"], how="left")
    by = [*SERIES, "profile"]
    pairs = cells.rename(columns={"final_acc": "own", "full": "other"})
    result = seed_differences(pairs, by).rename(columns={"own": "final", "other": "full"})
    groups = cells.assign(hit=cells["status"] == "diverged").groupby(by, dropna=False, observed=True)
    result["cells"], result["against"] = groups.size().to_numpy(), groups["against"].first().to_numpy()
    result["diverged"] = groups["hit"].sum().to_numpy()
    order = ["mean", "low", "high", "adjusted_low", "adjusted_high", "family", "by_seed", "std", "pairs", "cells"]
    return adjusted(result)[[*by, *order, "final", "full", "against", "diverged"]]


def _beside_each(cells: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Return cells with those of full models once for each keep ratio or profile of the reference in their place."""
    whole = (cells["keep"] == 1) & (cells["profile"] == "") & ~cells["reference"]
    whole &= cells["label"].isin(_without_keep(cells))
    places = own[[*PLACE, "keep", "profile"]].drop_duplicates()
    everywhere = cells[whole].drop(columns=["keep", "profile"]).merge(places, on=PLACE)
    return pd.concat([cells[~whole], everywhere], ignore_index=True)


def _without_keep(cells: pd.DataFrame) -> set[str]:
    """Return the labels that have the keep ratio 1 alone."""
    least = cells.groupby("label")["keep"].min()
    return set(least[least == 1].index)


def _references(cells: pd.DataFrame, place: list[str], reference: str) -> pd.DataFrame:
    """Return for each label in each place the label of the reference it is compared with, missing where none is."""
    names = [*place, "label", "method"]
    series = cells.drop_duplicates([*names, "reference"])[[*names, "reference"]]
    rows = []
    for _, of_place in series.groupby(place, dropna=False, observed=True):
        known = {
            str(label): _settings(str(label), str(method))
            for label, method in of_place.loc[of_place["reference"], ["label", "method"]].itertuples(index=False)
        }
        for row in of_place.to_dict("records"):
            settings = _settings(str(row["label"]), str(row["method"]))
            fitting = [label for label, of in known.items() if of <= settings and label != row["label"]]
            if reference != FULL_MODEL and len(known) == 1 and not fitting:  # all are compared with the one there is
                fitting = [label for label in known if label != row["label"]]
            best = max(fitting, key=lambda label: (len(known[label]), label), default=None)
            rows.append({**{name: row[name] for name in names}, "against": best})
    return pd.DataFrame(rows, columns=[*names, "against"])


def _settings(label: str, method: str) -> frozenset[str]:
    setting, _ = setting_of(label, method)
    return frozenset(setting.split(", ")) - {""}
