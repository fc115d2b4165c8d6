"""Principal kernels that each layer requires, during training (PriSM, Figures 1 and 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
    slug,
    spread,
)
from bench.figures.panels import finish, grid, label_edges
from bench.figures.style import DASHED, counted, shaded

ROWS = 4  # partitions in one figure
COLUMNS = 3  # of panels
PANEL = 1.9  # inches, the height of one, unless the names of its layers need more
LINE_OF_WORDS = 0.16  # inches, for the name of a layer
TALLEST = 9.5  # inches, all rows together
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
    found = []
    for suffix, task, rows in by_task(chosen):
        series = list(rows.groupby(["label", "keep"], observed=True, sort=False))
        for (label, keep), own in series:
            alone = len(series) == 1
            name = str(label) if alone else f"{label}, keep {keep:g}"
            found.append((suffix if alone else f"{suffix}-{slug(name)}", _figure(task, name, own)))
    return found


def _figure(task: str, name: str, ranks: pd.DataFrame) -> Figure:
    sizes = sorted(ranks["kernels"].unique())
    all_partitions = partitions_of(ranks)
    partitions = spread(all_partitions, ROWS)
    # Layers of one size have a panel, and a page has room for three beside one another.
    places = [(size, *place) for place in partitions for size in sizes]
    columns = min(len(sizes), COLUMNS) if len(partitions) == 1 or len(sizes) <= COLUMNS else COLUMNS
    rows = math.ceil(len(places) / columns)
    most = int(ranks.groupby("kernels")["layer"].nunique().max())
    height = min(max(PANEL, (most + 0.5) * LINE_OF_WORDS), max(PANEL, TALLEST / rows))
    figure, axes = grid(rows, columns, panel=(2.3, height), share_y=True)
    least = min(100 * (ranks["required_kernels"] / ranks["kernels"]).min(), 90.0)
    low, high = max(0.0, least - 0.2 * (100 - least)), 100 + 0.04 * (100 - least)
    for panel, (kernels, partition, alpha) in zip(axes.flat, places, strict=False):
        here = of_partition(ranks, partition, alpha)
        _panel(panel, here[here["kernels"] == kernels], int(kernels), (low, high), LINE_OF_WORDS / height)
        panel.set_title(f"$R$ = {kernels}; {partition_title(partition, alpha)}")
    for panel in axes.flat[len(places) :]:
        panel.set_axis_off()
    label_edges(axes, "round", "required kernels (% of $R$)")
    axes[0, 0].set_ylim(low, high)
    note = (
        "Required: 2 to the entropy of the layer's squared singular values, as a share of its R kernels, seeds' mean. "
        "At the lines' ends: the layers, in the order of the model from dark to light. Dashed: all R kernels."
    )
    left_out = len(all_partitions) - len(partitions)
    if left_out:
        note += f" Not shown: {counted(left_out, left_out, 'partition')}."
    return finish(figure, [], {"ranks": ranks}, f"Principal kernels required per layer: {task}, {name}", note)


def _panel(panel: Axes, ranks: pd.DataFrame, kernels: int, limits: tuple[float, float], line: float) -> None:
    """Draw the layers of one size; ``line`` is the share of the panel's height that the name of one takes."""
    layers = list(dict.fromkeys(ranks["layer"].astype(str)))  # in the table's order, which is the model's
    means = mean_and_interval(ranks, ["layer", "round"], "required_kernels")
    colours = matplotlib.colormaps[COLOURS]
    ends: dict[str, tuple[float, float, Any]] = {}
    for position, layer in enumerate(layers):
        curve = means[means["layer"] == layer].sort_values("round")
        colour = colours(0.05 + 0.8 * position / max(len(layers) - 1, 1))
        marker = "o" if len(curve) == 1 else ""
        shares = 100 * curve["mean"] / kernels
        panel.plot(curve["round"], shares, color=colour, label=layer, marker=marker)
        ends[layer] = float(curve["round"].iloc[-1]), float(shares.iloc[-1]), colour
    panel.axhline(100, color="#555555", linestyle=DASHED, linewidth=1)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    _name_ends(panel, ends, limits, line * (limits[1] - limits[0]))


def _name_ends(
    panel: Axes, ends: Mapping[str, tuple[float, float, Any]], limits: tuple[float, float], line: float
) -> None:
    """Write the names of layers behind the ends of their lines, those of near lines above one another."""
    low, high = limits
    places = apart_from_another([share for _, share, _ in ends.values()], line, low + line / 2, high - line / 2)
    names = _without_what_all_share(list(ends))
    for (layer, (round_number, share, colour)), place in zip(ends.items(), places, strict=True):
        panel.annotate(
            names[layer],
            (round_number, share),
            xytext=(1.03, place),
            textcoords=panel.get_yaxis_transform(),
            va="center",
            fontsize=6,
            color=shaded(to_hex(colour), -0.25),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _without_what_all_share(layers: list[str]) -> dict[str, str]:
    """Return layers' names without the parts in front that all have: "stages.0.conv1" is "0.conv1" among stages."""
    parts = [layer.split(".") for layer in layers]
    same = 0
    while len(layers) > 1 and all(len(of) > same + 1 and of[same] == parts[0][same] for of in parts):
        same += 1
    return {layer: ".".join(of[same:]) for layer, of in zip(layers, parts, strict=True)}


def apart_from_another(values: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Return places near ``values``, in their order from below, that are at least ``least`` apart.

    >>> apart_from_another([50.0, 51.0, 90.0], 5.0, 0.0, 100.0)
    [48.0, 53.0, 90.0]
    >>> apart_from_another([0.0, 6.0], 5.0, 2.5, 97.5)
    [2.5, 7.5]
    """
    order = sorted(range(len(values)), key=lambda position: (values[position], position))

    def start(group: Sequence[int]) -> float:
        """Return the lowest place of a group whose places lie around the mean of its values, and inside."""
        room = least * (len(group) - 1)
        middle = sum(values[position] for position in group) / len(group)
        return min(max(middle - room / 2, low), high - room)

    groups: list[list[int]] = []
    for position in order:
        groups.append([position])
        while len(groups) > 1 and start(groups[-1]) < start(groups[-2]) + least * len(groups[-2]):
            groups[-2:] = [groups[-2] + groups[-1]]
    places = [0.0] * len(values)
    for group in groups:
        for number, position in enumerate(group):
            places[position] = start(group) + least * number
    return places


SPEC = FigureSpec(
    "required-kernels",
    "principal kernels that each layer requires, during training",
    ("ranks",),
    draw,
)
