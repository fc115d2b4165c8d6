"""How alike a method's server updates and FedAvg's are, during training (spectral sharding paper)."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis.curves import cell_curves, mean_curves, smoothed
from bench.analysis.layers import mean_over_layers
from bench.analysis.milestones import mean_over_rounds
from bench.figures.base import FigureSpec, Options, Skip, Tables, measured_tasks
from bench.figures.curve_panels import by_page, curves_figure
from bench.figures.paging import Page
from bench.figures.style import SeriesStyle, series_styles

COLUMN = "cosine_fedavg"  # of the table of rounds for the whole model, of the table of ranks for each layer
MISSING = "cosine similarities with FedAvg, which a cell with diagnostics 'cosine' or 'all' has"
WHOLE = "all parameters"
FACTORED = "factored layers"
OVER = {
    WHOLE: "over all parameters as one vector, also those that every method trains whole",
    FACTORED: "of each factored layer alone, plain mean over layers",
}
WEIGHT = 0.95  # of the value before in the moving average, as in the paper
LEAST = 20  # measurements from which a curve is averaged
BOUNDS = (-1.0, 1.0)


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return two figures per task, of the whole model and of its factored layers: panels by keep ratio and partition.

    The second one needs cosines by layer, which the tables of an earlier version lack.
    """
    styles = series_styles(tables["rounds"])
    return [
        (
            suffix + page.suffix,
            _figure(f"Likeness to FedAvg's update, {over}: {task}", OVER[over], part, curves, styles, page),
        )
        for suffix, task, over, rows, curves in _measured(tables)
        for page, part in by_page(rows)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the mean over rounds of each label, not smoothed."""
    return [(suffix, mean_over_rounds(curves)) for suffix, _, _, _, curves in _measured(tables)]


def _measured(tables: Tables) -> list[tuple[str, str, str, pd.DataFrame, pd.DataFrame]]:
    """Return (suffix of the file name, task, what the cosine is taken over, rows, curves of cells) of each figure."""
    found = [
        (suffix, task, WHOLE, rows, cell_curves(rows, value=COLUMN))
        for suffix, task, rows in measured_tasks(tables["rounds"], [COLUMN], MISSING)
    ]
    if "ranks" in tables:
        with suppress(Skip):
            found += [
                (f"{suffix}-factored", task, FACTORED, rows, mean_over_layers(rows, COLUMN))
                for suffix, task, rows in measured_tasks(tables["ranks"], [COLUMN], MISSING)
            ]
    return found


def _figure(
    title: str, over: str, table: pd.DataFrame, curves: pd.DataFrame, styles: dict[str, SeriesStyle], page: Page
) -> Figure:
    curves = curves[curves["cell"].isin(table["cell"].unique())]
    raw, averages = mean_curves(curves), mean_curves(smoothed(curves, WEIGHT, LEAST))
    note = f"Cosine {over}, between the server's updates by the method and by FedAvg from the same model and cohort."
    if curves.groupby("cell", observed=True).size().max() >= LEAST:
        note += (
            f" Thin: mean over seeds; thick: its exponentially weighted moving average (weight {WEIGHT:g}) from "
            f"{LEAST} measurements on."
        )
    return curves_figure(table, averages, styles, "cosine with FedAvg", BOUNDS, title, note, page, thin=raw)


SPEC = FigureSpec(
    "cosine",
    "cosine similarity of the server's updates with FedAvg's, one panel per keep ratio and partition",
    ("rounds",),
    draw,
    numbers,
)
