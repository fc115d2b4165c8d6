"""Final accuracy against what a client may take: a panel per quantity and partition, a line per method."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.budgets import heading, is_plain, limits_of, order_of
from bench.analysis.profiles import with_profiles
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
    spread,
)
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import joined
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid, method_entries
from bench.figures.points import FOOT, draw_crosses, draw_full_models, draw_points, fit_height, in_percent, points_note
from bench.figures.style import SeriesStyle, counted, series_styles

PANEL = 2.1  # inches, the height of a panel
COLUMNS = 3  # partitions, at most
DODGE, DODGES = 0.06, 0.5  # of the room of a budget: between neighbouring series, and between the first and the last
FAR, LEAST_FAR = 3.0, 10.0  # times the range of the middle half of the means, and points, below which one is far off
NAMES = {
    "memory": "memory of a local step",
    "parameters": "parameters held",
    "bytes": "bytes down and up",
    "macs": "multiply-accumulates of a sample",
}


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per quantity, a column per partition."""
    tasks = _tasks(tables, options)
    styles = series_styles(pd.concat([points[["method", "label"]] for *_, points in tasks]))
    return [
        (suffix + page.suffix, _figure(task, rows, points, styles, options.last, page))
        for suffix, task, rows, points in tasks
        for page in pages(_quantities(points), PANEL)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the accuracy of each label at each budget, as fractions."""
    order = ["label", "profile", "partition", "alpha", "mean", "low", "high", "std", "seeds", "diverged"]
    sort = ["partition", "alpha", "of", "keep", "label"]
    return [
        (suffix, points.sort_values(sort)[["task", *order]].rename(columns={"profile": "budget"}))
        for suffix, _, _, points in _tasks(tables, options)
    ]


def _tasks(tables: Tables, options: Options) -> list[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Return (suffix of the file name, task, rows, points) for each task with clients at one budget.

    The column ``of`` of the points is the quantity that is limited, with the unit of its amounts, empty for the full
    model; budgets of several quantities, or of clients that differ, are profiles and stand in the figure of these.
    """
    found = []
    for suffix, task, rows in evaluated_tasks(tables["rounds"]):
        points = with_profiles(over_seeds(final_accuracy(rows, options.last)))
        points["of"] = [_quantity(profile) for profile in points["profile"]]
        points = points[(points["of"] != "") | (points["method"] == FULL_MODEL)]
        if (points["of"] != "").any():
            pairs = points[["label", "profile"]].itertuples(index=False, name=None)
            shown = {f"{label}, {heading(profile)}" if profile else label for label, profile in pairs}
            found.append((suffix, task, rows[rows["label"].astype(str).isin(shown)], points.reset_index(drop=True)))
    if not found:
        raise Skip("no cell has a budget of one quantity, the same for all clients")
    return found


def _quantities(points: pd.DataFrame) -> list[str]:
    """Return what is limited, in the order of :data:`NAMES`."""
    names = list(NAMES)
    return sorted(set(points["of"]) - {""}, key=lambda of: (names.index(of.partition(" ")[0]), of))


def _quantity(profile: str) -> str:
    if not is_plain(profile):
        return ""
    quantity, _, unit = limits_of(profile)[0]
    return f"{quantity} {unit}".strip()


def _figure(
    task: str, rounds: pd.DataFrame, points: pd.DataFrame, styles: dict[str, SeriesStyle], last: int, page: Page
) -> Figure:
    quantities: list[str] = page.shown
    all_partitions = partitions_of(points)
    partitions = spread(all_partitions, COLUMNS)
    figure, axes = grid(len(quantities), len(partitions), panel=(2.9, PANEL), share_y="row")
    any_far = False
    for panels, of in zip(axes, quantities, strict=True):
        for panel, (partition, alpha) in zip(panels, partitions, strict=True):
            here = of_partition(points, partition, alpha)
            any_far |= _panel(panel, here[(here["of"] == of) | (here["method"] == FULL_MODEL)], styles)
            panel.set_title(partition_title(partition, alpha))
            panel.set_xlabel(_axis(of))
        panels[0].set_ylabel("test accuracy (%)")
    chance = draw_chance(axes.flat, rounds)
    hidden = len(all_partitions) - len(partitions)
    note = joined(
        points_note(points, evaluations(last, rounds)),
        "Each method has the largest sub-model that fits; where it has no point, none does (see the figure fits) or it "
        "was not run.",
        "At the foot, with their accuracy: methods that are far below the others." if any_far else "",
        f"Not shown: {counted(hidden, hidden, 'partition')}, see the numbers." if hidden else "",
        chance.note,
        page.note,
    )
    entries = [*method_entries(points, styles), *chance.entries]
    return finish(figure, entries, {"rounds": rounds}, f"Final accuracy at equal budgets: {task}", note)


def _axis(of: str) -> str:
    quantity, _, unit = of.partition(" ")
    return f"{NAMES[quantity]} ({unit or '% of the full model'})"


def _panel(panel: Axes, points: pd.DataFrame, styles: dict[str, SeriesStyle]) -> bool:
    """Draw a panel and return whether some methods are too far below the others to be drawn in their place."""
    percent = in_percent(points)
    full = percent["method"] == FULL_MODEL
    far = ~full & (percent["mean"] < _least_near(percent["mean"]))
    rows_at_foot = int(far.any())
    budgets = sorted(set(percent.loc[~full, "profile"]), key=order_of)
    place = {budget: number for number, budget in enumerate(budgets)}
    labels = [label for label in styles if (percent.loc[~full, "label"] == label).any()]
    dodge = min(DODGE, DODGES / max(len(labels) - 1, 1))
    for position, label in enumerate(labels):
        series = percent[percent["label"] == label]
        series = series.assign(place=series["profile"].map(place), far=far).sort_values("place")
        x = series["place"] + (position - (len(labels) - 1) / 2) * dodge
        draw_points(panel, x[~series["far"]], series[~series["far"]], styles[label])
        for at, mean in zip(x[series["far"]], series.loc[series["far"], "mean"], strict=True):
            _draw_far(panel, at, mean, styles[label])
        crossed = x[series["diverged"] > 0]
        if len(crossed):
            rows_at_foot += 1
            draw_crosses(panel, crossed, styles[label], rows_at_foot)
    draw_full_models(panel, percent[full], styles)
    panel.set_xticks(range(len(budgets)), [_written(budget) for budget in budgets])
    panel.set_xlim(-0.6, max(len(budgets), 1) - 0.4)
    panel.grid(visible=False, axis="x")
    fit_height(panel, percent[~far], rows_at_foot)
    return bool(far.any())


def _least_near(means: pd.Series[float]) -> float:
    """Return the accuracy below which a method would squeeze all others together: far outside of their middle half."""
    low, high = means.quantile([0.25, 0.75])
    return float(low - max(FAR * (high - low), LEAST_FAR))


def _draw_far(panel: Axes, x: float, mean: float, style: SeriesStyle) -> None:
    foot = panel.get_xaxis_transform()
    panel.plot([x], [FOOT], linestyle="none", marker=style.marker, color=style.colour, transform=foot, zorder=4)
    panel.annotate(
        f"{mean:.0f}", (x, FOOT), (4, 0), xycoords=foot, textcoords="offset points", va="center", fontsize=6.5
    )


def _written(budget: str) -> str:
    _, amount, unit = limits_of(budget)[0]
    return f"{amount:g}" if unit else f"{100 * amount:g}"


SPEC = FigureSpec(
    "accuracy-budget",
    "final accuracy against what a client may take: memory, parameters, bytes or operations",
    ("rounds",),
    draw,
    numbers,
)
