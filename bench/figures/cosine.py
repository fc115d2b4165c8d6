"""How alike a method's server updates and FedAvg's are, during training (spectral sharding paper)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.curves import cell_curves, mean_curves, smoothed
from bench.analysis.milestones import mean_over_rounds
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import OfPanel, draw_curves, joined, limits, panels_by_keep, seeds_note
from bench.figures.panels import finish, method_entries
from bench.figures.style import SeriesStyle, series_styles

WEIGHT = 0.95  # of the value before in the moving average, as in the paper
LEAST = 20  # measurements from which a curve is averaged
BOUNDS = (-1.0, 1.0)


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per keep ratio, a column per partition, a line per label."""
    styles = series_styles(tables["rounds"])
    return [(suffix, _figure(task, rows, styles)) for suffix, task, rows in _tasks(tables)]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the mean over all evaluated rounds of each label, not smoothed."""
    return [(suffix, mean_over_rounds(cell_curves(rows, value="cosine_fedavg"))) for suffix, _, rows in _tasks(tables)]


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    missing = "cosine similarities with FedAvg, which a cell with diagnostics 'cosine' or 'all' has"
    return measured_tasks(tables["rounds"], ["cosine_fedavg"], missing)


def _figure(task: str, rounds: pd.DataFrame, styles: dict[str, SeriesStyle]) -> Figure:
    curves = cell_curves(rounds, value="cosine_fedavg")
    raw, averages = mean_curves(curves), mean_curves(smoothed(curves, WEIGHT, LEAST))

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        draw_curves(panel, of_panel(raw), styles, band=False, marker="", linewidth=0.6, alpha=0.55, linestyle="-")
        draw_curves(panel, of_panel(averages), styles, BOUNDS)

    figure, left_out = panels_by_keep(rounds, draw_panel, "round", "cosine with FedAvg")
    figure.axes[0].set_ylim(limits(raw, averages, bounds=BOUNDS))
    note = (
        "Update of the server's model by the method and by FedAvg, from the same model and cohort. Thin: mean over "
        f"seeds; thick: its exponentially weighted moving average (weight {WEIGHT:g}) from {LEAST} measurements on."
    )
    note = joined(note, seeds_note(averages), left_out)
    title = f"Likeness to FedAvg's update: {task}"
    return finish(figure, method_entries(rounds, styles), {"rounds": rounds}, title, note)


SPEC = FigureSpec(
    "cosine",
    "cosine similarity of the server's updates with FedAvg's, one panel per keep ratio and partition",
    ("rounds",),
    draw,
    numbers,
)
