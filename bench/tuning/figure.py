"""Tuned against paper: the test accuracy of each method with both values, and the paired difference."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.series import SERIES
from bench.errors import several
from bench.figures.base import evaluations, slug
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import joined
from bench.figures.panels import finish, grid
from bench.figures.style import method_look
from bench.tuning.tuned_file import PAPER, TUNED

ROW = 0.42  # inches
NAME = 24  # characters in a line of a row's name
SHIFT = {PAPER: 0.14, TUNED: -0.14}
FILL: dict[str, Any] = {PAPER: "none", TUNED: "full"}


def draw(report: pd.DataFrame, rounds: pd.DataFrame, last: int) -> list[tuple[str, Figure]]:
    """Return (suffix of the file name, figure) for each task.

    Args:
        report: the table of the report.
        rounds: the table of rounds that it rests on.
        last: how many evaluations the final accuracy averages.
    """
    return [
        (slug(str(task)), _figure(str(task), rows, rounds[rounds["task"] == task], last))
        for task, rows in report.groupby("task", observed=True, sort=False)
    ]


def _figure(task: str, rows: pd.DataFrame, rounds: pd.DataFrame, last: int) -> Figure:
    labels = list(dict.fromkeys(rows["label"].astype(str)))
    figure, axes = grid(1, 2, panel=(2.9, ROW * len(labels) + 0.75), share_y="row")
    accuracy, difference = axes[0]
    for row in rows.to_dict("records"):
        y = -labels.index(str(row["label"]))
        colour, marker = method_look(str(row["method"]))
        kind = str(row["values"])
        _bar(accuracy, row, "test_acc", y + SHIFT[kind], colour, marker, FILL[kind])
        if kind == TUNED:
            _bar(difference, row, "difference", y, colour, marker, "full")
    names = [textwrap.fill(label, NAME, break_on_hyphens=False) for label in labels]
    accuracy.set_yticks([-position for position in range(len(labels))], names)
    accuracy.set_ylim(0.6 - len(labels), 0.6)
    accuracy.set_xlabel("test accuracy (%)")
    difference.axvline(0, color="#777777", linewidth=0.9, zorder=1)
    difference.margins(x=0.12)
    difference.set_xlabel("tuned minus paper (points)")
    chance = draw_chance([accuracy], rounds, axis="x")
    note = (
        f"Accuracy: mean of {evaluations(last, rounds)} on the whole test set, without a validation split, on seeds "
        "that no trial has seen. Bars: 95 % t-intervals over the seeds; at the right of the differences seed by seed."
    )
    if set(labels) - set(rows.loc[rows["values"] == TUNED, "label"].astype(str)):
        note += " A method without a full marker: its best trial has the paper's values, or none is complete."
    if rows["diverged"].any():
        note += f" Left out: {several(int(rows['diverged'].sum()), 'diverged run')}."
    entries = [
        Line2D([], [], linestyle="none", marker="o", color="#444444", fillstyle=FILL[kind], label=words)
        for kind, words in ((PAPER, "the paper's values"), (TUNED, "tuned on held-out samples of other seeds"))
    ]
    entries += chance.entries
    shown = rounds[["cell", *SERIES, "seed", "status", "round"]]
    return finish(figure, entries, {"rounds": shown}, f"Tuned against paper: {task}", joined(note, chance.note))


def _bar(panel: Axes, row: Mapping[Any, Any], column: str, y: float, colour: str, marker: str, fill: Any) -> None:
    panel.hlines(y, 100 * row[f"{column}_low"], 100 * row[f"{column}_high"], color=colour, linewidth=1.3, alpha=0.75)
    panel.plot(100 * row[column], y, marker, color=colour, fillstyle=fill, markersize=5.5, linestyle="none")
