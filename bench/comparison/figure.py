"""The differences of a comparison as a picture: a panel for each setting and keep ratio, a row for each series."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.comparison.shown import keep_of, other_name, own_name
from bench.figures.ablation import FULL_LINE, NAME, RING, ROW, name_rows
from bench.figures.base import evaluations, partition_title, slug
from bench.figures.curve_panels import joined, limits
from bench.figures.files import save_figure
from bench.figures.panels import finish, grid
from bench.figures.points import BARS, bars_note, draw_seeds, in_percent, seeds_drawn
from bench.figures.style import method_look, use_style

GREY = "#555555"
LINE = 0.14  # inches of a row's name


def write(table: pd.DataFrame, rounds: pd.DataFrame, folder: Path, last: int) -> list[Path]:
    """Draw one figure per task into a folder and return the files.

    Args:
        table: the paired table, see :data:`bench.comparison.table.ORDER`.
        rounds: the table of rounds that it rests on.
        folder: made if missing.
        last: how many of the last evaluations are averaged.

    Raises:
        BenchError: the folder cannot be written.
    """
    written: list[Path] = []
    with use_style():
        for task, rows in table.groupby("task", sort=False):
            drawn = _figure(str(task), rows, rounds[rounds["task"] == task], last)
            written += save_figure(drawn, folder, f"compare-{slug(str(task))}")
    return written


def _figure(task: str, rows: pd.DataFrame, rounds: pd.DataFrame, last: int) -> Figure:
    parts = [part for _, part in rows.assign(part=rows.apply(keep_of, axis=1)).groupby(["setting", "part"], sort=False)]
    names = [
        [textwrap.fill(name, NAME, break_on_hyphens=False) for name in part.apply(other_name, axis=1)] for part in parts
    ]
    row = max(ROW, *(LINE * (1 + name.count("\n")) for of_part in names for name in of_part))
    height = row * max(len(of_part) for of_part in names) + 0.6
    own = own_name(rows.iloc[0].to_dict())
    figure, axes = grid(len(parts), 1, panel=(3.4, height))
    for panel, part in zip(axes[:, 0], parts, strict=True):
        first = part.iloc[0]
        panel.set_title(f"{first['part']}; {partition_title(first['partition'], first['alpha'])}")
        _panel(panel, part)
    name_rows(figure, axes[:, 0], names)
    axes[-1, 0].set_xlabel(f"test accuracy of {own} less that of the other (points)")
    percent = in_percent(rows.rename(columns={"difference": "mean"}))
    bars = bars_note(percent, "Bars: 95 % t-interval over seeds, cut at the panel's edge")
    note = joined(
        f"Mean of {evaluations(last, rounds)}, subtracted within each seed.",
        f"{bars} Each comparison stands on its own." if (rows["pairs"] > 1).any() else "One seed has no interval.",
        "A cross at the left: a run diverged and is in no difference."
        if rows[["diverged", "other_diverged"]].any(axis=None)
        else "",
    )
    entries = [
        Line2D([], [], marker="o", linestyle="none", color=GREY, label="interval leaves zero out"),
        Line2D([], [], color=GREY, label="zero is within, or no interval", **RING),
    ]
    title = f"{own} against all others: {task}"
    return finish(figure, entries, {"rounds": rounds}, title, note)


def _panel(panel: Axes, part: pd.DataFrame) -> None:
    panel.axvline(0, **{**FULL_LINE, "color": GREY}, zorder=1)
    points = in_percent(part.rename(columns={"difference": "mean"}))
    for position, row in enumerate(points.to_dict("records")):
        y, colour = -position, method_look(str(row["other_method"]))[0]
        panel.hlines(y, row["low"], row["high"], color=colour, **BARS)
        draw_seeds(panel, [y], pd.DataFrame([row]), colour, axis="x")
        look: dict[str, Any] = {"marker": "o", "markersize": 5} if row["verdict"] else RING
        if row["pairs"]:
            panel.plot(row["mean"], y, color=colour, **look)
        if row["diverged"] or row["other_diverged"]:
            panel.plot(0.03, y, "x", color=colour, transform=panel.get_yaxis_transform())
    zero = pd.DataFrame({"mean": [0.0], "low": [0.0], "high": [0.0]})
    panel.set_xlim(limits(points, zero, seeds_drawn(points), bounds=(-100.0, 100.0)))
