"""Rows of paired differences: a dot, its interval alone and as one of many, its seeds, and whether zero is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.figures.curve_panels import limits
from bench.figures.looks import is_front
from bench.figures.points import DIFFERENCES, draw_bar, draw_seeds, seeds_drawn

RING: dict[str, Any] = {"marker": "o", "fillstyle": "none", "markersize": 5.5, "linestyle": "none"}
DOT: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "none"}
ALONE: dict[str, Any] = {"linewidth": 2.4, "alpha": 0.45}  # the interval of a comparison that nobody else looks at


def draw_difference(panel: Axes, y: float, row: Mapping[Any, Any], colour: str) -> None:
    """Draw one difference in percentage points.

    Args:
        panel: where to.
        y: the row's place.
        row: ``mean``, ``low``, ``high``, ``adjusted_low``, ``adjusted_high``, ``family``, ``by_seed``, ``pairs`` and
            ``diverged``.
        colour: of all of it.
    """
    of_row: dict[str, Any] = {"points": pd.DataFrame([row]), "colour": colour, "axis": "x", "bounds": DIFFERENCES}
    if row["family"] > 1:
        draw_bar(panel, [y], **of_row, **ALONE)
    draw_bar(panel, [y], **of_row, ends=("adjusted_low", "adjusted_high"))
    draw_seeds(panel, [y], pd.DataFrame([row]), colour, axis="x")
    if row["pairs"]:
        panel.plot(row["mean"], y, color=colour, **(DOT if is_told_apart(row) else RING))
    if row["diverged"]:
        panel.plot(0.03, y, "x", color=colour, transform=panel.get_yaxis_transform())


def is_told_apart(row: Mapping[Any, Any]) -> bool:
    """Return whether zero is outside of the interval that holds together with those of all other rows."""
    return bool(row["adjusted_low"] > 0 or row["adjusted_high"] < 0)


def difference_limits(points: pd.DataFrame) -> tuple[float, float]:
    """Return the limits of an axis of differences, zero among them."""
    zero = pd.DataFrame({"mean": [0.0], "low": [0.0], "high": [0.0]})
    adjusted = points.assign(low=points["adjusted_low"], high=points["adjusted_high"])
    return limits(adjusted, zero, seeds_drawn(points), bounds=DIFFERENCES)


def embolden(left_panels: Iterable[Axes], labels: Sequence[Sequence[str]]) -> None:
    """Write the names of rows in front in bold."""
    for panel, of_panel in zip(left_panels, labels, strict=True):
        for text, label in zip(panel.get_yticklabels(), of_panel, strict=True):
            if is_front(label.removesuffix(", full model")):
                text.set_fontweight("bold")
