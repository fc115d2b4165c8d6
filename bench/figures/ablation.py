"""Final accuracy of a method under each of its settings, a row for each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.ablation import ablation, setting_of
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
    slug,
    spread,
)
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import KEEPS, PARTITIONS, joined, keep_title, limits
from bench.figures.panels import LEGEND_CHARACTER, finish, grid, label_edges
from bench.figures.points import bars_note, draw_seeds, in_percent, seeds_drawn
from bench.figures.style import DASHED, method_look

LABELS = 4  # of one method at one keep ratio, from which on its ablation is drawn unasked
NAME = 30  # characters in a line of a row's name
ROW = 0.26  # inches
RING: dict[str, Any] = {"marker": "o", "fillstyle": "none", "markersize": 5.5, "linestyle": "none"}
DOTTED = (0, (1, 1.5))
FULL_LINE: dict[str, Any] = {"color": method_look(FULL_MODEL)[0], "linestyle": DASHED, "linewidth": 1.2}


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task and method with several labels: panels by keep ratio and partition, a row a label."""
    return [
        (suffix, _figure(task, method, rows, options.last))
        for suffix, task, method, rows in _ablations(tables["rounds"], options.named)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the final and the oracle accuracy of each label, and its difference to the plain method, as fractions."""
    return [
        (suffix, ablation(final_accuracy(rows[rows["method"] == method], options.last)))
        for suffix, _, method, rows in _ablations(tables["rounds"], options.named)
    ]


def _ablations(rounds: pd.DataFrame, named: bool) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Return (suffix of the file name, task, method, rows of it and of the full model) where there is much to compare.

    A figure that was asked for by name needs two labels of a method, else it needs ``LABELS``.
    """
    least = 2 if named else LABELS
    found = []
    for suffix, task, rows in evaluated_tasks(rounds):
        for method in sorted(set(rows["method"].astype(str)) - {FULL_MODEL}):
            labels = rows[rows["method"] == method].groupby("keep")["label"].nunique()
            if labels.max() >= least:
                found.append(
                    (f"{suffix}-{slug(method)}", task, method, rows[rows["method"].isin([method, FULL_MODEL])])
                )
    if not found:
        raise Skip(f"no method has {least} labels at one keep ratio")
    return found


def _figure(task: str, method: str, rounds: pd.DataFrame, last: int) -> Figure:
    cells = final_accuracy(rounds, last)
    table = ablation(cells[cells["method"] == method])
    full = over_seeds(cells[cells["method"] == FULL_MODEL])
    labels = {keep: table.loc[table["keep"] == keep, "label"].unique().tolist() for keep in table["keep"].unique()}
    keeps = spread(sorted(keep for keep, of_keep in labels.items() if len(of_keep) > 1), KEEPS)
    partitions = spread(partitions_of(table), PARTITIONS)

    most = max(len(labels[keep]) for keep in keeps)
    figure, axes = grid(len(keeps), len(partitions), panel=(2.2, ROW * most + 0.6), share_y="row")
    for row, keep in enumerate(keeps):
        for panel, (partition, alpha) in zip(axes[row], partitions, strict=True):
            here = of_partition(table[table["keep"] == keep], partition, alpha)
            _panel(panel, here, of_partition(full, partition, alpha), labels[keep])
            panel.set_title(f"{keep_title(rounds, keep)}; {partition_title(partition, alpha)}")
    name_rows(figure, axes[:, 0], [[_row_name(label, method) for label in labels[keep]] for keep in keeps])
    label_edges(axes, "test accuracy (%)", "")

    chance = draw_chance(axes.flat, rounds, axis="x")
    note = f"Dot: mean of {evaluations(last, rounds)} on the whole test set."
    if (table["seeds"] > 1).any():
        note += " " + bars_note(table, "Bars: its 95 % t-interval over seeds, cut at the panel's edge")
    if table["diverged"].any():
        note += " A cross at the left: a run diverged and is not in the mean."
    shown = rounds[rounds["keep"].isin(keeps) | (rounds["method"] == FULL_MODEL)]
    entries = [*_entries(method, table, full), *chance.entries]
    return finish(figure, entries, {"rounds": shown}, f"Settings of {method}: {task}", joined(note, chance.note))


def name_rows(figure: Figure, left_panels: Iterable[Axes], names: Sequence[Sequence[str]]) -> None:
    """Write the names of the rows; the figure widens by the room they need, so that they do not narrow the panels."""
    for panel, of_panel in zip(left_panels, names, strict=True):
        panel.set_yticks([-position for position in range(len(of_panel))], of_panel)
        panel.set_ylim(0.6 - len(of_panel), 0.6)
    characters = max(len(line) for of_panel in names for name in of_panel for line in name.split("\n"))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + LEGEND_CHARACTER * characters, height)


def _row_name(label: str, method: str) -> str:
    """Return what tells a label from its method, in short lines; the method's name for the plain one."""
    setting, profile = setting_of(label, method)
    name = f"{setting or method}, keep {profile}" if profile else setting or method
    return textwrap.fill(name, NAME, break_on_hyphens=False)


def _panel(panel: Axes, table: pd.DataFrame, full: pd.DataFrame, labels: list[str]) -> None:
    columns = {"final": "mean", "final_low": "low", "final_high": "high"}
    rows = in_percent(table.rename(columns=columns)).assign(oracle=100 * table["oracle"])
    for row in rows.to_dict("records"):
        y, colour = -labels.index(row["label"]), method_look(row["method"])[0]
        panel.hlines(y, row["low"], row["high"], color=colour, linewidth=1.2, alpha=0.7)
        draw_seeds(panel, [y], pd.DataFrame([row]), colour, axis="x")
        panel.plot(row["mean"], y, "o", color=colour, markersize=5)
        panel.plot(row["oracle"], y, color=colour, **RING)
        if row["diverged"]:
            panel.plot(0.03, y, "x", color=colour, transform=panel.get_yaxis_transform())
        if not setting_of(row["label"], row["method"])[0]:
            panel.axvline(row["mean"], color=colour, linestyle=DOTTED, linewidth=1, zorder=1)
    references = [float(mean) for mean in 100 * full["mean"].dropna()]
    for mean in references:
        panel.axvline(mean, **FULL_LINE)
    points = pd.DataFrame({"mean": [*rows["oracle"], *references]})
    rings = points.assign(low=points["mean"], high=points["mean"])
    panel.set_xlim(limits(rows, rings, seeds_drawn(rows), bounds=(0.0, 100.0)))


def _entries(method: str, table: pd.DataFrame, full: pd.DataFrame) -> list[Line2D]:
    colour = method_look(method)[0]
    entries = [
        Line2D([], [], marker="o", linestyle="none", color=colour, label="final accuracy"),
        Line2D([], [], color=colour, label="best round, chosen on the test set", **RING),
    ]
    if not all(setting_of(label, method)[0] for label in table["label"]):
        entries.append(Line2D([], [], color=colour, linestyle=DOTTED, linewidth=1, label=method))
    entries += [
        Line2D([], [], label=f"{label}, full model", **FULL_LINE) for label in full["label"].astype(str).unique()
    ]
    return entries


SPEC = FigureSpec(
    "ablation",
    f"final accuracy of each setting of a method; unasked where it has {LABELS} settings or more",
    ("rounds",),
    draw,
    numbers,
)
