"""From a row per layer to a number per round: the curves of cells."""

from __future__ import annotations

import pandas as pd

from bench.analysis.series import CELL


def mean_over_layers(ranks: pd.DataFrame, column: str, per: str | None = None) -> pd.DataFrame:
    """Return the plain mean over layers of ``column``, or of ``column / per``, in each measured round of each cell.

    Every layer counts alike, whatever its size. Layers in which it was not measured are left out.

    Args:
        ranks: one row per cell, evaluated round and layer.
        column, per: columns of ``ranks``.

    Returns:
        One row per cell and round: the cell columns, ``round``, ``x`` (the round) and ``value``.
    """
    values = ranks[column].astype(float)
    if per is not None:
        values = values / ranks[per].astype(float)
    measured = ranks[["cell", "round"]].assign(value=values).dropna(subset=["value"])
    return _curves(ranks, measured.groupby(["cell", "round"], observed=True)["value"].mean())


def ratio_over_layers(ranks: pd.DataFrame, part: str, whole: str) -> pd.DataFrame:
    """Return the sum over layers of ``part`` by the sum over layers of ``whole`` in each measured round of each cell.

    With squared norms, this is the ratio for all factored layers taken as one long vector. Layers in which one of the
    two was not measured are left out of both sums, and rounds in which the whole is 0 have no ratio.

    Args:
        ranks: one row per cell, evaluated round and layer.
        part, whole: columns of ``ranks``.

    Returns:
        As :func:`mean_over_layers`.
    """
    measured = ranks.dropna(subset=[part, whole])
    sums = measured.groupby(["cell", "round"], observed=True)[[part, whole]].sum().astype(float)
    sums = sums[sums[whole] > 0]
    return _curves(ranks, (sums[part] / sums[whole]).rename("value"))


def _curves(ranks: pd.DataFrame, values: pd.Series[float]) -> pd.DataFrame:
    """Return values with the index (cell, round) as curves."""
    cells = ranks.drop_duplicates("cell")[CELL]
    curves = cells.merge(values.reset_index(), on="cell")
    curves.insert(len(CELL) + 1, "x", curves["round"].astype(float))
    return curves.sort_values(["cell", "round"]).reset_index(drop=True)
