"""Final accuracy less the full model's of the same seed, a row for each label."""

from __future__ import annotations

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.gap import gap_to_full
from bench.analysis.profiles import profiles_of, with_profiles
from bench.analysis.tables import FULL_MODEL
from bench.figures.ablation import FULL_LINE, NAME, RING, ROW, name_rows
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
from bench.figures.curve_panels import PARTITIONS, joined, limits
from bench.figures.panels import finish, grid, label_edges, say_empty
from bench.figures.points import BARS, bars_note, draw_seeds, in_percent, seeds_drawn
from bench.figures.profile_words import panel_title
from bench.figures.style import counted, method_look

ROWS = 4  # of panels, in one figure
LINE = 0.14  # inches of a row's name
WHOLE = ", full model"
GREY = "#555555"


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per keep ratio or profile, a column per partition."""
    return [
        (suffix, _figure(task, rows, gaps, options.last)) for suffix, task, rows, gaps in _tasks(tables, options.last)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the difference of each label with its interval, and the two accuracies, as fractions."""
    order = ["partition", "alpha", "keep", "mean"]
    return [
        (suffix, gaps.sort_values(order, ascending=[True, True, False, False]))
        for suffix, _, _, gaps in _tasks(tables, options.last)
    ]


def _tasks(tables: Tables, last: int) -> list[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    tasks = [(suffix, task, rows, gap_to_full(rows, last)) for suffix, task, rows in evaluated_tasks(tables["rounds"])]
    found = [(suffix, task, rows, gaps) for suffix, task, rows, gaps in tasks if gaps["pairs"].any()]
    if not found:
        raise Skip(
            f"no cell has a finished run of {FULL_MODEL!r}, without settings or with its own, beside it that has the "
            "same data, partition and seed"
        )
    return found


def _figure(task: str, rounds: pd.DataFrame, gaps: pd.DataFrame, last: int) -> Figure:
    points = _with_full_models_named(with_profiles(gaps))
    everywhere = points["label"].str.endswith(WHOLE)
    all_groups, all_partitions = profiles_of(points[~everywhere]) or [("", 1.0)], partitions_of(points)
    groups, partitions = spread(all_groups, ROWS), spread(all_partitions, PARTITIONS)
    of_groups = [
        points[((points["profile"] == profile) & (points["keep"] == keep)) | everywhere] for profile, keep in groups
    ]
    labels = [of_group.groupby("label")["mean"].mean().sort_values(ascending=False).index for of_group in of_groups]
    names = [[textwrap.fill(name, NAME, break_on_hyphens=False) for name in of_group] for of_group in labels]
    row = max(ROW, *(LINE * (1 + name.count("\n")) for of_group in names for name in of_group))
    height = row * max(len(of_group) for of_group in names) + 0.6
    figure, axes = grid(len(groups), len(partitions), panel=(2.6, height), share_y="row")
    for panels, group, of_group, order in zip(axes, groups, of_groups, labels, strict=True):
        for panel, (partition, alpha) in zip(panels, partitions, strict=True):
            _panel(panel, of_partition(of_group, partition, alpha), list(order))
            panel.set_title(_title(*group, partition, alpha))
    name_rows(figure, axes[:, 0], names)
    label_edges(axes, "test accuracy less the full model's\n(percentage points)", "")

    row_noun = "profile" if any(profile for profile, _ in all_groups) else "keep ratio"
    hidden = {row_noun: len(all_groups) - len(groups), "partition": len(all_partitions) - len(partitions)}
    words = ", ".join(counted(number, number, noun) for noun, number in hidden.items() if number)
    note = joined(
        f"Mean of {evaluations(last, rounds)}, subtracted within each seed.",
        _bars_note(points),
        *_notes(pd.concat(of_groups)),
        _without_full_model(rounds, gaps),
        f"Not shown: {words}, see the numbers." if words else "",
    )
    entries = [
        Line2D([], [], marker="o", linestyle="none", color=GREY, label="interval leaves zero out"),
        Line2D([], [], color=GREY, label="zero is within, or no interval", **RING),
        Line2D([], [], label=f"{FULL_MODEL}, full model", **FULL_LINE),
    ]
    return finish(figure, entries, {"rounds": rounds}, f"Distance to the full model: {task}", note)


def _with_full_models_named(points: pd.DataFrame) -> pd.DataFrame:
    """Return ``points`` with :data:`WHOLE` behind the labels that train full models while others have keep ratios.

    They have no keep ratio to be compared at, and stand beside every one.
    """
    whole = points.groupby("label")["keep"].transform("min") == 1
    if whole.all():
        return points
    return points.assign(label=points["label"].where(~whole, points["label"] + WHOLE))


def _bars_note(points: pd.DataFrame) -> str:
    if (points["pairs"] < 2).all():
        return "One seed has no interval."
    bars = bars_note(points, "Bars: 95 % t-interval over seeds, cut at the panel's edge")
    return f"{bars} Each comparison stands on its own."


def _notes(points: pd.DataFrame) -> list[str]:
    """Return what a reader has to know of the runs that were subtracted."""
    notes = []
    if points["against"].nunique() > 1:
        notes.append("Labels with settings are compared with the full model of the same settings, where there is one.")
    if points["diverged"].any():
        notes.append("A cross at the left: a run diverged and is in no difference.")
    gone = sorted(set(points.loc[points["pairs"] == 0, "label"]))
    if gone:
        notes.append(f"Without two finished runs of one seed: {'; '.join(gone)}.")
    if ((points["pairs"] > 0) & (points["pairs"] < points["cells"] - points["diverged"])).any():
        notes.append("Where the full model diverged or is missing at a seed, there are fewer pairs than seeds.")
    return notes


def _without_full_model(rounds: pd.DataFrame, gaps: pd.DataFrame) -> str:
    """Return the words for the partitions in which there is nothing to subtract."""
    compared = {partition_title(*pair) for pair in partitions_of(gaps)}
    missing = [title for title in (partition_title(*pair) for pair in partitions_of(rounds)) if title not in compared]
    return f"No full model beside: {'; '.join(missing)}." if missing else ""


def _title(profile: str, keep: float, partition: str, alpha: float) -> str:
    words = panel_title(profile, keep, partition, alpha)
    return words if profile else words.replace("keep ratios alike", f"keep {keep:g}", 1)


def _panel(panel: Axes, gaps: pd.DataFrame, labels: list[str]) -> None:
    panel.axvline(0, **FULL_LINE, zorder=1)
    if gaps.empty:
        say_empty(panel)
        return
    points = in_percent(gaps)
    for row in points.to_dict("records"):
        y, colour = -labels.index(str(row["label"])), method_look(str(row["method"]))[0]
        panel.hlines(y, row["low"], row["high"], color=colour, **BARS)
        draw_seeds(panel, [y], pd.DataFrame([row]), colour, axis="x")
        look = {"marker": "o", "markersize": 5} if row["low"] > 0 or row["high"] < 0 else RING
        if row["pairs"]:
            panel.plot(row["mean"], y, color=colour, **look)
        if row["diverged"]:
            panel.plot(0.03, y, "x", color=colour, transform=panel.get_yaxis_transform())
    zero = pd.DataFrame({"mean": [0.0], "low": [0.0], "high": [0.0]})
    panel.set_xlim(limits(points, zero, seeds_drawn(points), bounds=(-100.0, 100.0)))


SPEC = FigureSpec(
    "gap",
    "final accuracy less the full model's of the same seed, one panel per keep ratio or profile and partition",
    ("rounds",),
    draw,
    numbers,
)
