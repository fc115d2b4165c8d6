"""Final accuracy of the nested sub-model of each keep ratio."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bench.analysis.levels import level_accuracy
from bench.analysis.profiles import profiles_of, with_profiles
from bench.analysis.series import SERIES
from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import (
    FigureSpec,
    Options,
    Skip,
    Tables,
    by_task,
    evaluations,
    of_partition,
    partitions_of,
    spread,
)
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import PARTITIONS, joined
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid, label_edges, method_entries
from bench.figures.points import draw_crosses, draw_full_models, draw_points, fit_height, in_percent, points_note
from bench.figures.profile_words import panel_title
from bench.figures.style import SeriesStyle, counted, series_styles

PANEL = 2.1  # inches, the height of a panel
DODGE = 0.012  # of a level between neighbouring series, so that their intervals do not hide each other
APART = 1.22  # at least, from one labelled level to the next, as a factor


@dataclass(frozen=True)
class Found:
    """What a figure of one task shows: the levels of its sub-models as points, and the full models beside them."""

    suffix: str
    task: str
    rows: pd.DataFrame
    points: pd.DataFrame
    full: pd.DataFrame


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per profile, a column per partition, a line per label."""
    tasks = _tasks(tables, options)
    styles = series_styles(pd.concat([part[["method", "label"]] for of in tasks for part in (of.points, of.full)]))
    return [
        (of.suffix + page.suffix, _figure(of, styles, options.last, page))
        for of in tasks
        for page in pages(_groups(of.points), PANEL)
    ]


def _groups(points: pd.DataFrame) -> list[tuple[str, float]]:
    """Return the (profile, mean keep ratio) of each row of panels; runs whose clients are alike share one.

    Clients that are alike have one level in a run, their keep ratio.
    """
    alike = [("", 1.0)] if (points["profile"] == "").any() else []
    return alike + [(profile, keep) for profile, keep in profiles_of(points) if profile]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the final accuracy of each label and level with its interval, parameters and MACs, as fractions."""
    order = ["label", "profile", "keep", "level", "partition", "alpha", "mean", "low", "high"]
    sort = ["partition", "alpha", "label", "profile", "keep", "level"]
    return [
        (of.suffix, of.points[order + [name for name in of.points if name not in order]].sort_values(sort))
        for of in _tasks(tables, options)
    ]


def _tasks(tables: Tables, options: Options) -> list[Found]:
    levels = tables["levels"]
    on_test = levels[(levels["round"] > 0) & ~levels["validates"].astype(bool)]
    full = _full_models(tables.get("rounds"), options.last)
    tasks = []
    for suffix, task, rows in by_task(on_test):
        title = str(rows["data_title"].iloc[0])
        here = full[(full["task"] == task) & (full["data_title"] == title)] if len(full) else full
        tasks.append(Found(suffix, task, rows, with_profiles(level_accuracy(rows, options.last)), here))
    if not tasks:
        raise Skip("no nested sub-model was evaluated on the test set after its first round")
    return tasks


def _full_models(rounds: pd.DataFrame | None, last: int) -> pd.DataFrame:
    """Return the final accuracy of the full models, no rows where the sweep has none."""
    if rounds is None:
        return pd.DataFrame(columns=[*SERIES, "mean", "low", "high", "by_seed"])
    return over_seeds(final_accuracy(rounds[rounds["method"] == FULL_MODEL], last))


def _figure(of: Found, styles: dict[str, SeriesStyle], last: int, page: Page) -> Figure:
    groups, all_partitions = page.shown, partitions_of(of.points)
    partitions = spread(all_partitions, PARTITIONS)
    figure, axes = grid(len(groups), len(partitions), panel=(2.6, PANEL))
    empty = []
    shown = []
    for panels, (profile, keep) in zip(axes, groups, strict=True):
        of_group = of.points[of.points["profile"] == profile]
        for panel, (partition, alpha) in zip(panels, partitions, strict=True):
            points, full = (of_partition(table, partition, alpha) for table in (of_group, of.full))
            shown.append(points)
            title = panel_title(profile, keep, partition, alpha)
            if points.empty:
                empty.append(title.replace("\n", ", "))
                panel.set_axis_off()
                continue
            _panel(panel, in_percent(points), in_percent(full), styles)
            panel.set_title(title)
        _label_levels(panels, sorted(of_group["level"].unique().tolist()))
    label_edges(axes, "keep ratio of the sub-model (log scale)", "test accuracy (%)")
    chance = draw_chance(axes.flat, of.rows)
    hidden = len(all_partitions) - len(partitions)
    words = counted(hidden, hidden, "partition") if hidden else ""
    note = joined(
        points_note(pd.concat(shown), evaluations(last, of.rows, "level_acc")).replace("Bars and band", "Bars"),
        "Only methods with a nested sub-model for each keep ratio appear.",
        f"Not shown: {words}, see the numbers." if words else "",
        f"No run, and no panel: {'; '.join(empty)}." if empty else "",
        chance.note,
        page.note,
    )
    tables = {"levels": of.rows}
    entries = [*method_entries(pd.concat([*shown, of.full]), styles), *chance.entries]
    return finish(figure, entries, tables, f"Accuracy of the nested sub-models: {of.task}", note)


def _panel(panel: Axes, percent: pd.DataFrame, full: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    labels = [label for label in styles if (percent["label"] == label).any()]
    crosses = 0
    for position, label in enumerate(labels):
        series = percent[percent["label"] == label].sort_values("level")
        x = series["level"] * (1 + DODGE) ** (position - (len(labels) - 1) / 2)
        draw_points(panel, x, series, styles[label])
        crossed = x[series["diverged"] > 0]
        if len(crossed):
            crosses += 1
            draw_crosses(panel, crossed, styles[label], crosses)
    draw_full_models(panel, full, styles)
    fit_height(panel, pd.concat([percent, full]), crosses)


def _label_levels(panels: Iterable[Axes], levels: list[float]) -> None:
    """Label the levels, but for those too near to the one before, on a logarithmic axis."""
    apart = levels[:1]
    for level in levels:
        if level >= APART * apart[-1]:
            apart.append(level)
    for panel in panels:
        panel.set_xscale("log")
        panel.set_xlim(levels[0] / 1.2, levels[-1] * 1.2)
        panel.set_xticks(apart, [f"{level:g}" for level in apart])
        panel.xaxis.set_minor_locator(NullLocator())


SPEC = FigureSpec(
    "levels",
    "final accuracy of the nested sub-model of each keep ratio, one panel per profile and partition",
    ("levels",),
    draw,
    numbers,
)
