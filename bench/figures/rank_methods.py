"""Share of its principal kernels that a model requires, during training by each method."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.curves import mean_curves
from bench.analysis.layers import mean_over_layers
from bench.analysis.milestones import first_middle_last
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import OfPanel, draw_curves, in_percent, joined, limits, panels_by_keep, seeds_note
from bench.figures.panels import finish, method_entries
from bench.figures.style import SeriesStyle, series_styles

# By the last part of the file name: the column, and how it is counted.
MEASURES = {
    "entropy": ("required_kernels", "2 to the entropy of the shares of the squared singular values (PriSM, appendix)"),
    "renyi": ("required_kernels_renyi", "1 over the sum of the squared shares of the singular values (released code)"),
}
BOUNDS = (0.0, 100.0)


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return two figures per task, one for each measure: panels by keep ratio and partition, a line per label."""
    styles = series_styles(tables["ranks"])
    return [
        (f"{suffix}-{measure}", _figure(task, rows, styles, measure))
        for suffix, task, rows in _tasks(tables)
        for measure in MEASURES
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the share of each label at its first (round 0), middle and last evaluation, by either measure."""
    return [
        (suffix, pd.concat([_milestones(rows, measure) for measure in MEASURES], ignore_index=True))
        for suffix, _, rows in _tasks(tables)
    ]


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    columns = [column for column, _ in MEASURES.values()]
    return measured_tasks(tables["ranks"], columns, "rank data")


def _means(ranks: pd.DataFrame, measure: str) -> pd.DataFrame:
    return mean_curves(mean_over_layers(ranks, MEASURES[measure][0], per="kernels"))


def _milestones(ranks: pd.DataFrame, measure: str) -> pd.DataFrame:
    milestones = first_middle_last(_means(ranks, measure))
    milestones.insert(0, "measure", measure)
    return milestones


def _figure(task: str, ranks: pd.DataFrame, styles: dict[str, SeriesStyle], measure: str) -> Figure:
    means = in_percent(_means(ranks, measure))

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        draw_curves(panel, of_panel(means), styles, BOUNDS)

    figure, left_out = panels_by_keep(ranks, draw_panel, "round", "required kernels (% of R)")
    figure.axes[0].set_ylim(limits(means, bounds=BOUNDS))
    note = f"Required: {MEASURES[measure][1]}, as a share of the layer's R kernels; plain mean over layers."
    note = joined(note, seeds_note(means), left_out)
    title = f"Principal kernels required, by method: {task}"
    return finish(figure, method_entries(ranks, styles), {"ranks": ranks}, title, note)


SPEC = FigureSpec(
    "rank-methods",
    "share of its principal kernels that the model requires under each method, by two measures",
    ("ranks",),
    draw,
    numbers,
)
