"""Parameters and MACs of a client's sub-model, as a share of the full model (PriSM, Table 1)."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.tables import FULL_MODEL, footprint_shares
from bench.figures.accuracy_keep import apart
from bench.figures.base import FigureSpec, Options, Skip, Tables, slug
from bench.figures.panels import finish, grid, label_edges
from bench.figures.style import DASHED, SeriesStyle, series_styles
from bench.figures.units import prefixed

TICKS = 0.08  # of a panel's width, at least, from one labelled keep ratio to the next
NAMED = 3  # labels of equal footprint in one legend entry
SHARES = ["parameters_share", "factored_share", "macs_share", "ideal_share"]
FACTORED_LINE = (0, (1, 1.2))
IDEAL_LINE = (0, (3, 1.2, 1, 1.2))
FULL_LINE: dict[str, Any] = {"color": "#000000", "linestyle": DASHED, "linewidth": 1, "marker": ""}


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a panel of parameters and a panel of MACs against the keep ratio."""
    footprint = footprint_shares(tables["footprint"])
    styles = series_styles(footprint)
    sub_models = footprint[footprint["method"] != FULL_MODEL]
    if sub_models.empty:
        raise Skip("the footprint has no sub-model")
    return [
        (slug(str(task)), _figure(str(task), rows, styles)) for task, rows in sub_models.groupby("task", observed=True)
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return the footprint with its shares, a table per task."""
    footprint = footprint_shares(tables["footprint"])
    return [
        (slug(str(task)), rows.sort_values(["method", "label", "keep"]))
        for task, rows in footprint.groupby("task", observed=True)
    ]


def _figure(task: str, footprint: pd.DataFrame, styles: dict[str, SeriesStyle]) -> Figure:
    names = _names_of_equals(footprint, [label for label in styles if (footprint["label"] == label).any()])
    figure, axes = grid(1, 2, panel=(2.6, 2.1))
    left, right = axes[0]
    for label in names:
        series, style = footprint[footprint["label"] == label].sort_values("keep"), styles[label]
        look = {"color": style.colour, "marker": style.marker}
        left.plot(series["keep"], 100 * series["parameters_share"], **look)
        left.plot(series["keep"], 100 * series["factored_share"], **look, linestyle=FACTORED_LINE, fillstyle="none")
        right.plot(series["keep"], 100 * series["macs_share"], **look)
        if _is_sparse(series):
            right.plot(series["keep"], 100 * series["ideal_share"], **look, linestyle=IDEAL_LINE, fillstyle="none")
    full = footprint.iloc[0]
    left.set_title(f"parameters\n(100 % = {_amount(full['full_parameters'], '')})")
    right.set_title(f"forward MACs per sample\n(100 % = {_amount(full['full_macs'], '')})")
    keeps = sorted(footprint["keep"].unique())
    for panel in (left, right):
        _finish_panel(panel, keeps)
    label_edges(axes, "keep ratio", "share of the full model (%)")

    # Here the line tells the two counts apart, so the variants of one method share theirs.
    entries = [
        Line2D([], [], label=name, color=styles[label].colour, marker=styles[label].marker)
        for label, name in names.items()
    ]
    entries.append(Line2D([], [], label="the full model", **FULL_LINE))
    if footprint["factored_share"].notna().any():
        entries += [
            Line2D([], [], color="#555555", label="everything a client holds"),
            Line2D([], [], color="#555555", linestyle=FACTORED_LINE, label="factored layers only"),
        ]
    if _is_sparse(footprint):
        entries.append(
            Line2D([], [], color="#555555", linestyle=IDEAL_LINE, label="without masked weights (ideal kernel)")
        )
    # Tables of an earlier version have no column 'model'.
    model = "" if pd.isna(full.get("model")) else str(full["model"])
    return finish(figure, entries, {}, f"Size and work of a client's sub-model: {task}{f' ({model})' if model else ''}")


def _is_sparse(footprint: pd.DataFrame) -> bool:
    """Return whether some sub-model has masked weights, whose products an ideal kernel would leave out."""
    return bool((footprint["ideal_share"] < footprint["macs_share"]).any())


def _names_of_equals(footprint: pd.DataFrame, labels: list[str]) -> dict[str, str]:
    """Return {label: name in the legend}; labels with the same footprint share one line, that of the first."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        series = footprint[footprint["label"] == label].sort_values("keep")
        groups.setdefault(series[["keep", *SHARES]].round(4).to_csv(index=False), []).append(label)
    return {group[0]: _joined(group) for group in groups.values()}


def _joined(labels: list[str]) -> str:
    """Return the labels as one name; the table beside the figure has those that are only counted here."""
    more = len(labels) - NAMED
    return ", ".join(labels) if more <= 1 else f"{', '.join(labels[:NAMED])} and {more} more"


def _finish_panel(panel: Axes, keeps: list[float]) -> None:
    panel.axhline(100, **FULL_LINE)
    panel.set_ylim(bottom=0)
    panel.set_xlim(keeps[0] - 0.08, keeps[-1] + 0.08)
    if len(keeps) <= 8:
        ticks = apart(keeps, TICKS)
        panel.set_xticks(ticks, [f"{keep:g}" for keep in ticks])


def _amount(value: float, unit: str) -> str:
    divisor, unit = prefixed(value, unit)
    return f"{value / divisor:.3g} {unit}".strip()


SPEC = FigureSpec(
    "footprint",
    "parameters and MACs of a client's sub-model as a share of the full model",
    ("footprint",),
    draw,
    numbers,
)
