"""Final accuracy against the keep ratio (PriSM, Figure 4)."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.budgets import is_budget
from bench.analysis.profiles import split_rows
from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import FULL_MODEL
from bench.figures.ablation import FULL_LINE
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
    spread,
)
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import joined
from bench.figures.dots import dot_pages, dots, without_keep
from bench.figures.paging import Page
from bench.figures.panels import finish, grid, label_edges, method_entries
from bench.figures.points import draw_crosses, draw_full_models, draw_points, fit_height, in_percent, points_note
from bench.figures.style import SeriesStyle, counted, series_styles

COLUMNS = 4
CROWD = 8  # labels, above which two keep ratios have panels of dots instead of points on an axis
DODGE = 0.006  # keep ratio between neighbouring series, so that their intervals do not hide each other,
DODGES = 0.03  # and at most between the first and the last
TICKS = 0.12  # of the panel's width, at least, from one labelled keep ratio to the next


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a panel per partition, a line per label, the full model as the reference line."""
    styles = series_styles(tables["rounds"])
    figures: list[tuple[str, Figure]] = []
    for suffix, task, rows, left_out in _tasks(tables["rounds"]):
        points = over_seeds(final_accuracy(rows, options.last))
        keeps = _dotted(points)
        if not keeps:
            figures.append((suffix, _figure(task, rows, styles, options.last, left_out)))
        for page in dot_pages(points, keeps) if keeps else []:
            figures.append((suffix + page.suffix, _dots(task, rows, points, styles, options.last, left_out, page)))
    return figures


def _dotted(points: pd.DataFrame) -> list[float]:
    """Return the keep ratios that have panels of dots, the largest first; none where points stand apart on an axis.

    Dots are drawn where there is one keep ratio, and where there are two that many labels share.
    """
    own = points[(points["method"] != FULL_MODEL) & ~without_keep(points)]
    keeps = sorted(own["keep"].unique().tolist(), reverse=True)
    return keeps if len(keeps) == 1 or (len(keeps) == 2 and own["label"].nunique() > CROWD) else []


def _dots(
    task: str,
    rounds: pd.DataFrame,
    points: pd.DataFrame,
    styles: dict[str, SeriesStyle],
    last: int,
    left_out: bool,
    page: Page,
) -> Figure:
    all_partitions = partitions_of(points)
    partitions = spread(all_partitions, COLUMNS)
    figure = dots(points, page.shown, partitions, styles)
    chance = draw_chance(figure.axes, rounds, axis="x")
    note = points_note(points, evaluations(last, rounds)).replace("at the foot", "at the left")
    hidden = len(all_partitions) - len(partitions)
    note = joined(
        note,
        _further(rounds, left_out),
        f"Not shown: {counted(hidden, hidden, 'partition')}, see the numbers." if hidden else "",
        chance.note,
        page.note,
    )
    full = points.loc[points["method"] == FULL_MODEL, "label"].astype(str).unique()
    entries = [Line2D([], [], label=f"{label}, full model", **FULL_LINE) for label in full]
    return finish(figure, [*entries, *chance.entries], {"rounds": rounds}, f"Final accuracy: {task}", note)


def _further(rounds: pd.DataFrame, left_out: bool) -> str:
    """Return what is said of clients that differ in their keep ratios."""
    return joined(
        "Clients with different keep ratios are drawn at their mean." if is_mixed(rounds) else "",
        "Clients with different keep ratios, or at a budget, are left out: see the figure profiles."
        if left_out
        else "",
    )


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the numbers behind each figure, as fractions."""
    return [(suffix, over_seeds(final_accuracy(rows, options.last))) for suffix, _, rows, _ in _tasks(tables["rounds"])]


def _tasks(rounds: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame, bool]]:
    """Return (suffix of the file name, task, rows, whether mixed capacities are left out) for each task.

    Profiles and budgets are no keep ratio: a single profile stands at its mean, but several would be a cloud of points
    with a line of the legend each, in which two of the same mean lie on one another. The figure "profiles" is theirs.
    """
    profiles = set(split_rows(rounds)["profile"]) - {""}
    several = len(profiles) > 1 or any(map(is_budget, profiles))
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
    note = joined(points_note(points, evaluations(last, rounds)), _further(rounds, left_out))
    entries = [*method_entries(points, styles), *chance.entries]
    return finish(figure, entries, {"rounds": rounds}, title, joined(note, chance.note))


def _panel(panel: Axes, points: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    percent = in_percent(points)
    full = (percent["method"] == FULL_MODEL) | without_keep(percent)
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
