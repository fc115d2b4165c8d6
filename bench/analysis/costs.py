"""What a whole run costs, beside the accuracy that it reaches."""

from __future__ import annotations

import pandas as pd

from bench.analysis.ablation import setting_of
from bench.analysis.curves import COSTS
from bench.analysis.profiles import PLACE
from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import FULL_MODEL


def accuracy_and_cost(rounds: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return the final accuracy of each series and what its whole run cost, means over seeds.

    Args:
        rounds: the table of rounds.
        last: how many evaluations, counted from the end, the final accuracy averages.

    Returns:
        The table of :func:`bench.analysis.summary.over_seeds` with, for each of ``bytes`` (down and up), ``macs`` (of
        the column :func:`bench.analysis.curves.macs_column` of ``rounds``) and ``seconds``
        (:func:`bench.analysis.curves.method_seconds`): the cost of the run, and ``<cost>_share``, as a share of the
        plain full model's on the same partition, missing where there is none. Diverged runs are in neither.

    Raises:
        BenchError: ``last`` is below 1, or two cells share the series and the seed.
    """
    cells = final_accuracy(rounds, last)
    names = rounds["cell"].astype(str)
    costs = {name: cost(rounds).astype(float).groupby(names).sum() for name, cost in COSTS.items()}
    cells = cells.assign(**{name: cells["cell"].astype(str).map(total) for name, total in costs.items()})
    # Every call groups alike, so that the rows are the same ones in the same order.
    result = over_seeds(cells).assign(**{name: over_seeds(cells, name)["mean"] for name in COSTS})
    result = result.astype({"label": str, "method": str})
    return result.merge(_full_costs(result), on=PLACE, how="left").pipe(_shares)


def _full_costs(points: pd.DataFrame) -> pd.DataFrame:
    """Return what the plain full model cost in each place, in columns ``full_<cost>``."""
    plain = [
        method == FULL_MODEL and setting_of(label, method) == ("", "")
        for label, method in zip(points["label"], points["method"], strict=True)
    ]
    return points.loc[plain, [*PLACE, *COSTS]].rename(columns={name: f"full_{name}" for name in COSTS})


def _shares(points: pd.DataFrame) -> pd.DataFrame:
    shares = {f"{name}_share": points[name] / points[f"full_{name}"] for name in COSTS}
    return points.assign(**shares).drop(columns=[f"full_{name}" for name in COSTS])
