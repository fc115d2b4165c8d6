"""Final accuracy where clients differ in capacity: a place on the horizontal axis per profile."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.budgets import is_plain
from bench.analysis.profiles import by_profile, mixed_series, profiles_of, split_rows, with_profiles
from bench.analysis.settings import DEALT
from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import (
    FigureSpec,
    Options,
    Skip,
    Tables,
    evaluated_tasks,
    evaluations,
    of_partition,
    partition_title,
    partitions_of,
)
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import joined
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid, label_edges, method_entries, without_lines
from bench.figures.points import draw_crosses, draw_full_models, draw_points, fit_height, in_percent, points_note
from bench.figures.profile_words import DYNAMIC, shares
from bench.figures.style import SeriesStyle, series_styles

PLACE = 0.72  # inches for a profile
DODGE = 0.1  # of a profile's room between neighbouring series,
DODGES = 0.6  # and at most between the first and the last
WIDTH = 9.0  # inches, at most, of panels side by side
LINE = 0.13  # inches for a line of the words below a place, after the first


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a panel per partition, points of each label, the full model as the reference line."""
    tasks = _tasks(tables, options)
    styles = series_styles(pd.concat([points[["method", "label"]] for *_, points in tasks]))
    figures = []
    for suffix, task, rows, points in tasks:
        for page in _pages(points):
            figures.append((suffix + page.suffix, _figure(task, rows, points, styles, options.last, page)))
    return figures


def _shape(points: pd.DataFrame) -> tuple[float, float, int]:
    """Return the width and height of a panel in inches, and how many stand beside one another."""
    profiles, partitions = profiles_of(points), partitions_of(points)
    width = max(3.2, PLACE * len(profiles) + 0.5)
    lines = max(len(shares(*profile)) for profile in profiles)
    return width, 1.9 + LINE * (lines - 1), max(1, min(len(partitions), int(WIDTH / width)))


def _pages(points: pd.DataFrame) -> list[Page]:
    """Return the partitions of each file, in rows of panels."""
    partitions, (_, height, columns) = partitions_of(points), _shape(points)
    return pages([partitions[first : first + columns] for first in range(0, len(partitions), columns)], height)


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return a table with a row per label and a column per profile, and one with the intervals, as fractions."""
    result = []
    for suffix, _, _, points in _tasks(tables, options):
        order = ["label", "profile", "keep", "partition", "alpha", "mean", "low", "high", "std", "seeds", "diverged"]
        result += [(suffix, by_profile(points)), (f"{suffix}-intervals", points[["task", *order]])]
    return result


def _tasks(tables: Tables, options: Options) -> list[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Return (suffix of the file name, task, rows, points) for each task with clients of different capacity."""
    tasks = []
    for suffix, task, rows in evaluated_tasks(tables["rounds"]):
        split = split_rows(rows)
        own = ~split["profile"].map(is_plain)  # those have a figure of their own: accuracy-budget
        if (split.loc[own, "profile"] != "").any():
            points = mixed_series(with_profiles(over_seeds(final_accuracy(rows[own], options.last))))
            tasks.append((suffix, task, rows[own & split["base"].isin(points["label"])], points))
    if not tasks:
        raise Skip("no cell has clients of different capacity")
    return tasks


def _figure(
    task: str, rounds: pd.DataFrame, points: pd.DataFrame, styles: dict[str, SeriesStyle], last: int, page: Page
) -> Figure:
    profiles, partitions = profiles_of(points), [place for row in page.shown for place in row]
    words = ["\n".join(shares(*profile)) for profile in profiles]
    width, height, columns = _shape(points)
    figure, axes = grid(math.ceil(len(partitions) / columns), columns, panel=(width, height))
    for panel, (partition, alpha) in zip(axes.flat, partitions, strict=False):
        _panel(panel, of_partition(points, partition, alpha), profiles, styles)
        panel.set_xticks(range(len(profiles)), words, fontsize=7)
        panel.set_xlim(-0.55, len(profiles) - 0.45)
        panel.grid(visible=False, axis="x")
        panel.set_title(partition_title(partition, alpha))
    for panel in axes.flat[len(partitions) :]:
        panel.set_axis_off()
    label_edges(axes, "share of the clients, and their keep ratio", "test accuracy (%)")

    chance = draw_chance(axes.flat, rounds)
    note = points_note(points, evaluations(last, rounds))
    note += " Profiles stand in the order of their mean keep ratio, the largest first."
    if any(profile.endswith(DYNAMIC) for profile, _ in profiles):
        note += " Dynamic: every client draws its keep ratio anew in each round, by these shares."
    if any(profile.endswith(DEALT) for profile, _ in profiles):
        note += " Dealt: in each round the keep ratios of its clients are shuffled among them."
    title = f"Final accuracy of clients of different capacity: {task}"
    entries = [*without_lines(method_entries(points, styles), points), *chance.entries]
    return finish(figure, entries, {"rounds": rounds}, title, joined(note, chance.note, page.note))


def _panel(
    panel: Axes, points: pd.DataFrame, profiles: list[tuple[str, float]], styles: dict[str, SeriesStyle]
) -> None:
    percent = in_percent(points)
    full = percent["method"] == FULL_MODEL
    places = {pair: place for place, pair in enumerate(profiles)}
    labels = [label for label in styles if (percent.loc[~full, "label"] == label).any()]
    dodge = min(DODGE, DODGES / max(len(labels) - 1, 1))
    crosses = 0
    for position, label in enumerate(labels):
        series = percent[percent["label"] == label]
        place = [places[pair] for pair in zip(series["profile"], series["keep"], strict=True)]
        series = series.assign(place=place).sort_values("place")
        x = series["place"] + (position - (len(labels) - 1) / 2) * dodge
        draw_points(panel, x, series, styles[label], joined=False)
        crossed = x[series["diverged"] > 0]
        if len(crossed):
            crosses += 1
            draw_crosses(panel, crossed, styles[label], crosses)
    draw_full_models(panel, percent[full], styles)
    fit_height(panel, percent, crosses)


SPEC = FigureSpec(
    "profiles",
    "final accuracy of clients of different capacity, one place per profile of keep ratios",
    ("rounds",),
    draw,
    numbers,
)
