"""How explorative the draws are: the normalised mean binary entropy over rounds (spectral sharding paper)."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis.curves import mean_curves
from bench.analysis.layers import mean_over_layers
from bench.analysis.milestones import first_middle_last
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import by_page, curves_figure
from bench.figures.paging import Page
from bench.figures.style import SeriesStyle, series_styles

BOUNDS = (0.0, 1.0)
NOTE = (
    "Mean binary entropy of the units' inclusion probabilities, as a share of a uniform draw's; plain mean over "
    "layers. 0: always the same kernels; 1: all kernels alike."
)


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per keep ratio, a column per partition, a line per label."""
    styles = series_styles(tables["ranks"])
    return [
        (suffix + page.suffix, _figure(task, of_page, styles, page))
        for suffix, task, rows in _tasks(tables)
        for page, of_page in by_page(rows)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the first, middle and last value of each line."""
    return [(suffix, first_middle_last(_means(rows))) for suffix, _, rows in _tasks(tables)]


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    return measured_tasks(tables["ranks"], ["anme"], "inclusion probabilities (column 'anme')")


def _figure(task: str, ranks: pd.DataFrame, styles: dict[str, SeriesStyle], page: Page) -> Figure:
    title = f"Entropy of the draws: {task}"
    return curves_figure(ranks, _means(ranks), styles, "ANME", BOUNDS, title, NOTE, page)


def _means(ranks: pd.DataFrame) -> pd.DataFrame:
    return mean_curves(mean_over_layers(ranks, "anme"))


SPEC = FigureSpec(
    "anme",
    "normalised entropy of the draws (ANME) during training, one panel per keep ratio and partition",
    ("ranks",),
    draw,
    numbers,
)
