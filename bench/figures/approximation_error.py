"""How far the sub-models, and their mean over a cohort, are from the server's weights: measured and in closed form."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.curves import mean_curves
from bench.analysis.layers import ratio_over_layers
from bench.analysis.milestones import measured_and_expected
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import (
    OfPanel,
    by_page,
    draw_curves,
    joined,
    limits,
    line_entries,
    panels_by_keep,
    seeds_note,
    with_line,
)
from bench.figures.paging import Page
from bench.figures.panels import finish, method_entries
from bench.figures.style import DASHED, SeriesStyle, series_styles

# By the last part of the file name: the column, the axis and the heading.
ERRORS = {
    "submodel": ("submodel_error", r"$\|W-\hat{W}_c\|^2\,/\,\|W\|^2$", "Error of a sub-model"),
    "cohort": (
        "cohort_error",
        r"$\|W-\overline{\hat{W}}\|^2\,/\,\|W\|^2$",
        "Error of the mean of the sub-models",
    ),
}
LOGARITHMIC = 10.0  # from this ratio of the largest mean to the least one, the axis is logarithmic,
DECADES = 1e-4  # and what is below this share of the largest mean is cut off
FAR = 1e3  # times the median of closed forms: what is larger does not scale the axis


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return two figures per task, of a sub-model and of the cohort's mean: panels by keep ratio and partition."""
    styles = series_styles(tables["ranks"])
    return [
        (f"{suffix}-{name}{page.suffix}", _figure(task, name, part, styles, page))
        for suffix, task, name, rows in _errors(tables)
        for page, part in by_page(rows)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the mean over rounds of either error, measured and in closed form."""
    return [
        (f"{suffix}-{name}", measured_and_expected(*_curves(rows, name))) for suffix, _, name, rows in _errors(tables)
    ]


def _errors(tables: Tables) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield (suffix of the file name, task, error, rows) for each error that a finished cell has."""
    columns = [column for error, _, _ in ERRORS.values() for column in (error, f"{error}_expected")]
    missing = "approximation errors and the norms of the weights that they are a share of"
    for suffix, task, rows in measured_tasks(tables["ranks"], columns, missing, per="weight_norm2"):
        finished = rows[rows["status"] != "diverged"]
        for name, (column, _, _) in ERRORS.items():
            if finished[[column, f"{column}_expected"]].notna().any(axis=None):
                yield suffix, task, name, rows


def _curves(ranks: pd.DataFrame, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the curves of cells of the measured error and of the one in closed form."""
    column = ERRORS[name][0]
    return (
        ratio_over_layers(ranks, column, "weight_norm2"),
        ratio_over_layers(ranks, f"{column}_expected", "weight_norm2"),
    )


def _figure(task: str, name: str, ranks: pd.DataFrame, styles: dict[str, SeriesStyle], page: Page) -> Figure:
    measured, expected = (mean_curves(curves) for curves in _curves(ranks, name))
    solid, dashed = with_line(styles, "-"), with_line(styles, DASHED)
    alone = measured.empty

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        draw_curves(panel, of_panel(measured), solid)
        draw_curves(panel, of_panel(expected), dashed, markers=alone, band=False, linewidth=1.0)

    _, y, title = ERRORS[name]
    figure, left_out = panels_by_keep(ranks, draw_panel, "round", y, page)
    first = next(panel for panel in figure.axes if panel.axison)
    _scale(first, _typical(expected) if alone else measured)
    of_measured, of_closed_form = line_entries("measured", "closed form")
    kinds = [of_closed_form] if alone else [of_measured, of_closed_form]
    entries = method_entries(ranks, dashed if alone else solid) + kinds
    note = "Squared Frobenius norms, summed over the factored layers. Closed form: from the law of the draws."
    note = joined(note, seeds_note(measured), _beyond(first, expected), left_out, page.note)
    return finish(figure, entries, {"ranks": ranks}, f"{title}: {task}", note)


def _typical(expected: pd.DataFrame) -> pd.DataFrame:
    """Return the closed forms without those that would hide all others: see :func:`_scale`."""
    median = expected.loc[expected["mean"] > 0, "mean"].quantile(interpolation="lower")
    return expected[~(expected["mean"] > FAR * median)]


def _scale(panel: Axes, means: pd.DataFrame) -> None:
    """Fit the vertical axis, which all panels share, to these means.

    They are the measured ones where there are some: 1 / pi of kernels that are hardly ever drawn makes some closed
    forms larger by orders of magnitude than anything that a run meets.
    """
    least, largest = float(means["mean"].min()), float(means["mean"].max())
    if least > 0 and largest > LOGARITHMIC * least:
        panel.set_yscale("log")
        panel.set_ylim(max(least / 1.5, DECADES * largest), 1.5 * largest)
    else:
        panel.set_ylim(limits(means, bounds=(0.0, float("inf"))))


def _beyond(panel: Axes, expected: pd.DataFrame) -> str:
    """Return the words for the closed forms that leave the axis, where there are some."""
    low, high = panel.get_ylim()
    labels = expected.loc[~expected["mean"].between(low, high), "label"].astype(str).unique()
    return f"Closed form beyond the axis, in part or all: {'; '.join(labels)}." if len(labels) else ""


SPEC = FigureSpec(
    "approximation-error",
    "error of a sub-model and of the cohort's mean against the server's weights, measured and in closed form",
    ("ranks",),
    draw,
    numbers,
)
