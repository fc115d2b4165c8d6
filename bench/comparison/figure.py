"""The differences of a comparison as a picture: a panel for each setting and keep ratio, a row for each series."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.adjusted import adjusted
from bench.analysis.tables import FULL_MODEL
from bench.comparison.shown import keep_of, other_name, own_name
from bench.figures.ablation import BESIDE, NAME, ROW, name_rows
from bench.figures.base import evaluations, partition_title, slug
from bench.figures.curve_panels import joined
from bench.figures.differences import DOT, RING, difference_limits, draw_difference
from bench.figures.files import save_figure
from bench.figures.looks import front_colour, row_colour
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid
from bench.figures.points import DIFFERENCES, bars_note, in_percent
from bench.figures.style import FRONT_WIDTH, use_style

PART = ["setting", "part"]
GREY = "#555555"
LINE = 0.14  # inches of a row's name


def write(
    table: pd.DataFrame, rounds: pd.DataFrame, folder: Path, last: int, colours: Mapping[str, str] | None = None
) -> list[Path]:
    """Draw one figure per task into a folder and return the files.

    Args:
        table: the paired table, see :data:`bench.comparison.table.ORDER`.
        rounds: the table of rounds that it rests on.
        folder: made if missing.
        last: how many of the last evaluations are averaged.
        colours: what users have given to methods, by their names.

    Raises:
        BenchError: the folder cannot be written.
    """
    written: list[Path] = []
    with use_style(set(table["label"].astype(str)), colours):
        for task, rows in table.groupby("task", sort=False):
            parts = [part for _, part in rows.assign(part=rows.apply(keep_of, axis=1)).groupby(PART, sort=False)]
            for page in pages(parts, [ROW * len(part) + BESIDE for part in parts]):
                drawn = _figure(str(task), page, rounds[rounds["task"] == task], last)
                written += save_figure(drawn, folder, f"compare-{slug(str(task))}{page.suffix}")
    return written


def _figure(task: str, page: Page, rounds: pd.DataFrame, last: int) -> Figure:
    judged = adjusted(pd.concat(page.shown).rename(columns={"difference": "mean"}))
    parts = [part for _, part in judged.groupby(PART, sort=False)]
    names = [
        [textwrap.fill(name, NAME, break_on_hyphens=False) for name in part.apply(other_name, axis=1)] for part in parts
    ]
    row = max(ROW, *(LINE * (1 + name.count("\n")) for of_part in names for name in of_part))
    heights = [row * len(of_part) + BESIDE for of_part in names]
    first = judged.iloc[0].to_dict()
    own = own_name(first)
    look: dict[str, Any] = {"color": front_colour(str(first["method"])), "linewidth": FRONT_WIDTH}
    figure, axes = grid(len(parts), 1, panel=(3.4, heights[0]), heights=heights)
    for panel, part in zip(axes[:, 0], parts, strict=True):
        place = part.iloc[0]
        panel.set_title(f"{place['part']}; {partition_title(place['partition'], place['alpha'])}")
        _panel(panel, part, look)
    name_rows(figure, axes[:, 0], names)
    axes[-1, 0].set_xlabel(f"test accuracy of {own} less that of the other (points)")
    note = joined(
        f"Mean of {evaluations(last, rounds)}, subtracted within each seed.",
        _bars_note(judged),
        "A cross at the left: a run diverged and is in no difference."
        if judged[["diverged", "other_diverged"]].any(axis=None)
        else "",
        page.note,
    )
    entries = [
        Line2D([], [], label=own, **look),
        Line2D([], [], color=GREY, label="interval leaves zero out", **DOT),
        Line2D([], [], color=GREY, label="zero is within, or no interval", **RING),
    ]
    title = f"{own} against all others: {task}"
    return finish(figure, entries, {"rounds": rounds}, title, note)


def _bars_note(judged: pd.DataFrame) -> str:
    family = int(judged["family"].max())
    if not family:
        return "One seed has no interval."
    words = "Bars: 95 % t-interval over seeds, cut at the panel's edge"
    if family > 1:
        words = (
            f"Thin bars: 95 % t-intervals over seeds that hold together for all {family} comparisons shown "
            "(Bonferroni), and which decide what is filled; thick: each on its own; both cut at the panel's edge"
        )
    return bars_note(judged, words, DIFFERENCES)


def _panel(panel: Axes, part: pd.DataFrame, own: Mapping[str, Any]) -> None:
    """Draw the others of a setting as rows, muted, beside the line of one's own method, which is zero."""
    panel.axvline(0, **own, zorder=1)
    points = in_percent(part)
    for position, row in enumerate(points.to_dict("records")):
        colour = row_colour(str(row["other_method"]), str(row["other"]), FULL_MODEL)
        draw_difference(panel, -position, row | {"diverged": row["diverged"] or row["other_diverged"]}, colour)
    panel.set_xlim(difference_limits(points))
