"""Tables for readers: what a client holds and computes, as a share of the full model; and Markdown."""

from __future__ import annotations

import math

import pandas as pd

FULL_MODEL = "fedavg"


def footprint_shares(footprint: pd.DataFrame) -> pd.DataFrame:
    """Return the footprint with its shares of the full model (PriSM, Table 1).

    Args:
        footprint: one row per task, method, label and keep ratio.

    Returns:
        ``footprint`` with four more columns, fractions: ``parameters_share`` and ``macs_share`` (everything a client
        holds, against everything in the full model) and ``factored_share`` (the factored layers alone,
        against the same layers of the full model: the convention of PriSM's Table 1). ``factored_share`` is missing
        for a task without a full-model row (method "fedavg") or without such layers. ``ideal_share`` is ``macs_share``
        without products with masked weights; missing where they were not counted.
    """
    full = footprint[footprint["method"] == FULL_MODEL].drop_duplicates("task")
    full_factored = (
        footprint["task"]
        .astype(str)
        .map(dict(zip(full["task"].astype(str), full["factored_parameters"].astype(float), strict=True)))
    )
    return footprint.assign(
        parameters_share=footprint["parameters"] / footprint["full_parameters"],
        factored_share=footprint["factored_parameters"] / full_factored.where(full_factored > 0),
        macs_share=footprint["macs"] / footprint["full_macs"],
        ideal_share=footprint.get("ideal_macs", pd.Series(math.nan, footprint.index)) / footprint["full_macs"],
    )


def markdown(table: pd.DataFrame) -> str:
    """Return ``table`` as a Markdown table: numbers with up to six significant digits, missing values empty."""

    def text(value: object) -> str:
        if pd.isna(value):  # type: ignore[call-overload]
            return ""
        return f"{value:.6g}" if isinstance(value, float) else str(value).replace("|", "\\|")

    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [[text(value) for value in row] for row in table.itertuples(index=False)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
