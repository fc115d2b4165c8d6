"""Final accuracy against the keep ratio (PriSM, Figure 4)."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.profiles import split_rows
from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import (
    FigureSpec,
    Options,
    Skip,
    Tables,
    evaluated_tasks,
    evaluations,
    is_mixed,
    of_partition,
    partition_title,
    partitions_of,
)
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import joined
from bench.figures.panels import finish, grid, label_edges, method_entries
from bench.figures.points import draw_crosses, draw_full_models, draw_points, fit_height, in_percent, points_note
from bench.figures.style import SeriesStyle, series_styles

COLUMNS = 4
DODGE = 0.006  # keep ratio between neighbouring series, so that their intervals do not hide each other,
DODGES = 0.03  # and at most between the first and the last
TICKS = 0.12  # of the panel's width, at least, from one labelled keep ratio to the next


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a panel per partition, a line per label, the full model as the reference line."""
    styles = series_styles(tables["rounds"])
    return [
        (suffix, _figure(task, rows, styles, options.last, left_out))
        for suffix, task, rows, left_out in _tasks(tables["rounds"])
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the numbers behind each figure, as fractions."""
    return [(suffix, over_seeds(final_accuracy(rows, options.last))) for suffix, _, rows, _ in _tasks(tables["rounds"])]


def _tasks(rounds: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame, bool]]:
    """Return (suffix of the file name, task, rows, whether mixed capacities are left out) for each task.

    Profiles are no keep ratio: a single one stands at its mean, but several would be a cloud of points with a line of
    the legend each, in which two profiles of the same mean lie on one another. The figure "profiles" is theirs.
    """
    several = len(set(split_rows(rounds)["profile"]) - {""}) > 1
    tasks = []
    for suffix, task, rows in evaluated_tasks(rounds):
        equal = rows[split_rows(rows)["profile"] == ""] if several else rows
        if len(equal) == len(rows) or (equal["method"].astype(str) != FULL_MODEL).any():
            tasks.append((suffix, task, equal, len(equal) < len(rows)))
    if not tasks:
        raise Skip("all clients of its sub-models differ in capacity, see the figure 'profiles'")
    return tasks


def _figure(task: str, rounds: pd.DataFrame, styles: dict[str, SeriesStyle], last: int, left_out: bool) -> Figure:
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

    chance = draw_chance(axes.flat, rounds)
    title = f"Final accuracy against keep ratio: {task}"
    note = points_note(points, evaluations(last, rounds))
    if is_mixed(rounds):
        note += " Clients with different keep ratios are drawn at their mean."
    if left_out:
        note += " Clients with different keep ratios are left out: see the figure profiles."
    entries = [*method_entries(points, styles), *chance.entries]
    return finish(figure, entries, {"rounds": rounds}, title, joined(note, chance.note))


def _panel(panel: Axes, points: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    percent = in_percent(points)
    full = percent["method"] == FULL_MODEL
    labels = [label for label in styles if (percent.loc[~full, "label"] == label).any()]
    dodge = min(DODGE, DODGES / max(len(labels) - 1, 1))
    crosses = 0
    for position, label in enumerate(labels):
        series = percent[percent["label"] == label].sort_values("keep")
        x = series["keep"] + (position - (len(labels) - 1) / 2) * dodge
        draw_points(panel, x, series, styles[label])
        crossed = x[series["diverged"] > 0]
        if len(crossed):
            crosses += 1
            draw_crosses(panel, crossed, styles[label], crosses)
    draw_full_models(panel, percent[full], styles)
    _label_keeps(panel, sorted(percent.loc[~full, "keep"].unique().tolist()))
    fit_height(panel, percent, crosses)


def _label_keeps(panel: Axes, keeps: list[float]) -> None:
    if not keeps:
        panel.set_xticks([])
        return
    if len(keeps) <= 8:
        ticks = apart(keeps)
        panel.set_xticks(ticks, [f"{keep:g}" for keep in ticks])
    panel.set_xlim(keeps[0] - 0.08, keeps[-1] + 0.08)


def apart(keeps: list[float], share: float = TICKS) -> list[float]:
    """Return the keep ratios without those nearer to the one before than this share of the panel's width.

    Their words would touch.
    """
    least = share * (keeps[-1] - keeps[0] + 0.16)
    chosen = keeps[:1]
    for keep in keeps:
        if keep - chosen[-1] >= least:
            chosen.append(keep)
    return chosen


SPEC = FigureSpec(
    "accuracy-keep",
    "final accuracy against the keep ratio, one panel per partition",
    ("rounds",),
    draw,
    numbers,
)
