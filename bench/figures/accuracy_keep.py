"""Final accuracy against the keep ratio (PriSM, Figure 4)."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import (
    FigureSpec,
    Options,
    Tables,
    evaluated_tasks,
    evaluations,
    is_mixed,
    of_partition,
    partition_title,
    partitions_of,
)
from bench.figures.panels import finish, full_model_line, grid, label_edges, method_entries
from bench.figures.style import SeriesStyle, series_styles

COLUMNS = 4
DODGE = 0.006  # keep ratio between neighbouring series, so that their intervals do not hide each other,
DODGES = 0.03  # and at most between the first and the last
TICKS = 0.12  # of the panel's width, at least, from one labelled keep ratio to the next
FOOT = 0.05  # of the panel's height, for each diverged series


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a panel per partition, a line per label, the full model as the reference line."""
    rounds = tables["rounds"]
    styles = series_styles(rounds)
    return [(suffix, _figure(task, rows, styles, options.last)) for suffix, task, rows in evaluated_tasks(rounds)]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the numbers behind each figure, as fractions."""
    return [
        (suffix, over_seeds(final_accuracy(rows, options.last)))
        for suffix, _, rows in evaluated_tasks(tables["rounds"])
    ]


def _figure(task: str, rounds: pd.DataFrame, styles: dict[str, SeriesStyle], last: int) -> Figure:
    points = over_seeds(final_accuracy(rounds, last))
    partitions = partitions_of(points)
    rows = math.ceil(len(partitions) / COLUMNS)
    figure, axes = grid(rows, math.ceil(len(partitions) / rows))
    for panel, (partition, alpha) in zip(axes.flat, partitions, strict=False):
        _panel(panel, of_partition(points, partition, alpha), styles)
        panel.set_title(partition_title(partition, alpha))
    for panel in axes.flat[len(partitions) :]:
        panel.set_axis_off()
    label_edges(axes, "keep ratio", "test accuracy (%)")

    title = f"Final accuracy against keep ratio: {task}"
    return finish(
        figure, method_entries(points, styles), {"rounds": rounds}, title, _note(points, last, is_mixed(rounds))
    )


def _note(points: pd.DataFrame, last: int, mixed: bool) -> str:
    note = f"Mean of {evaluations(last)} on the whole test set."
    if (points["seeds"] > 1).any():
        note += " Bars and band: 95 % t-interval over seeds, cut at the panel's edge."
    if mixed:
        note += " Clients with different keep ratios are drawn at their mean."
    if points["diverged"].any():
        note += " A cross at the foot: a run diverged and is not in the mean."
    return note


def _panel(panel: Axes, points: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    percent = points.assign(**{name: 100 * points[name] for name in ("mean", "low", "high")})
    sub_models = percent[percent["method"] != FULL_MODEL]
    labels = [label for label in styles if (sub_models["label"] == label).any()]
    dodge = min(DODGE, DODGES / max(len(labels) - 1, 1))
    crosses = 0
    for position, label in enumerate(labels):
        series = sub_models[sub_models["label"] == label].sort_values("keep")
        x = series["keep"] + (position - (len(labels) - 1) / 2) * dodge
        style = styles[label]
        panel.plot(x, series["mean"], **style.plot_options(), zorder=3)
        panel.vlines(x, series["low"], series["high"], color=style.colour, linewidth=1, alpha=0.6)
        crossed = x[series["diverged"] > 0]
        if len(crossed):
            crosses += 1
            foot = [FOOT * crosses] * len(crossed)
            panel.plot(crossed, foot, "x", color=style.colour, transform=panel.get_xaxis_transform(), zorder=4)
    for name, reference in percent[percent["method"] == FULL_MODEL].groupby("label", observed=True):
        row, look = reference.iloc[0], full_model_line(styles[str(name)])
        panel.axhline(row["mean"], **look)
        panel.axhspan(row["low"], row["high"], color=look["color"], alpha=0.08, linewidth=0)
    _limits(panel, percent, foot=FOOT * (crosses + 1) if crosses else 0.0)


def _limits(panel: Axes, percent: pd.DataFrame, foot: float) -> None:
    """Fit the panel to the means and to the part of their intervals that leaves the means readable.

    ``foot`` is the share of the panel's height to leave free at its foot.
    """
    keeps = sorted(percent.loc[percent["method"] != FULL_MODEL, "keep"].unique().tolist())
    if keeps:
        if len(keeps) <= 8:
            ticks = _apart(keeps)
            panel.set_xticks(ticks, [f"{keep:g}" for keep in ticks])
        panel.set_xlim(keeps[0] - 0.08, keeps[-1] + 0.08)
    else:
        panel.set_xticks([])
    if percent["mean"].isna().all():
        return
    low, high = percent["mean"].min(), percent["mean"].max()
    room = max(0.6 * (high - low), 2.0)
    bottom = max(percent["low"].min(), low - room) if percent["low"].notna().any() else low
    top = min(percent["high"].max(), high + room) if percent["high"].notna().any() else high
    margin = 0.06 * max(top - bottom, 1.0)
    bottom, top = max(bottom - margin, -margin), min(top + margin, 100 + margin)
    panel.set_ylim(bottom - (top - bottom) * foot, top)


def _apart(keeps: list[float]) -> list[float]:
    """Return the keep ratios without those too near to the one before, whose words would touch."""
    least = TICKS * (keeps[-1] - keeps[0] + 0.16)
    apart = keeps[:1]
    for keep in keeps:
        if keep - apart[-1] >= least:
            apart.append(keep)
    return apart


SPEC = FigureSpec(
    "accuracy-keep",
    "final accuracy against the keep ratio, one panel per partition",
    ("rounds",),
    draw,
    numbers,
)
