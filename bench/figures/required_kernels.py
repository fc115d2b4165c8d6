"""Principal kernels that each layer requires, during training (PriSM, Figures 1 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from bench.analysis.interval import mean_and_interval
from bench.errors import choices
from bench.figures.base import (
    FigureSpec,
    Options,
    Skip,
    Tables,
    by_task,
    of_partition,
    partition_title,
    partitions_of,
    spread,
)
from bench.figures.panels import LEGEND_LINE, finish, grid, label_edges
from bench.figures.style import DASHED, counted

ROWS = 4  # partitions in one figure
COLOURS = "viridis"


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a column of panels per number of kernels R, a row per partition, a line per layer."""
    ranks = tables["ranks"]
    ranks = ranks[ranks["required_kernels"].notna() & (ranks["status"] != "diverged")]
    if ranks.empty:
        raise Skip("no finished cell has rank data")
    chosen = ranks[ranks["method"] == options.rank_method]
    if chosen.empty:
        known = sorted(ranks["method"].astype(str).unique())
        raise Skip(f"no cell of method {options.rank_method!r} has rank data; {choices(options.rank_method, known)}")
    return [(suffix, _figure(task, options.rank_method, rows)) for suffix, task, rows in by_task(chosen)]


def _figure(task: str, method: str, ranks: pd.DataFrame) -> Figure:
    sizes = sorted(ranks["kernels"].unique())
    all_partitions = partitions_of(ranks)
    partitions = spread(all_partitions, ROWS)
    figure, axes = grid(len(partitions), len(sizes), panel=(2.1, 1.9))
    for row, (partition, alpha) in enumerate(partitions):
        here = of_partition(ranks, partition, alpha)
        for column, kernels in enumerate(sizes):
            panel = axes[row, column]
            _panel(panel, here[here["kernels"] == kernels], int(kernels))
            panel.set_title(f"$R$ = {kernels}; {partition_title(partition, alpha)}")
    _layer_legends(figure, axes[-1])
    label_edges(axes, "round", "required kernels")
    note = "Required: 2 to the entropy of the layer's squared singular values, mean over seeds. Dashed: all R kernels."
    left_out = len(all_partitions) - len(partitions)
    if left_out:
        note += f" Not shown: {counted(left_out, left_out, 'partition')}."
    return finish(figure, [], {"ranks": ranks}, f"Principal kernels required per layer: {task}, {method}", note)


def _panel(panel: Axes, ranks: pd.DataFrame, kernels: int) -> None:
    layers = list(dict.fromkeys(ranks["layer"].astype(str)))  # in the table's order, which is the model's
    means = mean_and_interval(ranks, ["layer", "round"], "required_kernels")
    colours = matplotlib.colormaps[COLOURS]
    for position, layer in enumerate(layers):
        curve = means[means["layer"] == layer].sort_values("round")
        colour = colours(0.05 + 0.8 * position / max(len(layers) - 1, 1))
        marker = "o" if len(curve) == 1 else ""
        panel.plot(curve["round"], curve["mean"], color=colour, label=layer, marker=marker)
    panel.axhline(kernels, color="#555555", linestyle=DASHED, linewidth=1)
    panel.set_ylim(0, 1.08 * kernels)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _layer_legends(figure: Figure, bottom_panels: Sequence[Axes]) -> None:
    """Name the layers below each column of panels; the figure grows, so that the panels keep their height."""
    most = max(len(panel.get_legend_handles_labels()[1]) for panel in bottom_panels)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LEGEND_LINE * most + 0.1)
    for panel in bottom_panels:
        below_the_ticks = panel.transAxes + ScaledTranslation(0, -0.38, figure.dpi_scale_trans)
        panel.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            bbox_transform=below_the_ticks,
            borderaxespad=0,
            fontsize=7,
            labelspacing=0.25,
            handlelength=1.8,
        )


SPEC = FigureSpec(
    "required-kernels",
    "principal kernels that each layer requires, during training",
    ("ranks",),
    draw,
)
