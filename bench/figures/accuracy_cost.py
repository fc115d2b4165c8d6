"""Final accuracy against what the whole run cost: bytes, multiply-accumulates and seconds."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.costs import accuracy_and_cost
from bench.analysis.curves import COSTS, macs_column
from bench.analysis.profiles import profiles_of, with_profiles
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import (
    FigureSpec,
    Options,
    Tables,
    evaluated_tasks,
    evaluations,
    of_partition,
    partition_title,
    partitions_of,
    spread,
)
from bench.figures.chance import draw_chance
from bench.figures.cost_axis import axis_of, make_logarithmic
from bench.figures.curve_panels import joined
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid, method_entries
from bench.figures.points import draw_bar, draw_crosses, draw_seeds, fit_height, in_percent, points_note
from bench.figures.profile_words import panel_title
from bench.figures.style import SeriesStyle, series_styles

ROWS = 6  # of panels, above which all profiles of a partition share one
PANEL = 2.0  # inches, the height of a panel
SIZES = 4  # keep ratios in the legend
SMALL, LARGE = 2.6, 8.5  # points: the marker of a keep ratio near 0, and that of 1
FULL_SIZE = 7.0
TITLE = 100  # characters above a row of panels
MIXED = "mixed"  # stands for all profiles, where they share a row
Row = tuple[str, float, str, float]  # partition, alpha, profile or MIXED, mean keep ratio


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of three panels per partition and profile, a point per label and keep ratio."""
    tasks = [(suffix, task, rows, _points(rows, options.last)) for suffix, task, rows in _tasks(tables)]
    styles = series_styles(pd.concat([points[["method", "label"]] for *_, points in tasks]))
    return [
        (suffix + page.suffix, _figure(task, rows, points, styles, options.last, page))
        for suffix, task, rows, points in tasks
        for page in pages(_rows(points), PANEL)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return accuracy, costs and their shares of the full model's for each label, as fractions, bytes and seconds."""
    result = []
    for suffix, _, rows in _tasks(tables):
        table = _points(rows, options.last).rename(
            columns={"macs": macs_column(rows), "macs_share": f"{macs_column(rows)}_share"}
        )
        order = ["label", "keep", "profile", "partition", "alpha", "mean", "low", "high"]
        table = table[order + [name for name in table if name not in order]]
        result.append((suffix, table.sort_values(["partition", "alpha", "label", "profile", "keep"])))
    return result


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    return evaluated_tasks(tables["rounds"])


def _points(rounds: pd.DataFrame, last: int) -> pd.DataFrame:
    return with_profiles(accuracy_and_cost(rounds, last))


def _rows(points: pd.DataFrame) -> list[Row]:
    """Return what a row of panels each shows: clients that are alike, whatever their keep ratio, or one profile.

    All profiles share a row where there would be more than ``ROWS`` otherwise.
    """
    for together in (False, True):
        rows: list[Row] = []
        for partition, alpha in partitions_of(points):
            here = of_partition(points, partition, alpha)
            mixed = [(profile, keep) for profile, keep in profiles_of(here) if profile]
            alike = (here["method"] != FULL_MODEL) & (here["profile"] == "")
            groups = [("", 1.0)] if alike.any() or not mixed else []
            groups += [(MIXED, 1.0)] if together and mixed else mixed
            rows += [(partition, alpha, *group) for group in groups]
        if len(rows) <= ROWS:
            break
    return rows


def _of_row(points: pd.DataFrame, row: Row) -> pd.DataFrame:
    partition, alpha, profile, _ = row
    here = of_partition(points, partition, alpha)
    of_profile = here["profile"] != "" if profile == MIXED else here["profile"] == profile
    return here[of_profile | (here["method"] == FULL_MODEL)]


def _row_title(row: Row) -> str:
    partition, alpha, profile, keep = row
    if profile == MIXED:
        return f"clients of different capacity; {partition_title(partition, alpha)}"
    return panel_title(profile, keep, partition, alpha, TITLE)


def _figure(
    task: str, rounds: pd.DataFrame, points: pd.DataFrame, styles: dict[str, SeriesStyle], last: int, page: Page
) -> Figure:
    rows: list[Row] = page.shown
    figure, axes = grid(len(rows), len(COSTS), panel=(2.4, PANEL), share_y="row")
    labels = []
    for panels, row in zip(axes, rows, strict=True):
        here = _of_row(points, row)
        panels[len(COSTS) // 2].set_title(_row_title(row))
        for panel, cost in zip(panels, COSTS, strict=True):
            divisor, label = axis_of(cost, points[cost].max(), macs_column(rounds))
            _panel(panel, in_percent(here).assign(x=here[cost] / divisor), styles)
            labels.append(label)
    for panel, label in zip(axes[-1], labels, strict=False):
        panel.set_xlabel(label)
    for panel in axes[:, 0]:
        panel.set_ylabel("test accuracy (%)")

    of_figure = pd.concat([_of_row(points, row) for row in rows])
    mixed_too = any(profile == MIXED for _, _, profile, _ in rows)
    sized = (of_figure["method"] != FULL_MODEL) & (mixed_too | (of_figure["profile"] == ""))
    keeps = sorted(of_figure.loc[sized, "keep"].unique())
    chance = draw_chance(axes.flat, rounds)
    note = joined(
        points_note(of_figure[of_figure["mean"].notna()], evaluations(last, rounds)).replace("Bars and band", "Bars"),
        "Cost: of the whole run, all clients of all rounds, on logarithmic axes.",
        "Lines join keep ratios." if len(keeps) > 1 else "",
        "Clients of different capacity stand for their mean." if mixed_too else "",
        _unfinished(of_figure),
        chance.note,
        page.note,
    )
    entries = _entries(of_figure, styles) + (_size_entries(spread(keeps, SIZES)) if len(keeps) > 1 else [])
    entries += chance.entries
    return finish(figure, entries, {"rounds": rounds}, f"Final accuracy against the cost of training: {task}", note)


def _panel(panel: Axes, percent: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    """Draw one panel; ``x`` is the cost."""
    percent = percent[percent["mean"].notna() & (percent["x"] > 0)]
    crosses = 0
    for label in [label for label in styles if (percent["label"] == label).any()]:
        series, style = percent[percent["label"] == label].sort_values("keep"), styles[label]
        is_full = (series["method"] == FULL_MODEL).all()
        look = {"zorder": 4 if is_full else 3} | style.plot_options() | {"linestyle": "none"}
        panel.plot(series["x"], series["mean"], color=style.colour, linestyle=style.line, linewidth=0.6, alpha=0.8)
        draw_bar(panel, series["x"], series, style.colour)
        draw_seeds(panel, series["x"], series, style.colour)
        for x, mean, keep in zip(series["x"], series["mean"], series["keep"], strict=True):
            panel.plot(x, mean, **look, markersize=FULL_SIZE if is_full else size_of(keep))
        crossed = series.loc[series["diverged"] > 0, "x"]
        if len(crossed):
            crosses += 1
            draw_crosses(panel, crossed, style, crosses)
    if len(percent):
        make_logarithmic(panel, percent["x"].min(), percent["x"].max())
    fit_height(panel, percent, crosses)


def size_of(keep: float) -> float:
    """Return the size of the marker of a keep ratio, in points."""
    return SMALL + (LARGE - SMALL) * keep


def _entries(points: pd.DataFrame, styles: dict[str, SeriesStyle]) -> list[Line2D]:
    """Return the legend entries of the labels: their markers, the full model's too."""
    full = set(points.loc[points["method"] == FULL_MODEL, "label"])
    entries = [entry for entry in method_entries(points, styles) if entry.get_label() in styles]
    for label in (label for label in styles if label in full):
        look = styles[label].plot_options() | {"linestyle": "none", "markersize": FULL_SIZE}
        entries.append(Line2D([], [], label=f"{label}, full model", **look))
    return [entry for entry in entries if entry.get_label() not in full]


def _size_entries(keeps: list[float]) -> list[Line2D]:
    look: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": "#777777"}
    return [Line2D([], [], label=f"keep {keep:.3g}", markersize=size_of(keep), **look) for keep in keeps]


def _unfinished(points: pd.DataFrame) -> str:
    """Return the words for the labels without a point, since no run of theirs finished."""
    gone = points[points["mean"].isna()].drop_duplicates(["label", "profile", "keep"])
    names = sorted(
        {f"{label}, keep {profile or f'{keep:g}'}" for label, profile, keep in zip(*_columns(gone), strict=True)}
    )
    return f"No run finished: {'; '.join(names)}." if names else ""


def _columns(points: pd.DataFrame) -> list[list[Any]]:
    return [points[name].tolist() for name in ("label", "profile", "keep")]


SPEC = FigureSpec(
    "accuracy-cost",
    "final accuracy against bytes, MACs and seconds of the whole run, one row per partition and profile",
    ("rounds",),
    draw,
    numbers,
)
