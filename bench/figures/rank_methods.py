"""Share of its principal kernels that a model requires, during training by each method."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis.curves import mean_curves
from bench.analysis.layers import mean_over_layers
from bench.analysis.milestones import first_middle_last
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import by_page, curves_figure, in_percent
from bench.figures.paging import Page
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
        (f"{suffix}-{measure}{page.suffix}", _figure(task, of_page, styles, measure, page))
        for suffix, task, rows in _tasks(tables)
        for measure in MEASURES
        for page, of_page in by_page(rows)
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


def _figure(task: str, ranks: pd.DataFrame, styles: dict[str, SeriesStyle], measure: str, page: Page) -> Figure:
    means = in_percent(_means(ranks, measure))
    title = f"Principal kernels required, by method: {task}"
    note = f"Required: {MEASURES[measure][1]}, as a share of the layer's R kernels; plain mean over layers."
    return curves_figure(ranks, means, styles, "required kernels (% of R)", BOUNDS, title, note, page)


SPEC = FigureSpec(
    "rank-methods",
    "share of its principal kernels that the model requires under each method, by two measures",
    ("ranks",),
    draw,
    numbers,
)
