"""Test accuracy during training, against rounds, bytes, MACs or seconds (PriSM, Figures 5 and 6)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.analysis.curves import cell_curves, training_curves
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import (
    FigureSpec,
    Options,
    Skip,
    Tables,
    by_task,
    of_partition,
    partition_title,
    partitions_of,
    spread,
)
from bench.figures.panels import finish, full_model_line, grid, label_edges, method_entries
from bench.figures.style import SeriesStyle, counted, series_styles
from bench.figures.units import duration, prefixed

LIMIT = 4  # keep ratios, and partitions, in one figure
MARKERS = 6  # on one curve


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per keep ratio, a column per partition, a curve per label."""
    rounds = tables["rounds"]
    styles = series_styles(rounds)
    figures = [
        (f"{suffix}-{options.x}", _figure(task, rows, styles, options.x))
        for suffix, task, rows in by_task(rounds)
        if rows["test_acc"].notna().any()
    ]
    if not figures:
        raise Skip("no cell has a test accuracy")
    return figures


def _figure(task: str, rounds: pd.DataFrame, styles: dict[str, SeriesStyle], x: str) -> Figure:
    means, cells = training_curves(rounds, x), cell_curves(rounds, x)
    diverged = cells[cells["status"] == "diverged"]
    divisor, x_label = _axis(x, cells["x"].max())
    means, diverged = means.assign(x=means["x"] / divisor), diverged.assign(x=diverged["x"] / divisor)

    all_keeps = sorted(rounds.loc[rounds["method"] != FULL_MODEL, "keep"].unique()) or [1.0]
    all_partitions = partitions_of(rounds)
    keeps, partitions = spread(all_keeps, LIMIT), spread(all_partitions, LIMIT)
    figure, axes = grid(len(keeps), len(partitions), share_y="col")
    for row, keep in enumerate(keeps):
        for column, (partition, alpha) in enumerate(partitions):
            panel = axes[row, column]
            _panel(panel, _of_panel(means, partition, alpha, keep), styles)
            _draw_diverged(panel, _of_panel(diverged, partition, alpha, keep), styles)
            panel.set_title(f"keep {keep:g}; {partition_title(partition, alpha)}")
            if x == "round":
                panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    label_edges(axes, x_label, "test accuracy (%)")

    note = _note(means, diverged, len(all_keeps) - len(keeps), len(all_partitions) - len(partitions))
    title = f"Accuracy during training: {task}"
    return finish(figure, method_entries(rounds, styles), {"rounds": rounds}, title, note)


def _of_panel(curves: pd.DataFrame, partition: str, alpha: float, keep: float) -> pd.DataFrame:
    """Return the curves of one panel: those of its keep ratio, and the full model's."""
    here = of_partition(curves, partition, alpha)
    return here[(here["keep"] == keep) | (here["method"] == FULL_MODEL)]


def _axis(x: str, largest: float) -> tuple[float, str]:
    """Return (divisor, label) of the horizontal axis."""
    if x == "bytes":
        divisor, unit = prefixed(largest, "B")
        return divisor, f"sent, down and up ({unit})"
    if x == "macs":
        divisor, unit = prefixed(largest, "MAC")
        return divisor, f"forward work of all clients ({unit})"
    if x == "seconds":
        divisor, unit = duration(largest)
        return divisor, f"wall clock of the simulation ({unit})"
    return 1.0, "round"


def _panel(panel: Axes, means: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    labels = [label for label in styles if (means["label"] == label).any()]
    for position, label in enumerate(labels):
        curve = means[means["label"] == label].sort_values("x")
        style = styles[label]
        look = style.plot_options()
        if (curve["method"] == FULL_MODEL).all():
            look = full_model_line(style) | {"zorder": 4, "marker": "o" if len(curve) == 1 else ""}
        step = max(1, len(curve) // MARKERS)
        every = (position * step // len(labels), step)
        panel.plot(curve["x"], 100 * curve["mean"], **look, markevery=every, linewidth=1.3, markersize=4)
        band = curve.dropna(subset=["low"])
        panel.fill_between(
            band["x"],
            (100 * band["low"]).clip(lower=0),
            (100 * band["high"]).clip(upper=100),
            color=style.colour,
            alpha=0.12,
            linewidth=0,
        )


def _draw_diverged(panel: Axes, cells: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    for _, curve in cells.groupby("cell", observed=True):
        colour = styles[str(curve["label"].iloc[0])].colour
        panel.plot(curve["x"], 100 * curve["value"], color=colour, linewidth=0.7, alpha=0.7)
        panel.plot(curve["x"].iloc[-1], 100 * curve["value"].iloc[-1], "x", color=colour)


def _note(means: pd.DataFrame, diverged: pd.DataFrame, keeps_left_out: int, partitions_left_out: int) -> str:
    notes = []
    if (means["seeds"] > 1).any():
        notes.append("Bands: 95 % t-interval over seeds.")
    if len(diverged):
        notes.append("Thin lines to a cross: runs that diverged, not in the means.")
    left_out = [(keeps_left_out, "keep ratio"), (partitions_left_out, "partition")]
    if any(number for number, _ in left_out):
        notes.append(f"Not shown: {', '.join(counted(number, number, noun) for number, noun in left_out if number)}.")
    return " ".join(notes)


SPEC = FigureSpec(
    "training-curves",
    "test accuracy during training, one panel per keep ratio and partition",
    ("rounds",),
    draw,
)
