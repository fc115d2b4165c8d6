"""Final accuracy less the full model's or another method's of the same seed, a row for each label."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.adjusted import adjusted
from bench.analysis.gap import gap_to
from bench.analysis.profiles import profiles_of, split_rows
from bench.analysis.series import SERIES
from bench.analysis.tables import FULL_MODEL
from bench.figures.ablation import FULL_LINE, NAME, ROW, name_rows
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
    slug,
    spread,
)
from bench.figures.curve_panels import PARTITIONS, joined
from bench.figures.differences import RING, difference_limits, draw_difference, embolden
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid, label_edges, say_empty
from bench.figures.points import DIFFERENCES, bars_note, in_percent
from bench.figures.profile_words import panel_title
from bench.figures.style import counted, row_colour

LINE = 0.14  # inches of a row's name
WHOLE = ", full model"
GREY = "#555555"
BESIDE = 0.6  # inches of a panel beside its rows: title, ticks and label


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per keep ratio or profile, a column per partition."""
    return list(_figures(tables, options))


def _figures(tables: Tables, options: Options) -> Iterator[tuple[str, Figure]]:
    for suffix, task, rows, gaps in _tasks(tables, options):
        for part in _parts(gaps):
            yield f"{_suffix(suffix, options)}{part.suffix}", _figure(task, rows, gaps, part, options)


def _suffix(suffix: str, options: Options) -> str:
    """Return the suffix of a file, with the reference where it is not the full model."""
    return suffix if options.reference == FULL_MODEL else f"{suffix}-to-{slug(options.reference)}"


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the difference of each label with its interval, and the two accuracies, as fractions."""
    order = ["partition", "alpha", "keep", "mean"]
    return [
        (_suffix(suffix, options), gaps.sort_values(order, ascending=[True, True, False, False]))
        for suffix, _, _, gaps in _tasks(tables, options)
    ]


def _tasks(tables: Tables, options: Options) -> list[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    reference, last = options.reference, options.last
    tasks = [
        (suffix, task, rows, gap_to(rows, reference, last)) for suffix, task, rows in evaluated_tasks(tables["rounds"])
    ]
    found = [(suffix, task, rows, gaps) for suffix, task, rows, gaps in tasks if gaps["pairs"].any()]
    if not found:
        where = "" if reference == FULL_MODEL else ", keep ratio"
        raise Skip(
            f"no cell has a finished run of {reference!r}, without settings or with its own, beside it that has the "
            f"same data, partition{where} and seed"
        )
    return found


def _parts(gaps: pd.DataFrame) -> list[Page]:
    """Return the keep ratios or profiles of each file: as many as fit on a page."""
    points = _with_full_models_named(gaps.assign(label=split_rows(gaps)["base"]))
    everywhere = points["label"].str.endswith(WHOLE)
    groups = profiles_of(points[~everywhere]) or [("", 1.0)]
    least = [(points["profile"] == profile) & (points["keep"] == keep) | everywhere for profile, keep in groups]
    rows = [ROW * points[of_group]["label"].nunique() + BESIDE for of_group in least]
    return pages(groups, rows)


def _figure(task: str, rounds: pd.DataFrame, gaps: pd.DataFrame, part: Page, options: Options) -> Figure:
    reference, last = options.reference, options.last
    base = gaps.assign(label=split_rows(gaps)["base"])
    points = _with_full_models_named(base)
    everywhere = points["label"].str.endswith(WHOLE)
    all_partitions = partitions_of(points)
    groups, partitions = part.shown, spread(all_partitions, PARTITIONS)
    of_groups = [
        points[((points["profile"] == profile) & (points["keep"] == keep)) | everywhere] for profile, keep in groups
    ]
    shown = adjusted(pd.concat(of_groups).drop_duplicates([*SERIES, "profile"]))
    family = int(shown["family"].max())
    of_groups = [
        shown[((shown["profile"] == profile) & (shown["keep"] == keep)) | shown["label"].str.endswith(WHOLE)]
        for profile, keep in groups
    ]
    labels = [of_group.groupby("label")["mean"].mean().sort_values(ascending=False).index for of_group in of_groups]
    names = [[textwrap.fill(name, NAME, break_on_hyphens=False) for name in of_group] for of_group in labels]
    row = max(ROW, *(LINE * (1 + name.count("\n")) for of_group in names for name in of_group))
    heights = [row * len(of_group) + BESIDE for of_group in names]
    figure, axes = grid(
        len(groups), len(partitions), panel=(2.6, sum(heights) / len(heights)), share_y="row", heights=heights
    )
    for panels, (profile, keep), of_group, order in zip(axes, groups, of_groups, labels, strict=True):
        for panel, (partition, alpha) in zip(panels, partitions, strict=True):
            _panel(panel, of_partition(of_group, partition, alpha), list(order), _zero_line(reference))
            panel.set_title(_title(profile, keep, partition, alpha))
    name_rows(figure, axes[:, 0], names)
    embolden(axes[:, 0], [list(order) for order in labels])
    whose = "the full model's" if reference == FULL_MODEL else f"{reference}'s"
    label_edges(axes, f"test accuracy less {whose}\n(percentage points)", "")

    hidden = len(all_partitions) - len(partitions)
    note = joined(
        f"Mean of {evaluations(last, rounds)}, subtracted within each seed.",
        _bars_note(shown, family),
        *_notes(shown, reference),
        _without_reference(rounds, gaps, reference),
        f"Not shown: {counted(hidden, hidden, 'partition')}, see the numbers." if hidden else "",
        part.note,
    )
    line = f"{FULL_MODEL}, full model" if reference == FULL_MODEL else reference
    entries = [
        Line2D([], [], marker="o", linestyle="none", color=GREY, label="interval leaves zero out"),
        Line2D([], [], color=GREY, label="zero is within, or no interval", **RING),
        Line2D([], [], label=line, **_zero_line(reference)),
    ]
    title = "Distance to the full model" if reference == FULL_MODEL else f"Distance to {reference}"
    return finish(figure, entries, {"rounds": rounds}, f"{title}: {task}", note)


def _zero_line(reference: str) -> dict[str, Any]:
    return FULL_LINE if reference == FULL_MODEL else {**FULL_LINE, "color": GREY}


def _with_full_models_named(points: pd.DataFrame) -> pd.DataFrame:
    """Return ``points`` with :data:`WHOLE` behind the labels that train full models while others have keep ratios.

    They have no keep ratio to be compared at, and stand beside every one.
    """
    whole = points.groupby("label")["keep"].transform("min") == 1
    if whole.all():
        return points
    return points.assign(label=points["label"].where(~whole, points["label"] + WHOLE))


def _bars_note(points: pd.DataFrame, family: int) -> str:
    if (points["pairs"] < 2).all():
        return "One seed has no interval."
    if family == 1:
        return bars_note(points, "Bars: 95 % t-interval over seeds, cut at the panel's edge", DIFFERENCES)
    words = (
        f"Thin bars: 95 % t-intervals over seeds that hold together for all {family} comparisons shown (Bonferroni), "
        "and which decide what is filled; thick: each on its own; both cut at the panel's edge"
    )
    return bars_note(points, words, DIFFERENCES)


def _notes(points: pd.DataFrame, reference: str) -> list[str]:
    """Return what a reader has to know of the runs that were subtracted."""
    notes = []
    who = "the full model" if reference == FULL_MODEL else reference
    if points["against"].nunique() > 1:
        notes.append(f"Labels with settings are compared with {who} of the same settings, where there is one.")
    if points["diverged"].any():
        notes.append("A cross at the left: a run diverged and is in no difference.")
    gone = sorted(set(points.loc[points["pairs"] == 0, "label"]))
    if gone:
        notes.append(f"Without two finished runs of one seed: {'; '.join(gone)}.")
    if ((points["pairs"] > 0) & (points["pairs"] < points["cells"] - points["diverged"])).any():
        notes.append(f"Where {who} diverged or is missing at a seed, there are fewer pairs than seeds.")
    return notes


def _without_reference(rounds: pd.DataFrame, gaps: pd.DataFrame, reference: str) -> str:
    """Return the words for the partitions in which there is nothing to subtract."""
    compared = {partition_title(*pair) for pair in partitions_of(gaps)}
    missing = [title for title in (partition_title(*pair) for pair in partitions_of(rounds)) if title not in compared]
    who = "full model" if reference == FULL_MODEL else reference
    return f"No {who} beside: {'; '.join(missing)}." if missing else ""


def _title(profile: str, keep: float, partition: str, alpha: float) -> str:
    words = panel_title(profile, keep, partition, alpha)
    return words if profile else words.replace("keep ratios alike", f"keep {keep:g}", 1)


def _panel(panel: Axes, gaps: pd.DataFrame, labels: list[str], line: dict[str, Any]) -> None:
    panel.axvline(0, **line, zorder=1)
    if gaps.empty:
        say_empty(panel)
        return
    points = in_percent(gaps)
    for row in points.to_dict("records"):
        colour = row_colour(str(row["method"]), str(row["label"]).removesuffix(WHOLE), FULL_MODEL)
        draw_difference(panel, -labels.index(str(row["label"])), row, colour)
    panel.set_xlim(difference_limits(points))


SPEC = FigureSpec(
    "gap",
    "final accuracy less the full model's (or --reference) of the same seed, a panel per keep ratio and partition",
    ("rounds",),
    draw,
    numbers,
)
