"""A grid of panels with its heading above, and its legend and footnote below."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.profiles import split_label
from bench.analysis.tables import FULL_MODEL
from bench.figures.style import DASHED, LINE, MARGIN, SeriesStyle, reserve, stamp

LEGEND_LINE = 0.145  # inches
LEGEND_CHARACTER = 0.056  # inches
LEGEND_HANDLE = 0.55  # inches: the line in front of a name, and the gap behind it
LARGEST_LEGEND = 0.45  # of the height of a panel with its title and labels
PAGE_WIDTH = 7.2  # inches, up to which a figure is widened for its legend


def grid(
    rows: int,
    columns: int,
    panel: tuple[float, float] = (2.4, 1.9),
    share_y: Any = False,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, Any]:
    """Return a figure of ``rows`` x ``columns`` panels of ``panel`` inches, and its axes as a 2-D array.

    Args:
        rows, columns: of panels.
        panel: width and height of each.
        share_y: which panels share their vertical axis, as matplotlib has it.
        heights: of each row, where they differ.
    """
    width, height = max(columns * panel[0], 3.6), rows * panel[1] if heights is None else sum(heights)
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=share_y, height_ratios=heights)


def method_entries(table: pd.DataFrame, styles: Mapping[str, SeriesStyle]) -> list[Line2D]:
    """Return the legend entries of the labels in ``table``, in the order of ``styles``, full models last.

    Labels that look the same, for they differ in their profile of keep ratios only, have one entry without it.
    """
    pairs = table[["label", "method"]].astype(str).drop_duplicates().itertuples(index=False, name=None)
    methods = {str(label): str(method) for label, method in pairs}
    alike = Counter(styles.values())
    names: dict[str, SeriesStyle] = {}
    references: dict[str, SeriesStyle] = {}
    for label, style in styles.items():
        if label in methods:
            name = split_label(label, methods[label])[0] if alike[style] > 1 else label
            (references if methods[label] == FULL_MODEL else names).setdefault(name, style)
    entries = [Line2D([], [], label=name, **style.plot_options()) for name, style in names.items()]
    return entries + [
        Line2D([], [], label=f"{name}, full model", **full_model_line(style)) for name, style in references.items()
    ]


def without_lines(entries: Sequence[Line2D], table: pd.DataFrame) -> Sequence[Line2D]:
    """Return legend entries of points that no line joins; the full model's is a line."""
    whole = {f"{label}, full model" for label in set(table.loc[table["method"] == FULL_MODEL, "label"].astype(str))}
    for entry in entries:
        if entry.get_label() not in whole:
            entry.set_linestyle("none")
    return entries


def full_model_line(style: SeriesStyle) -> dict[str, Any]:
    """Return how the reference line of the full model looks: dashed, or its variant's line."""
    return {"color": style.colour, "linestyle": DASHED if style.line == "-" else style.line}


def finish(
    figure: Figure, entries: Sequence[Line2D], tables: Mapping[str, pd.DataFrame], title: str, note: str = ""
) -> Figure:
    """Write the heading, the stamp and the footnote, lay the legend below the panels, and return ``figure``."""
    if entries:
        _make_room(figure, [str(entry.get_label()) for entry in entries])
    stamp(figure, tables, title, note)
    if entries:
        width = figure.get_size_inches()[0]
        room_of_words = width - 2 * MARGIN
        names = [_wrapped(str(entry.get_label()), room_of_words) for entry in entries]
        columns, lines = _legend_columns(names, room_of_words)
        room = lines * LEGEND_LINE + LINE
        _, below = reserve(figure, bottom=room)
        figure.legend(
            handles=list(entries),
            labels=names,
            loc="lower center",
            bbox_to_anchor=(width / 2, below - room),
            bbox_transform=figure.dpi_scale_trans,
            ncols=columns,
            borderaxespad=0.3,
            labelspacing=0.3,
            columnspacing=1.4,
        )
    return figure


def _make_room(figure: Figure, names: Sequence[str]) -> None:
    """Widen a figure whose legend would be higher than its panels, up to the width of a page."""
    width, height = figure.get_size_inches()
    gridspec = figure.axes[0].get_gridspec()
    rows = 1 if gridspec is None else gridspec.nrows
    while width < PAGE_WIDTH:
        room = width - 2 * MARGIN
        _, lines = _legend_columns([_wrapped(name, room) for name in names], room)
        if lines * LEGEND_LINE <= LARGEST_LEGEND * height / rows:
            break
        width = min(width + 0.3, PAGE_WIDTH)
    figure.set_size_inches(width, height)


def _wrapped(name: str, width: float) -> str:
    """Return ``name`` in lines that fit into ``width`` inches beside their line."""
    return textwrap.fill(name, int((width - LEGEND_HANDLE) / LEGEND_CHARACTER), break_on_hyphens=False)


def _legend_columns(names: Sequence[str], width: float) -> tuple[int, int]:
    """Return (columns, lines) of the widest legend that fits into ``width`` inches; its columns are filled evenly."""
    for columns in range(len(names), 0, -1):
        parts = [list(part) for part in np.array_split(np.array(names, dtype=object), columns)]
        widest = [max(len(line) for name in part for line in name.split("\n")) for part in parts]
        if columns == 1 or sum(LEGEND_HANDLE + LEGEND_CHARACTER * characters for characters in widest) <= width:
            return columns, max(sum(name.count("\n") + 1 for name in part) for part in parts)
    return 1, 0


def say_empty(panel: Axes) -> None:
    """Say in a panel that a grid has for completeness that no run belongs there."""
    panel.text(
        0.5, 0.5, "no run to show", transform=panel.transAxes, ha="center", va="center", color="#777777", fontsize=8
    )


def label_edges(axes: Any, x: str, y: str) -> None:
    """Label the horizontal axis of the lowest panel of each column and the vertical axis of the left panels.

    Panels that are left out do not count.
    """
    for column in axes.T:
        for lowest in [panel for panel in column if panel.axison][-1:]:
            lowest.set_xlabel(x)
            lowest.tick_params(labelbottom=True)
    for row in axes:
        for left in [panel for panel in row if panel.axison][:1]:
            left.set_ylabel(y)
            left.tick_params(labelleft=True)
