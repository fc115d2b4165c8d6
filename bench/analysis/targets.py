"""What it costs to get near the full model's accuracy, and performance profiles of these costs over settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from bench.analysis.ablation import setting_of
from bench.analysis.curves import COSTS, macs_column
from bench.analysis.profiles import PLACE
from bench.analysis.series import CELL
from bench.analysis.settings import with_settings
from bench.analysis.summary import final_accuracy
from bench.analysis.tables import FULL_MODEL
from bench.errors import BenchError, choices

SHARES = (0.8, 0.9, 0.95)
KINDS = ("rounds", "bytes", "macs", "memory")
BATCH = 32
"""Samples whose activations count as memory, as in a task's capacities (:func:`bench.cost.cost.capacity`)."""
LONGEST = 4.0
"""The ratio to the cheapest up to which a performance profile is drawn, that of AlgoPerf."""
_ROUNDING = 1e-12


def cost_to_target(rounds: pd.DataFrame, shares: Sequence[float] = SHARES, last: int = 3) -> pd.DataFrame:
    """Return what each run cost until its accuracy was a share of the full model's final accuracy.

    The target is a share of the final accuracy (mean of the last evaluations) of the full model of the same place and
    seed, and of the same settings where there is one, otherwise of the plain one. It is reached in the first evaluated
    round in which the mean of this and the evaluations before it, ``last`` in all, is not below it: one lucky
    evaluation reaches nothing. A run that diverges later has reached what it reached.

    Args:
        rounds: the table of rounds.
        shares: of the full model's final accuracy, above 0.
        last: how many evaluations the running mean and the final accuracy average; a run that has fewer averages all.

    Returns:
        One row per cell and share: the cell columns, ``share``, ``target`` (a fraction), ``reached``, and the costs up
        to and with that round: ``rounds``; ``bytes`` (down and up) and ``macs`` (forward and backward where all runs
        have them, :func:`bench.analysis.curves.macs_column`) of the whole cohort, summed; ``memory``, in numbers, the
        most that the mean client had needed in a round: ``client_trained_parameters`` + 32 * ``client_activations``.
        They are infinite where the target was never reached, and missing where there is no full model to set one, or
        a table of an earlier version lacks the cost.

    Raises:
        BenchError: a share or ``last`` is not possible, or two cells share the series and the seed.
    """
    if not shares or not all(0 < share < np.inf for share in shares):
        raise BenchError(f"shares = {shares!r} are not possible; allowed: numbers above 0, for example {SHARES}")
    cells = final_accuracy(rounds, last).astype({"label": str, "method": str, "cell": str})
    cells["full"] = _full_accuracy(cells)
    reaching = _running(rounds, last)
    counted = (
        reaching.set_index("cell")[list(KINDS)].notna().groupby(level=0).any().reindex(cells["cell"], fill_value=True)
    )
    parts = []
    for share in shares:
        target = cells.set_index("cell")["full"] * share
        enough = reaching[reaching["mean"] >= reaching["cell"].map(target) - _ROUNDING]
        first = enough.drop_duplicates("cell").set_index("cell")
        part = cells[CELL].assign(share=share, target=cells["cell"].map(target))
        part["reached"] = part["cell"].isin(first.index)
        for kind in KINDS:
            known = part["target"].notna() & part["cell"].map(counted[kind])
            part[kind] = part["cell"].map(first[kind]).where(part["reached"], np.inf).where(known)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _full_accuracy(cells: pd.DataFrame) -> pd.Series[float]:
    """Return for each cell the final accuracy of the full model of its place and seed, missing where there is none."""
    words = [setting_of(label, method)[0] for label, method in zip(cells["label"], cells["method"], strict=True)]
    settings = [frozenset(text.split(", ")) - {""} for text in words]
    places = cells.groupby([*PLACE, "seed"], dropna=False, observed=True).ngroup().tolist()
    full: dict[int, list[tuple[frozenset[str], float]]] = {}
    for place, own, method, accuracy in zip(places, settings, cells["method"], cells["final_acc"], strict=True):
        if method == FULL_MODEL:
            full.setdefault(place, []).append((own, accuracy))
    found = []
    for place, own in zip(places, settings, strict=True):
        fitting = [one for one in full.get(place, []) if one[0] <= own]
        found.append(max(fitting, key=lambda one: (len(one[0]), sorted(one[0])))[1] if fitting else np.nan)
    return pd.Series(found, cells.index, dtype=float)


def _running(rounds: pd.DataFrame, last: int) -> pd.DataFrame:
    """Return the evaluated rounds in order: the running mean of accuracy, where it is whole, and the costs so far."""
    ordered = rounds.astype({"cell": str}).sort_values(["cell", "round"]).reset_index(drop=True)
    costs = {
        "bytes": COSTS["bytes"](ordered).astype(float),
        "macs": ordered[macs_column(ordered)].astype(float).fillna(0),
    }
    costs = {kind: cost.groupby(ordered["cell"]).cumsum() for kind, cost in costs.items()}
    costs["memory"] = _memory(ordered).groupby(ordered["cell"]).cummax()
    rows = pd.DataFrame({"cell": ordered["cell"], "rounds": ordered["round"].astype(float), **costs})
    measured = (ordered["round"] > 0) & ordered["test_acc"].notna()
    rows, accuracy = rows[measured], ordered.loc[measured, "test_acc"].astype(float)
    of_cell = accuracy.groupby(rows["cell"])
    mean = of_cell.rolling(last, min_periods=1).mean().droplevel(0)
    whole = of_cell.cumcount() + 1 >= of_cell.transform("size").clip(upper=last)
    return rows.assign(mean=mean)[whole]


def _memory(rounds: pd.DataFrame) -> pd.Series[float]:
    names = ("client_trained_parameters", "client_activations")
    if not all(name in rounds for name in names):
        return pd.Series(np.nan, rounds.index)
    return rounds[names[0]].astype(float) + BATCH * rounds[names[1]].astype(float)


def cost_ratios(costs: pd.DataFrame, cost: str = "rounds", share: float = 0.9) -> pd.DataFrame:
    """Return how many times as much each label costs as the cheapest one in each setting.

    Args:
        costs: the table of :func:`cost_to_target`, or the same :func:`bench.analysis.settings.with_settings`.
        cost: one of :data:`KINDS`.
        share: one of the shares in ``costs``.

    Returns:
        One row per setting and label that has a cost there, infinite or not: ``setting``, ``task``, ``label``,
        ``median`` (over seeds, infinite where half of them or more did not reach the target), ``ratio`` (1 for the
        cheapest; infinite where the target was not reached), ``seeds`` and ``reached`` (seeds that did).

    Raises:
        BenchError: there is no such cost or share.
    """
    if cost not in KINDS:
        raise BenchError(f"cost = {cost!r} is not possible; {choices(cost, KINDS)}")
    if len(costs) and share not in set(costs["share"]):
        raise BenchError(f"share = {share!r} is not in the table; {choices(share, sorted(set(costs['share'])))}")
    rows = with_settings(costs[costs["share"] == share])
    rows = rows[rows[cost].notna()]
    by = ["setting", "task", "label"]
    groups = rows.groupby(by, sort=False)
    table = pd.DataFrame({"median": _medians(groups[cost]), "seeds": groups.size(), "reached": groups["reached"].sum()})
    table = table.reset_index()
    best = table.groupby("setting")["median"].transform("min")
    positive = np.isfinite(table["median"]) & (best > 0)
    quotient = table["median"] / best.where(positive, 1.0)
    free = np.where(table["median"] == 0, 1.0, np.inf)
    table["ratio"] = np.where(positive, quotient, free)
    return table.astype({"seeds": int, "reached": int})[[*by, "median", "ratio", "seeds", "reached"]]


def _medians(groups: Iterable[tuple[object, pd.Series[float]]]) -> list[float]:
    """Return medians of which infinity is one: half way to it is infinite."""
    return [float(np.median(values.to_numpy(dtype=float))) for _, values in groups]


def performance_profiles(
    costs: pd.DataFrame, cost: str = "rounds", share: float = 0.9, longest: float = LONGEST
) -> pd.DataFrame:
    """Return in which share of its settings each label costs at most so many times as much as the cheapest.

    The performance profiles of Dolan and More (2002), as AlgoPerf (Dahl et al., 2023) uses them: a step function of the
    ratio. A setting in which the target was never reached stays in the denominator.

    Args:
        costs, cost, share: as in :func:`cost_ratios`.
        longest: the largest ratio, above 1.

    Returns:
        One row per label and step: ``label``, ``ratio`` (from 1 to ``longest``, both of them there), ``share`` (of the
        settings with at most this ratio).
    """
    return profiles_of_ratios(cost_ratios(costs, cost, share), longest)


def profiles_of_ratios(table: pd.DataFrame, longest: float = LONGEST) -> pd.DataFrame:
    """Return the table of :func:`performance_profiles` from that of :func:`cost_ratios`."""
    _check(longest)
    rows = []
    for label, of_label in table.groupby("label"):
        ratios = of_label["ratio"].to_numpy(dtype=float)
        steps = np.unique(np.concatenate([[1.0, longest], ratios[(ratios > 1) & (ratios < longest)]]))
        shares = (ratios[None, :] <= steps[:, None]).mean(axis=1)
        rows.append(pd.DataFrame({"label": label, "ratio": steps, "share": shares}))
    empty = pd.DataFrame({"label": pd.Series(dtype=object), "ratio": [], "share": []})
    return pd.concat(rows, ignore_index=True) if rows else empty


def profile_areas(
    costs: pd.DataFrame, cost: str = "rounds", share: float = 0.9, longest: float = LONGEST
) -> pd.DataFrame:
    """Return the area under each performance profile between 1 and ``longest``, divided by that length.

    Args:
        costs, cost, share, longest: as in :func:`performance_profiles`.

    Returns:
        One row per label, the largest area first: ``label``, ``area`` (1 for the cheapest everywhere, 0 for one that is
        never within ``longest``), ``cheapest`` (settings in which it is), ``reached`` (settings in which its median
        is finite) and ``settings``.
    """
    return areas_of_ratios(cost_ratios(costs, cost, share), longest)


def areas_of_ratios(ratios: pd.DataFrame, longest: float = LONGEST) -> pd.DataFrame:
    """Return the table of :func:`profile_areas` from that of :func:`cost_ratios`."""
    _check(longest)
    within = ((longest - ratios["ratio"]) / (longest - 1)).clip(0, 1)
    finite = np.isfinite(ratios["ratio"])
    counted = ratios.assign(area=within, cheapest=ratios["ratio"] == 1, reached=finite, settings=1)
    groups = counted.groupby("label")
    table = groups[["area"]].mean().join(groups[["cheapest", "reached", "settings"]].sum().astype(int)).reset_index()
    return table.sort_values(["area", "label"], ascending=[False, True]).reset_index(drop=True)


def _check(longest: float) -> None:
    if not 1 < longest < np.inf:
        raise BenchError(f"longest = {longest!r} is not possible; allowed: a number above 1, for example {LONGEST:g}")
