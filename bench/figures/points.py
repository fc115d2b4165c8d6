"""Final accuracies as points: means with intervals and seeds, the full model's line, crosses for what diverged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.figures.panels import full_model_line
from bench.figures.style import SeriesStyle

FEW = 10  # seeds, up to which each is drawn beside their mean
EDGE = 0.985  # of the panel's width, where the full model's seeds are
FOOT = 0.05  # of the panel's height, for each diverged series
BARS: dict[str, Any] = {"linewidth": 1, "alpha": 0.6}
TICK: dict[str, Any] = {
    "linestyle": "none",
    "markersize": 6.0,
    "markeredgewidth": 0.9,
    "zorder": 2.5,
    "label": "_seeds",
}
TICKS = "ticks: the seeds"
ARROW: dict[str, Any] = {"linestyle": "none", "markersize": 3.5, "markeredgewidth": 0, "label": "_beyond"}
ARROWS = "arrows: beyond what is possible"
SHARES = (0.0, 100.0)  # between which accuracies lie, in percent,
ENDS = ("low", "high", "adjusted_low", "adjusted_high")
DIFFERENCES = (-100.0, 100.0)  # and their differences, in points
CROSS = "A cross at the foot: a run diverged and is not in the mean."


def in_percent(points: pd.DataFrame) -> pd.DataFrame:
    """Return points of shares as percentages."""
    shares = [name for name in ("mean", "low", "high", "adjusted_low", "adjusted_high") if name in points]
    percent = points.assign(**{name: 100 * points[name] for name in shares})
    if "by_seed" in points:
        percent["by_seed"] = points["by_seed"].map(lambda values: tuple(100 * value for value in values))
    return percent


def draw_seeds(
    panel: Axes, places: Iterable[float], points: pd.DataFrame, colour: Any, axis: str = "y", **look: Any
) -> None:
    """Draw each seed's value as a tick across the bar of its interval, unless there are many or there is one.

    A mean of few seeds hides a run that collapsed, and its interval does not say which way.

    Args:
        panel: where to draw.
        places: of the points along the other axis.
        points: with the column ``by_seed``.
        colour: of the ticks.
        axis: "y" where values are read on the vertical axis, else "x".
        look: what else matplotlib is told of these ticks.
    """
    for place, values in zip(places, points["by_seed"], strict=True):
        if 1 < len(values) <= FEW:
            same = [place] * len(values)
            x, y = (same, list(values)) if axis == "y" else (list(values), same)
            panel.plot(x, y, marker="_" if axis == "y" else "|", color=colour, **TICK | look)


def draw_bar(
    panel: Axes,
    places: Iterable[float],
    points: pd.DataFrame,
    colour: Any,
    axis: str = "y",
    ends: tuple[str, str] = ("low", "high"),
    bounds: tuple[float, float] = SHARES,
    **look: Any,
) -> None:
    """Draw intervals up to what is possible, with an arrow where one goes beyond.

    A t-interval of few seeds knows nothing of bounds, and may hold accuracies below 0 or above 100 %.

    Args:
        panel: where to draw.
        places: of the points along the other axis.
        points: with the columns ``ends``, in percent or percentage points.
        colour: of the bars.
        axis: "y" where values are read on the vertical axis, else "x".
        ends: the columns with the ends of the intervals.
        bounds: what is possible.
        look: what else matplotlib is told of these bars, :data:`BARS` if left out.
    """
    places = list(places)
    lows, highs = (points[name].astype(float) for name in ends)
    lines = panel.vlines if axis == "y" else panel.hlines
    lines(places, lows.clip(*bounds), highs.clip(*bounds), color=colour, **(look or BARS))
    arrows = ("v", "^") if axis == "y" else ("<", ">")
    for bound, arrow, beyond in zip(bounds, arrows, (lows < bounds[0], highs > bounds[1]), strict=True):
        at = [place for place, is_beyond in zip(places, beyond, strict=True) if is_beyond]
        if at:
            x, y = (at, [bound] * len(at)) if axis == "y" else ([bound] * len(at), at)
            panel.plot(x, y, marker=arrow, color=colour, scalex=False, scaley=False, **ARROW)


def seeds_drawn(points: pd.DataFrame) -> pd.DataFrame:
    """Return the seeds that :func:`draw_seeds` draws as points of their own, with ``mean``, ``low`` and ``high``."""
    values = [value for of_point in points["by_seed"] if 1 < len(of_point) <= FEW for value in of_point]
    return pd.DataFrame(dict.fromkeys(("mean", "low", "high"), values), dtype=float)


def bars_note(points: pd.DataFrame, words: str, bounds: tuple[float, float] = SHARES) -> str:
    """Return the sentence on bars, with what the ticks and arrows on them are where some are drawn.

    Args:
        points: what is drawn, as fractions.
        words: on the bars.
        bounds: what is possible, in percent or percentage points.
    """
    ends = points[[name for name in ENDS if name in points]].to_numpy(dtype=float)
    beyond = bool(((100 * ends < bounds[0]) | (100 * ends > bounds[1])).any())
    return "; ".join([words, *([TICKS] if len(seeds_drawn(points)) else []), *([ARROWS] if beyond else [])]) + "."


def draw_points(
    panel: Axes, x: pd.Series[float], series: pd.DataFrame, style: SeriesStyle, joined: bool = True
) -> None:
    """Draw the means of one series at ``x`` with their intervals, ``joined`` where something lies between them."""
    look = {"zorder": 3} | style.plot_options() | ({} if joined else {"linestyle": "none"})
    panel.plot(x, series["mean"], **look)
    draw_bar(panel, x, series, style.colour)
    draw_seeds(panel, x, series, style.colour)


def draw_crosses(panel: Axes, x: pd.Series[float], style: SeriesStyle, row: int) -> None:
    """Draw crosses in the ``row``-th row, from 1 up, at the foot of the panel."""
    foot = [FOOT * row] * len(x)
    panel.plot(x, foot, "x", color=style.colour, transform=panel.get_xaxis_transform(), zorder=4)


def draw_full_models(panel: Axes, percent: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    """Draw the full models, which have no keep ratio, as lines across the panel, with their intervals as bands.

    Their seeds are ticks at the panel's right edge.
    """
    for name, reference in percent.groupby("label", observed=True):
        row, look = reference.iloc[0], full_model_line(styles[str(name)])
        panel.axhline(row["mean"], **look)
        panel.axhspan(
            *reference[["low", "high"]].iloc[0].astype(float).clip(*SHARES),
            color=look["color"],
            alpha=0.08,
            linewidth=0,
        )
        draw_seeds(panel, [EDGE], reference.iloc[:1], look["color"], transform=panel.get_yaxis_transform())


def fit_height(panel: Axes, percent: pd.DataFrame, crosses: int) -> None:
    """Fit the panel to the means and to the part of their intervals that leaves the means readable.

    Args:
        panel: what to fit.
        percent: the points on it, with the columns ``mean``, ``low``, ``high`` and ``by_seed``.
        crosses: rows of crosses, which the points leave free at the foot.
    """
    if percent["mean"].isna().all():
        return
    shown = pd.concat([percent["mean"], seeds_drawn(percent)["mean"]])
    low, high = shown.min(), shown.max()
    room = max(0.6 * (high - low), 2.0)
    bottom = max(percent["low"].min(), low - room) if percent["low"].notna().any() else low
    top = min(percent["high"].max(), high + room) if percent["high"].notna().any() else high
    margin = 0.06 * max(top - bottom, 1.0)
    bottom, top = max(min(bottom, low) - margin, -margin), min(max(top, high) + margin, 100 + margin)
    foot = FOOT * (crosses + 1) if crosses else 0.0
    panel.set_ylim(bottom - (top - bottom) * foot, top)


def points_note(points: pd.DataFrame, averaged: str) -> str:
    """Return the words for what the points and bars are, and for the crosses where some run diverged.

    Args:
        points: what is drawn.
        averaged: the words of :func:`bench.figures.base.evaluations`.
    """
    note = f"Mean of {averaged} on the whole test set."
    if (points["seeds"] > 1).any():
        note += " " + bars_note(points, "Bars and band: 95 % t-interval over seeds, cut at the panel's edge")
    if (points["diverged"] > 0).any():
        note += f" {CROSS}"
    return note
