"""Which share of the units has been trained so far, as seen and as expected from the inclusion probabilities."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bench.analysis.curves import cell_curves, mean_curves
from bench.analysis.milestones import exploration, rounds_until
from bench.figures.base import FigureSpec, Options, Tables, measured_tasks
from bench.figures.curve_panels import (
    OfPanel,
    by_page,
    draw_curves,
    in_percent,
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

REACH = (0.5, 0.9, 0.99)
BOUNDS = (0.0, 100.0)


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row of panels per keep ratio, a column per partition, two lines per label."""
    styles = series_styles(tables["rounds"])
    return [
        (suffix + page.suffix, _figure(task, part, styles, page))
        for suffix, task, rows in _tasks(tables)
        for page, part in by_page(rows)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the coverage at some rounds, and the rounds until some coverage was seen, for each task."""
    result = []
    for suffix, _, rows in _tasks(tables):
        seen, expected = (cell_curves(rows, value=column) for column in ("coverage", "coverage_expected"))
        result += [(suffix, exploration(seen, expected)), (f"{suffix}-rounds-until", rounds_until(seen, REACH))]
    return result


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    """Return the trained rounds of each task whose clients train a part of the units."""
    rounds = tables["rounds"]
    columns = ["coverage", "coverage_expected"]
    return measured_tasks(rounds[rounds["round"] > 0], columns, "a coverage after its first round")


def _figure(task: str, rounds: pd.DataFrame, styles: dict[str, SeriesStyle], page: Page) -> Figure:
    seen, expected = (
        in_percent(mean_curves(cell_curves(rounds, value=column))) for column in ("coverage", "coverage_expected")
    )
    solid, dashed = with_line(styles, "-"), with_line(styles, DASHED)

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        draw_curves(panel, of_panel(seen), solid, BOUNDS)
        draw_curves(panel, of_panel(expected), dashed, markers=False, band=False, linewidth=1.0)
        panel.set_xscale("log")
        _label_rounds(panel, int(rounds["round"].max()))

    figure, left_out = panels_by_keep(
        rounds, draw_panel, "round (log scale)", "trained so far (%)", page, curves=pd.concat([seen, expected])
    )
    next(panel for panel in figure.axes if panel.axison).set_ylim(limits(seen, expected, bounds=BOUNDS))
    entries = method_entries(rounds, solid)
    note = "Share of kernels (by rank) or channels that a client has trained so far."
    if len(expected):
        entries += line_entries("seen", "expected")
        note += " Expected: from the inclusion probabilities of the draws."
    note = joined(note, seeds_note(seen), left_out, page.note)
    return finish(figure, entries, {"rounds": rounds}, f"Exploration of the model: {task}", note)


def _label_rounds(panel: Axes, largest: int) -> None:
    """Label 1, 2, 5, 10, ... rounds, or the powers of ten alone where there are many rounds."""
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if largest < 200 else (1.0,)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())


SPEC = FigureSpec(
    "exploration",
    "share of the units trained so far, seen and expected, one panel per keep ratio and partition",
    ("rounds",),
    draw,
    numbers,
)
