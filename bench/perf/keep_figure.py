"""The figure of the part "keep": time and multiply-accumulates against the keep ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.figures.panels import finish, grid, label_edges
from bench.figures.style import DASHED, method_look
from bench.perf.keep import METHODS
from bench.perf.lines import with_range

MACS_LINE = (0, (1, 1.2))


def draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a panel for each precision: the share of the full model's time, and of its multiply-accumulates."""
    precisions = list(dict.fromkeys(row["precision"] for row in rows))
    figure, axes = grid(1, len(precisions), panel=(3.0, 2.3), share_y=True)
    for panel, precision in zip(axes[0], precisions, strict=True):
        here = [row for row in rows if row["precision"] == precision]
        (full,) = [row for row in here if row["method"] == "fedavg"]
        for method in METHODS:
            shares = [_share(row, full["seconds"]) for row in here if row["method"] == method]
            colour, marker = method_look(method)
            with_range(panel, shares, "keep", "time", ("least", "most"), color=colour, marker=marker)
            panel.plot(*_columns(shares), color=colour, linestyle=MACS_LINE, marker=marker, fillstyle="none")
        panel.axhline(100, color="#000000", linestyle=DASHED, linewidth=1)
        panel.set_title(f"{precision}: full model {full['seconds']:.3g} s")
    axes[0, 0].set_ylim(bottom=0)  # now that all panels, which share it, have their lines
    label_edges(axes, "keep ratio", "share of the full model (%)")
    entries = [Line2D([], [], label=name, color=method_look(name)[0], marker=method_look(name)[1]) for name in METHODS]
    entries += [
        Line2D([], [], color="#555555", label="seconds to train a cohort"),
        Line2D([], [], color="#555555", linestyle=MACS_LINE, label="forward MACs per sample"),
    ]
    first = rows[0]
    note = (
        f"Stand-in data; ResNet-18 of the paper's size, {first['accelerator'] or first['processor']}, "
        f"{first['cores']} cores. Median and range of {first['repetitions']} repetitions; the distance of the two "
        "lines of a method is overhead."
    )
    return finish(figure, entries, {}, "Time of a sub-model beside its multiply-accumulates (stand-in data)", note)


def _share(row: Mapping[str, Any], full_seconds: float) -> dict[str, float]:
    """Return one point in per cent of the full model."""
    percent = 100 / full_seconds
    return {
        "keep": row["keep"],
        "time": row["seconds"] * percent,
        "least": row["seconds_min"] * percent,
        "most": row["seconds_max"] * percent,
        "macs": 100 * row["macs_ratio"],
    }


def _columns(shares: Sequence[Mapping[str, float]]) -> tuple[list[float], list[float]]:
    return [share["keep"] for share in shares], [share["macs"] for share in shares]
