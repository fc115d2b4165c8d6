"""Final accuracies as points: means with their intervals, the full model's line, crosses for what diverged."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.figures.base import evaluations
from bench.figures.panels import full_model_line
from bench.figures.style import SeriesStyle

FOOT = 0.05  # of the panel's height, for each diverged series
BARS: dict[str, Any] = {"linewidth": 1, "alpha": 0.6}
CROSS = "A cross at the foot: a run diverged and is not in the mean."


def in_percent(points: pd.DataFrame) -> pd.DataFrame:
    """Return points of shares as percentages."""
    return points.assign(**{name: 100 * points[name] for name in ("mean", "low", "high")})


def draw_points(panel: Axes, x: pd.Series[float], series: pd.DataFrame, style: SeriesStyle) -> None:
    """Draw the means of one series at ``x``, joined, with their intervals."""
    panel.plot(x, series["mean"], **style.plot_options(), zorder=3)
    panel.vlines(x, series["low"], series["high"], color=style.colour, **BARS)


def draw_crosses(panel: Axes, x: pd.Series[float], style: SeriesStyle, row: int) -> None:
    """Draw crosses in the ``row``-th row, from 1 up, at the foot of the panel."""
    foot = [FOOT * row] * len(x)
    panel.plot(x, foot, "x", color=style.colour, transform=panel.get_xaxis_transform(), zorder=4)


def draw_full_models(panel: Axes, percent: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    """Draw the full models, which have no keep ratio, as lines across the panel, with their intervals as bands."""
    for name, reference in percent.groupby("label", observed=True):
        row, look = reference.iloc[0], full_model_line(styles[str(name)])
        panel.axhline(row["mean"], **look)
        panel.axhspan(row["low"], row["high"], color=look["color"], alpha=0.08, linewidth=0)


def fit_height(panel: Axes, percent: pd.DataFrame, crosses: int) -> None:
    """Fit the panel to the means and to the part of their intervals that leaves the means readable.

    Args:
        panel: what to fit.
        percent: the points on it, with the columns ``mean``, ``low`` and ``high``.
        crosses: rows of crosses, which the points leave free at the foot.
    """
    if percent["mean"].isna().all():
        return
    low, high = percent["mean"].min(), percent["mean"].max()
    room = max(0.6 * (high - low), 2.0)
    bottom = max(percent["low"].min(), low - room) if percent["low"].notna().any() else low
    top = min(percent["high"].max(), high + room) if percent["high"].notna().any() else high
    margin = 0.06 * max(top - bottom, 1.0)
    bottom, top = max(min(bottom, low) - margin, -margin), min(max(top, high) + margin, 100 + margin)
    foot = FOOT * (crosses + 1) if crosses else 0.0
    panel.set_ylim(bottom - (top - bottom) * foot, top)


def points_note(points: pd.DataFrame, last: int, of: str = "") -> str:
    """Return the words for what the points and bars are, and for the crosses where some run diverged."""
    note = f"Mean of {evaluations(last)}{of} on the whole test set."
    if (points["seeds"] > 1).any():
        note += " Bars and band: 95 % t-interval over seeds, cut at the panel's edge."
    if (points["diverged"] > 0).any():
        note += f" {CROSS}"
    return note
