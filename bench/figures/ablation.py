"""Final accuracy of a method under each of its settings, a row for each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.ablation import DIFFERENCES, ablation, setting_of
from bench.analysis.adjusted import adjusted
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
)
from bench.figures.chance import draw_chance
from bench.figures.curve_panels import joined, keep_title, limits
from bench.figures.differences import RING, draw_difference
from bench.figures.paging import Page, pages
from bench.figures.panels import LEGEND_CHARACTER, finish, grid, label_edges
from bench.figures.points import bars_note, draw_bar, draw_seeds, in_percent, seeds_drawn
from bench.figures.style import DASHED, method_look, row_colour

LABELS = 4  # of one method at one keep ratio, from which on its ablation is drawn unasked
NAME = 30  # characters in a line of a row's name
ROW = 0.26  # inches
BESIDE = 0.6  # inches of a panel beside its rows: title, ticks and label
GREY = "#555555"
OF_DIFFERENCE = {name: name.removeprefix("difference_") for name in DIFFERENCES[1:]} | {"difference": "mean"}
OF_FINAL = {"final": "mean", "final_low": "low", "final_high": "high"}
DOTTED = (0, (1, 1.5))
FULL_LINE: dict[str, Any] = {"color": method_look(FULL_MODEL)[0], "linestyle": DASHED, "linewidth": 1.2}


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task, method with several labels and page: a row of panels per keep ratio and partition."""
    figures = []
    for suffix, task, method, rows in _ablations(tables["rounds"], options.named):
        cells = final_accuracy(rows, options.last)
        table = ablation(cells[cells["method"] == method])
        for page in _pages(table):
            figures.append((suffix + page.suffix, _figure(task, method, rows, table, page, options.last)))
    return figures


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


def _pages(table: pd.DataFrame) -> list[Page]:
    """Return the (keep ratio, partition, alpha) of the rows of panels of each file, which have several labels each."""
    labels = {float(keep): of_keep["label"].nunique() for keep, of_keep in table.groupby("keep")}  # type: ignore[arg-type]
    keeps = sorted(keep for keep, number in labels.items() if number > 1)
    rows = [
        (keep, partition, alpha)
        for keep in keeps
        for partition, alpha in partitions_of(table)
        if len(of_partition(table[table["keep"] == keep], partition, alpha))
    ]
    return pages(rows, [ROW * labels[keep] + BESIDE for keep, _, _ in rows])


def _figure(task: str, method: str, rounds: pd.DataFrame, table: pd.DataFrame, page: Page, last: int) -> Figure:
    cells = final_accuracy(rounds, last)
    full = over_seeds(cells[cells["method"] == FULL_MODEL])
    parts = [of_partition(table[table["keep"] == keep], *place) for keep, *place in page.shown]
    judged = adjusted(pd.concat(parts).drop(columns="by_seed").rename(columns=OF_DIFFERENCE))
    differences = [in_percent(judged.loc[part.index]) for part in parts]
    labels = [part["label"].tolist() for part in parts]
    heights = [ROW * len(of_part) + BESIDE for of_part in labels]
    plain = any(not setting_of(label, method)[0] for of_part in labels for label in of_part)
    figure, axes = grid(len(parts), 2 if plain else 1, (2.3, heights[0]), share_y="row", heights=heights)
    for panels, part, of_difference, (keep, partition, alpha) in zip(axes, parts, differences, page.shown, strict=True):
        place = f"{keep_title(rounds, keep)}; {partition_title(partition, alpha)}"
        _panel(panels[0], part, of_partition(full, partition, alpha), part["label"].tolist())
        panels[0].set_title(place)
        if plain:
            _difference_panel(panels[1], of_difference, part["label"].tolist())
            panels[1].set_title(f"less {method}, by seed")
    name_rows(figure, axes[:, 0], [[_row_name(label, method) for label in of_part] for of_part in labels])
    label_edges(axes, "test accuracy (%)", "")
    if plain:
        axes[-1, 1].set_xlabel("difference (points)")

    chance = draw_chance(axes[:, 0], rounds, axis="x")
    shown = rounds[rounds["keep"].isin({keep for keep, *_ in page.shown}) | (rounds["method"] == FULL_MODEL)]
    entries = [*_entries(method, table, full), *chance.entries]
    note = joined(_note(table, judged, rounds, last, plain), chance.note, page.note)
    return finish(figure, entries, {"rounds": shown}, f"Settings of {method}: {task}", note)


def _note(table: pd.DataFrame, judged: pd.DataFrame, rounds: pd.DataFrame, last: int, plain: bool) -> str:
    notes = [f"Dot: mean of {evaluations(last, rounds)} on the whole test set."]
    if (table["seeds"] > 1).any():
        notes.append(bars_note(table.rename(columns=OF_FINAL), "Bars: its 95 % t-interval over seeds"))
    family = int(judged["family"].max())
    if plain and family:
        words = "Right: the difference to the plain method within each seed, by which a setting is judged"
        if family > 1:
            words += (
                f"; thin bars hold together for all {family} differences shown (Bonferroni, cut at the panel's edge), "
                "thick ones each on its own, and a filled dot is one whose thin bar leaves zero out"
            )
        notes.append(f"{words}.")
    if table["diverged"].any():
        notes.append("A cross at the left: a run diverged and is not in the mean.")
    return joined(*notes)


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
    rows = in_percent(table.rename(columns=OF_FINAL)).assign(oracle=100 * table["oracle"])
    for row in rows.to_dict("records"):
        y, colour = -labels.index(row["label"]), row_colour(row["method"], row["label"], FULL_MODEL)
        draw_bar(panel, [y], pd.DataFrame([row]), colour, axis="x", linewidth=1.2, alpha=0.7)
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
    ends = [*rows["oracle"], *references, *rows["low"], *rows["high"], *seeds_drawn(rows)["mean"]]
    whole = pd.DataFrame(dict.fromkeys(("mean", "low", "high"), pd.Series(ends, dtype=float).dropna()))
    panel.set_xlim(limits(rows, whole, bounds=(0.0, 100.0)))


def _difference_panel(panel: Axes, differences: pd.DataFrame, labels: list[str]) -> None:
    """Draw the differences to the plain method; the axis holds the interval of each, not those of all together."""
    panel.axvline(0, color=GREY, linestyle=DOTTED, linewidth=1, zorder=1)
    compared = differences[differences["pairs"] > 0]
    for row in compared.to_dict("records"):
        colour = row_colour(row["method"], row["label"], FULL_MODEL)
        draw_difference(panel, -labels.index(row["label"]), row | {"diverged": 0}, colour)
    ends = [0.0, *compared["low"], *compared["high"], *seeds_drawn(compared)["mean"]]
    whole = pd.DataFrame(dict.fromkeys(("mean", "low", "high"), pd.Series(ends, dtype=float).dropna()))
    panel.set_xlim(limits(whole, bounds=(-100.0, 100.0)))


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
