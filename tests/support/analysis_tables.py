"""Small tables for the tests of statistics, and the points of Student's t that they need."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

T_2 = 12.706204736  # the 97.5 % point of Student's t with 1 degree of freedom, from a printed table
T_3 = 4.302652730  # with 2 degrees of freedom


def cell(name: str, acc: list[float | None], **changes: Any) -> pd.DataFrame:
    """Return the rounds of one cell: 10 bytes down and 5 up, 100 MACs and 2 s in each round after round 0.

    Each round is evaluated in 1 s and diagnosed in 0.5 s, which is in ``round_s``, but for round 0 where that is 0.
    """
    trained = [math.nan] + [1.0] * (len(acc) - 1)
    columns: dict[str, Any] = {
        "cell": name,
        "task": "cnn-femnist",
        "method": "prism",
        "label": "prism",
        "keep": 0.5,
        "partition": "natural",
        "alpha": math.nan,
        "seed": 0,
        "data_title": "FEMNIST",
        "stand_in": False,
        "status": "done",
        "round": list(range(len(acc))),
        "test_acc": pd.Series(acc, dtype=float),
        "down_bytes": 10 * np.array(trained),
        "up_bytes": 5 * np.array(trained),
        "forward_macs": 100 * np.array(trained),
        "evaluate_s": 1.0,
        "diagnose_s": 0.5,
        "round_s": [0.0] + [3.5] * (len(acc) - 1),
    }
    return pd.DataFrame(columns | changes)


def table(*cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells as one table, as the store writes it: words as categories."""
    return pd.concat(cells, ignore_index=True).astype(
        dict.fromkeys(["task", "method", "label", "partition", "data_title", "status"], "category")
    )


def layers(name: str, rows: list[tuple[int, str, dict[str, float]]], **changes: Any) -> pd.DataFrame:
    """Return the ranks of one cell from (round, layer, measures) of each row."""
    of_cell = cell(name, [None], **changes).drop(columns=["round"])
    parts = [of_cell.assign(round=number, layer=layer, **measures) for number, layer, measures in rows]
    return pd.concat(parts, ignore_index=True)
