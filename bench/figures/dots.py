"""Final accuracies as rows: the sorted dots of many methods at few keep ratios, where points would hide each other."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.tables import FULL_MODEL
from bench.figures.ablation import FULL_LINE, NAME, ROW, name_rows
from bench.figures.base import of_partition, partition_title
from bench.figures.curve_panels import limits
from bench.figures.differences import embolden
from bench.figures.paging import SHARE, Page, pages
from bench.figures.panels import grid, label_edges
from bench.figures.points import EDGE, SHARES, draw_bar, draw_seeds, in_percent, seeds_drawn
from bench.figures.style import SeriesStyle

BESIDE = 0.6  # inches of a panel beside its rows: title, ticks and label
LINE = 0.14  # inches of a row's name
Rows = tuple[float, list[str]]
"""A keep ratio and the labels of its rows, the best first."""


def rows_of(points: pd.DataFrame, keep: float) -> list[str]:
    """Return the labels of a keep ratio, and those that have none, the best of all partitions first."""
    here = points[(points["keep"] == keep) | without_keep(points)]
    here = here[here["method"] != FULL_MODEL]
    best = here.groupby("label")["mean"].mean().sort_values(ascending=False, na_position="last", kind="stable")
    return [str(label) for label in best.index]


def without_keep(points: pd.DataFrame) -> pd.Series[bool]:
    """Return which rows are of labels that train the full model while others have keep ratios."""
    least = points.groupby("label", observed=True)["keep"].transform("min")
    return (least == 1) & (points["keep"].min() < 1)


def dot_pages(points: pd.DataFrame, keeps: list[float]) -> list[Page]:
    """Return what each file shows: keep ratios with their labels, which are split where they are more than a page."""
    most = int((SHARE - BESIDE) / max(ROW, _height(points["label"])))
    rows: list[Rows] = []
    for keep in keeps:
        labels = rows_of(points, keep)
        parts = math.ceil(len(labels) / most)
        ends = [round(part * len(labels) / parts) for part in range(parts + 1)]
        rows += [(keep, labels[first:last]) for first, last in itertools.pairwise(ends)]
    return pages(rows, [ROW * len(labels) + BESIDE for _, labels in rows])


def _height(labels: Iterable[object]) -> float:
    """Return the height of the largest name, in inches."""
    return max(LINE * (1 + _name(str(label), False).count("\n")) for label in set(labels))


def dots(
    points: pd.DataFrame, shown: list[Rows], partitions: list[tuple[str, float]], styles: dict[str, SeriesStyle]
) -> Figure:
    """Return a figure of dots: a row of panels per keep ratio, a column per partition, a row per label.

    Args:
        points: the table of :func:`bench.analysis.summary.over_seeds`.
        shown: of :func:`dot_pages`.
        partitions: as of :func:`bench.figures.base.partitions_of`.
        styles: by label.
    """
    keeps, of_keeps = [keep for keep, _ in shown], [labels for _, labels in shown]
    whole = set(points.loc[without_keep(points), "label"].astype(str))
    names = [[_name(label, label in whole) for label in labels] for labels in of_keeps]
    tallest = max((LINE * (1 + name.count("\n")) for of_keep in names for name in of_keep), default=LINE)
    row = max(ROW, tallest)
    heights = [row * len(labels) + BESIDE for labels in of_keeps]
    figure, axes = grid(len(keeps), len(partitions), (2.6, heights[0]), share_y="row", heights=heights)
    for panels, keep, labels in zip(axes, keeps, of_keeps, strict=True):
        for panel, (partition, alpha) in zip(panels, partitions, strict=True):
            here = of_partition(points, partition, alpha)
            here = here[(here["keep"] == keep) | (here["method"] == FULL_MODEL) | here["label"].isin(whole)]
            _panel(panel, in_percent(here), labels, styles)
            panel.set_title(f"keep {keep:.3g}; {partition_title(partition, alpha)}")
    name_rows(figure, axes[:, 0], names)
    embolden(axes[:, 0], of_keeps)
    label_edges(axes, "test accuracy (%)", "")
    return figure


def _name(label: str, whole: bool) -> str:
    return textwrap.fill(f"{label}, full model" if whole else label, NAME, break_on_hyphens=False)


def _panel(panel: Axes, percent: pd.DataFrame, labels: list[str], styles: dict[str, SeriesStyle]) -> None:
    shown = percent[percent["label"].isin(labels)]
    for row in shown.to_dict("records"):
        y, style = -labels.index(str(row["label"])), styles[str(row["label"])]
        draw_bar(panel, [y], pd.DataFrame([row]), style.colour, axis="x")
        draw_seeds(panel, [y], pd.DataFrame([row]), style.colour, axis="x")
        look: dict[str, Any] = style.plot_options() | {"linestyle": "none"}
        panel.plot(row["mean"], y, **look)
        if row["diverged"]:
            panel.plot(0.03, y, "x", color=style.colour, transform=panel.get_yaxis_transform())
    full = percent[(percent["method"] == FULL_MODEL) & ~percent["label"].isin(labels)]
    for row in full.to_dict("records"):
        panel.axvline(row["mean"], **FULL_LINE, zorder=1)
        panel.axvspan(
            max(row["low"], SHARES[0]), min(row["high"], SHARES[1]), color=FULL_LINE["color"], alpha=0.08, linewidth=0
        )
        look = {"axis": "x", "transform": panel.get_xaxis_transform()}
        draw_seeds(panel, [EDGE], pd.DataFrame([row]), FULL_LINE["color"], **look)
    lines = pd.DataFrame(dict.fromkeys(("mean", "low", "high"), full["mean"]))
    panel.set_xlim(limits(shown, lines, seeds_drawn(shown), seeds_drawn(full), bounds=(0.0, 100.0)))
