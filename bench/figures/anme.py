"""How explorative the draws are: the normalised mean binary entropy over rounds (spectral sharding paper)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.curves import mean_curves
from bench.analysis.layers import mean_over_layers
from bench.analysis.milestones import first_middle_last
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import OfPanel, draw_curves, joined, limits, panels_by_keep, seeds_note
from bench.figures.panels import finish, method_entries
from bench.figures.style import SeriesStyle, series_styles

BOUNDS = (0.0, 1.0)


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per keep ratio, a column per partition, a line per label."""
    styles = series_styles(tables["ranks"])
    return [(suffix, _figure(task, rows, styles)) for suffix, task, rows in _tasks(tables)]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the first, middle and last value of each line."""
    return [
        (suffix, first_middle_last(mean_curves(mean_over_layers(rows, "anme")))) for suffix, _, rows in _tasks(tables)
    ]


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    return measured_tasks(tables["ranks"], ["anme"], "inclusion probabilities (column 'anme')")


def _figure(task: str, ranks: pd.DataFrame, styles: dict[str, SeriesStyle]) -> Figure:
    means = mean_curves(mean_over_layers(ranks, "anme"))

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        draw_curves(panel, of_panel(means), styles, BOUNDS)

    figure, left_out = panels_by_keep(ranks, draw_panel, "round", "ANME")
    figure.axes[0].set_ylim(limits(means, bounds=BOUNDS))
    note = (
        "Mean binary entropy of the units' inclusion probabilities, as a share of a uniform draw's; plain mean over "
        "layers. 0: always the same kernels; 1: all kernels alike."
    )
    note = joined(note, seeds_note(means), left_out)
    return finish(figure, method_entries(ranks, styles), {"ranks": ranks}, f"Entropy of the draws: {task}", note)


SPEC = FigureSpec(
    "anme",
    "normalised entropy of the draws (ANME) during training, one panel per keep ratio and partition",
    ("ranks",),
    draw,
    numbers,
)
