"""Test accuracy during training, against rounds, bytes, MACs or seconds (PriSM, Figures 5 and 6)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.curves import cell_curves, macs_column, training_curves
from bench.figures.base import FigureSpec, Options, Skip, Tables, by_task
from bench.figures.chance import draw_chance
from bench.figures.cost_axis import axis_of
from bench.figures.curve_panels import OfPanel, draw_curves, in_percent, joined, panels_by_keep, seeds_note
from bench.figures.panels import finish, method_entries
from bench.figures.style import SeriesStyle, series_styles


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
    divisor, x_label = axis_of(x, cells["x"].max(), macs_column(rounds))
    means = in_percent(means.assign(x=means["x"] / divisor))
    diverged = diverged.assign(x=diverged["x"] / divisor, value=100 * diverged["value"])

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        draw_curves(panel, of_panel(means), styles, bounds=(0, 100))
        _draw_diverged(panel, of_panel(diverged), styles)

    figure, left_out = panels_by_keep(rounds, draw_panel, x_label, "test accuracy (%)", share_y="col")
    chance = draw_chance(figure.axes, rounds)
    notes = [seeds_note(means), chance.note]
    if x == "seconds":
        notes.append("Wall clock of the simulation without its evaluations and diagnoses.")
    if len(diverged):
        notes.append("Thin lines to a cross: runs that diverged, not in the means.")
    title = f"Accuracy during training: {task}"
    entries = [*method_entries(rounds, styles), *chance.entries]
    return finish(figure, entries, {"rounds": rounds}, title, joined(*notes, left_out))


def _draw_diverged(panel: Axes, cells: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    for _, curve in cells.groupby("cell", observed=True):
        colour = styles[str(curve["label"].iloc[0])].colour
        panel.plot(curve["x"], curve["value"], color=colour, linewidth=0.7, alpha=0.7)
        panel.plot(curve["x"].iloc[-1], curve["value"].iloc[-1], "x", color=colour)


SPEC = FigureSpec(
    "training-curves",
    "test accuracy during training, one panel per keep ratio and partition",
    ("rounds",),
    draw,
)
