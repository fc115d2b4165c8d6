"""A grid of panels with its heading above, and its legend and footnote below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.tables import FULL_MODEL
from bench.figures.style import DASHED, LINE, MARGIN, SeriesStyle, reserve, stamp

LEGEND_LINE = 0.165  # inches
LEGEND_CHARACTER = 0.06  # inches
LEGEND_HANDLE = 0.55  # inches: the line in front of a name, and the gap behind it


def grid(rows: int, columns: int, panel: tuple[float, float] = (2.4, 1.9), share_y: Any = False) -> tuple[Figure, Any]:
    """Return a figure of ``rows`` x ``columns`` panels of ``panel`` inches, and its axes as a 2-D array."""
    width, height = max(columns * panel[0], 3.6), rows * panel[1]
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=share_y)


def method_entries(table: pd.DataFrame, styles: Mapping[str, SeriesStyle]) -> list[Line2D]:
    """Return the legend entries of the labels in ``table``, in the order of ``styles``, full models last."""
    full = set(table.loc[table["method"] == FULL_MODEL, "label"])
    here = [label for label in styles if label in set(table["label"])]
    entries = [Line2D([], [], label=label, **styles[label].plot_options()) for label in here if label not in full]
    references = [label for label in here if label in full]
    return entries + [
        Line2D([], [], label=f"{label}, full model", **full_model_line(styles[label])) for label in references
    ]


def full_model_line(style: SeriesStyle) -> dict[str, Any]:
    """Return how the reference line of the full model looks: dashed, or its variant's line."""
    return {"color": style.colour, "linestyle": DASHED if style.line == "-" else style.line}


def finish(
    figure: Figure, entries: Sequence[Line2D], tables: Mapping[str, pd.DataFrame], title: str, note: str = ""
) -> Figure:
    """Write the heading, the stamp and the footnote, lay the legend below the panels, and return ``figure``."""
    stamp(figure, tables, title, note)
    if entries:
        width = figure.get_size_inches()[0]
        lines = _legend_lines([str(entry.get_label()) for entry in entries], width - 2 * MARGIN)
        room = lines * LEGEND_LINE + LINE
        _, below = reserve(figure, bottom=room)
        figure.legend(
            handles=list(entries),
            loc="lower center",
            bbox_to_anchor=(width / 2, below - room),
            bbox_transform=figure.dpi_scale_trans,
            ncols=math.ceil(len(entries) / lines),
            borderaxespad=0.3,
            labelspacing=0.3,
            columnspacing=1.4,
        )
    return figure


def _legend_lines(labels: Sequence[str], width: float) -> int:
    """Return the fewest lines in which the columns of a legend fit into ``width`` inches."""
    for lines in range(1, len(labels)):
        columns = [labels[start : start + lines] for start in range(0, len(labels), lines)]
        if sum(LEGEND_HANDLE + LEGEND_CHARACTER * max(map(len, column)) for column in columns) <= width:
            return lines
    return len(labels)


def label_edges(axes: Any, x: str, y: str) -> None:
    """Label the horizontal axis of the lowest panel of each column and the vertical axis of the left panels."""
    for column in axes.T:
        lowest: Axes = [panel for panel in column if panel.axison][-1]
        lowest.set_xlabel(x)
    for panel in axes[:, 0]:
        panel.set_ylabel(y)
