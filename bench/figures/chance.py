"""The line at chance level on axes of accuracy: what guessing gives, 1 / classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

LINE: dict[str, Any] = {"color": "#8a8a8a", "linestyle": (0, (4, 1.5, 1, 1.5)), "linewidth": 1.0}
NEAR = 0.25  # of an axis: how far beyond its end the line may lie for the axis to be lengthened to it,
POINTS = 2.0  # and in percentage points, since a narrow axis beside the line shows what is hardly above guessing
ROOM = 0.03  # of an axis, beyond the line


@dataclass(frozen=True)
class Chance:
    """What a figure says of the chance level: an entry of its legend, or a sentence of its note."""

    entries: tuple[Line2D, ...] = ()
    note: str = ""


def chance_level(table: pd.DataFrame) -> float | None:
    """Return the accuracy of guessing in percent; None where the rows do not say how many classes there are."""
    if "classes" not in table.columns:
        return None
    classes = set(table["classes"].dropna().astype(int)) - {0}
    return 100.0 / classes.pop() if len(classes) == 1 else None


def draw_chance(panels: Iterable[Axes], table: pd.DataFrame, axis: str = "y") -> Chance:
    """Draw the line on the panels whose axis reaches it, or nearly does, and return what the figure says of it.

    Axes are fitted to what was measured. One that ends shortly before the line is lengthened to it; one that lies far
    above stays as it is, for it would be stretched to mostly nothing.

    Args:
        panels: all of whose ``axis`` is an accuracy in percent, with everything else on them.
        table: the rows that the figure shows.
        axis: "y" or "x".
    """
    level = chance_level(table)
    panels = [panel for panel in panels if panel.axison and panel.has_data()]
    if level is None or not panels:
        return Chance()
    words = f"chance ({level:.2g} %)"
    for panel in panels:
        _lengthen(panel, level, axis)
    # Panels may share the axis, so that the limits of all are settled before a line is drawn on one.
    limits = [_limits(panel, axis) for panel in panels]
    reached = [panel for panel, (low, high) in zip(panels, limits, strict=True) if low <= level <= high]
    for panel in reached:
        (panel.axhline if axis == "y" else panel.axvline)(level, **LINE, zorder=1)
    for panel, ends in zip(panels, limits, strict=True):
        (panel.set_ylim if axis == "y" else panel.set_xlim)(ends)
    if not reached:
        return Chance(note=f"Chance, {level:.2g} %, is {'below' if axis == 'y' else 'left of'} what is shown.")
    return Chance((Line2D([], [], label=words, **LINE),))


def _lengthen(panel: Axes, level: float, axis: str) -> None:
    low, high = _limits(panel, axis)
    near = max(NEAR * (high - low), POINTS)
    if low - near <= level < low:
        low = level - ROOM * (high - level)
    elif high < level <= high + near:
        high = level + ROOM * (level - low)
    else:
        return
    (panel.set_ylim if axis == "y" else panel.set_xlim)(low, high)


def _limits(panel: Axes, axis: str) -> tuple[float, float]:
    return panel.get_ylim() if axis == "y" else panel.get_xlim()
