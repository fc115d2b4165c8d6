"""Final accuracy of the clients' own models, beside that of the server's model."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.personal import personal_accuracy
from bench.analysis.tables import FULL_MODEL
from bench.figures.ablation import ROW, name_rows
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
from bench.figures.curve_panels import PARTITIONS, joined, limits
from bench.figures.differences import RING
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid, label_edges
from bench.figures.points import bars_note, draw_bar, draw_seeds, in_percent, seeds_drawn
from bench.figures.style import counted, row_colour, series_styles

GREY = "#555555"
Row = tuple[str, float]  # label, keep ratio


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a panel per partition, a row per label and keep ratio that has personal models."""
    figures = []
    for suffix, task, rows in _tasks(tables):
        table = personal_accuracy(rows, options.last)
        for page in pages(_rows(table), ROW):
            figures.append((suffix + page.suffix, _figure(task, rows, table, options.last, page)))
    return figures


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the accuracy of own models and of the server's, and what the former gain, as fractions."""
    return [(suffix, personal_accuracy(rows, options.last)) for suffix, _, rows in _tasks(tables)]


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    rounds = tables["rounds"]
    if "personal_acc" in rounds:
        measured = rounds["personal_acc"].notna() & (rounds["round"] > 0)
        labels = set(rounds.loc[measured, "label"].astype(str))
        rows = rounds[rounds["label"].astype(str).isin(labels)]
        if labels:
            return evaluated_tasks(rows)
    raise Skip("no cell has models that clients keep for themselves")


def _rows(table: pd.DataFrame) -> list[Row]:
    order = list(series_styles(table))
    return sorted(
        {(str(label), float(keep)) for label, keep in zip(table["label"], table["keep"], strict=True)},
        key=lambda row: (order.index(row[0]), row[1]),
    )


def _figure(task: str, rounds: pd.DataFrame, table: pd.DataFrame, last: int, page: Page) -> Figure:
    rows: list[Row] = page.shown
    of_page = [pair in rows for pair in zip(table["label"].astype(str), table["keep"].astype(float), strict=True)]
    table = table[of_page]
    all_partitions = partitions_of(table)
    partitions = spread(all_partitions, PARTITIONS)
    figure, axes = grid(1, len(partitions), panel=(2.3, ROW * len(rows) + 0.6), share_y="row")
    for panel, (partition, alpha) in zip(axes[0], partitions, strict=True):
        _panel(panel, of_partition(table, partition, alpha), rows)
        panel.set_title(partition_title(partition, alpha))
    name_rows(figure, axes[:, 0], [[_row_name(*row) for row in rows]])
    label_edges(axes, "accuracy (%)", "")

    chance = draw_chance(axes.flat, rounds, axis="x")
    entries = [
        Line2D([], [], marker="o", linestyle="none", color=GREY, label="clients' own models"),
        Line2D([], [], color=GREY, label="server's model", **RING),
        *chance.entries,
    ]
    averaged = evaluations(last, rounds, "personal_acc")
    note = f"Dot: mean of {averaged} of the cohort's own models, each on the classes that its client has."
    note += " Ring: the server's model on the same."
    if (table["seeds"] > 1).any():
        note += " " + bars_note(table, "Bars: 95 % t-interval of the dot over seeds, cut at the panel's edge")
    if table["diverged"].any():
        note += " A cross at the left: a run diverged and is in no mean."
    if len(all_partitions) > len(partitions):
        hidden = len(all_partitions) - len(partitions)
        note += f" Not shown: {counted(hidden, hidden, 'partition')}."
    title = f"Accuracy of the clients' own models: {task}"
    return finish(figure, entries, {"rounds": rounds}, title, joined(note, chance.note, page.note))


def _row_name(label: str, keep: float) -> str:
    return label if ", keep " in label else f"{label}, keep {keep:g}"


def _panel(panel: Axes, table: pd.DataFrame, rows: list[Row]) -> None:
    percent = in_percent(table).assign(base=100 * table["base"])
    for row in percent.to_dict("records"):
        y, colour = (
            -rows.index((str(row["label"]), row["keep"])),
            row_colour(str(row["method"]), str(row["label"]), FULL_MODEL),
        )
        draw_bar(panel, [y], pd.DataFrame([row]), colour, axis="x")
        draw_seeds(panel, [y], pd.DataFrame([row]), colour, axis="x")
        panel.plot(row["mean"], y, "o", color=colour, markersize=5)
        panel.plot(row["base"], y, color=colour, **RING)
        if row["diverged"]:
            panel.plot(0.03, y, "x", color=colour, transform=panel.get_yaxis_transform())
    rings = pd.DataFrame(dict.fromkeys(("mean", "low", "high"), percent["base"]))
    panel.set_xlim(limits(percent, rings, seeds_drawn(percent), bounds=(0.0, 100.0)))


SPEC = FigureSpec(
    "personal",
    "final accuracy of the models that clients keep for themselves, beside that of the server's model",
    ("rounds",),
    draw,
    numbers,
)
