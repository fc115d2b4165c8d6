"""What averaging the factors u and v separately gets wrong, as a share of the round's update."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis.curves import mean_curves
from bench.analysis.layers import ratio_over_layers
from bench.analysis.milestones import mean_over_rounds
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import by_page, curves_figure, in_percent
from bench.figures.paging import Page
from bench.figures.style import SeriesStyle, series_styles

BOUNDS = (0.0, float("inf"))
NOTE = (
    "Norm of the difference between the mean of the clients' products and the product of their mean factors, as a "
    "share of the norm of the update that the products make; all factored layers together."
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
    """Return the mean over rounds of each label."""
    return [(suffix, mean_over_rounds(_shares(rows))) for suffix, _, rows in _tasks(tables)]


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    missing = "aggregation errors, which a cell with diagnostics 'errors' or 'all' has"
    return measured_tasks(tables["ranks"], ["aggregation_error"], missing, per="update_norm2")


def _shares(ranks: pd.DataFrame) -> pd.DataFrame:
    """Return the norm of the error by the norm of the update, in each measured round of each cell."""
    squares = ratio_over_layers(ranks, "aggregation_error", "update_norm2")
    return squares.assign(value=squares["value"] ** 0.5)


def _figure(task: str, ranks: pd.DataFrame, styles: dict[str, SeriesStyle], page: Page) -> Figure:
    means = in_percent(mean_curves(_shares(ranks)))
    title = f"Error of averaging factors separately: {task}"
    return curves_figure(ranks, means, styles, "error (% of the update)", BOUNDS, title, NOTE, page)


SPEC = FigureSpec(
    "aggregation-error",
    "part of the update that averaging u and v separately gets wrong, one panel per keep ratio and partition",
    ("ranks",),
    draw,
    numbers,
)
