"""Curves over rounds: a row of panels per keep ratio, a column per partition, a line per label."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.analysis.budgets import is_budget, nominal_keeps
from bench.analysis.profiles import split_rows
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import Skip, is_mixed, of_partition, partition_title, partitions_of, spread
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, full_model_line, grid, label_edges, method_entries
from bench.figures.profile_words import panel_title
from bench.figures.style import DASHED, SeriesStyle, counted

OfPanel = Callable[[pd.DataFrame], pd.DataFrame]
"""Returns the rows of a table that belong on a panel: those of its keep ratio, and the full model's."""

PARTITIONS = 4  # at most, in one figure
PANEL = 1.9  # inches, the height of a panel
FLAT = 1e-6  # of a value: what less than that differs from it is the same number
MARKERS = 6  # on one curve
LEAST = 0.02  # of what values are possible, on a vertical axis
ROOM = 0.25  # of the spread of the means, on either side of them, for their intervals


def curves_figure(
    table: pd.DataFrame,
    means: pd.DataFrame,
    styles: Mapping[str, SeriesStyle],
    y: str,
    bounds: tuple[float, float],
    title: str,
    note: str,
    page: Page,
    thin: pd.DataFrame | None = None,
) -> Figure:
    """Return a whole figure of mean curves over rounds, a line per label.

    Args:
        table: the rows that the figure shows.
        means: their curves, as of :func:`bench.analysis.curves.mean_curves`.
        styles: by label.
        y: the label of the vertical axis.
        bounds: what no value can pass.
        title: the heading.
        note: what the curves are.
        page: the rows of panels, of :func:`by_page`.
        thin: further curves, drawn as thin lines behind.
    """

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        if thin is not None:
            draw_curves(panel, of_panel(thin), styles, band=False, marker="", linewidth=0.6, alpha=0.55, linestyle="-")
        draw_curves(panel, of_panel(means), styles, bounds)

    figure, left_out = panels_by_keep(table, draw_panel, "round", y, page, curves=means)
    shown = next(panel for panel in figure.axes if panel.axison)
    shown.set_ylim(limits(means, *([] if thin is None else [thin]), bounds=bounds))
    note = joined(note, seeds_note(means), left_out, page.note)
    return finish(figure, method_entries(table, styles), {"table": table}, title, note)


def by_page(table: pd.DataFrame) -> list[tuple[Page, pd.DataFrame]]:
    """Return the rows of a table in as many parts as it has pages of panels, full models in each."""
    groups = _keeps_of(table)
    parts = pages(groups, PANEL)
    if len(parts) == 1:
        return [(parts[0], table)]
    profiles = split_rows(table)["profile"]
    return [(part, table[_of_groups(table, profiles, part.shown)]) for part in parts]


def _of_groups(
    table: pd.DataFrame, profiles: pd.Series[str], groups: list[tuple[float, str | None]]
) -> pd.Series[bool]:
    chosen = table["method"] == FULL_MODEL
    for keep, profile in groups:
        chosen |= (nominal_keeps(table, profiles) == keep) & (True if profile is None else profiles == profile)
    return chosen


def panels_by_keep(
    table: pd.DataFrame,
    draw_panel: Callable[[Axes, OfPanel], None],
    x: str,
    y: str,
    page: Page,
    share_y: Any = True,
    curves: pd.DataFrame | None = None,
) -> tuple[Figure, str]:
    """Return a figure of panels for the keep ratios and partitions of ``table``, and a note of what is left out.

    Args:
        table: the rows that the figure shows.
        draw_panel: draws one panel; called with it and with the function that picks the rows that belong on it.
        x, y: the labels of the axes; an axis called "round" has whole numbers.
        page: the rows of panels, of :func:`by_page`.
        share_y: which panels share their vertical axis, as matplotlib has it.
        curves: what is drawn: a panel whose curves are all one and the same number throughout is left out, as one
            without a run of its own is, and the note says which.
    """
    keeps, all_partitions = page.shown, partitions_of(table)
    partitions = spread(all_partitions, PARTITIONS)
    figure, axes = grid(len(keeps), len(partitions), panel=(2.4, PANEL), share_y=share_y)
    empty, flat = [], {}
    for row, (keep, profile) in enumerate(keeps):
        for column, (partition, alpha) in enumerate(partitions):
            panel = axes[row, column]

            def of_panel(
                rows: pd.DataFrame,
                keep: float = keep,
                profile: str | None = profile,
                partition: str = partition,
                alpha: float = alpha,
            ) -> pd.DataFrame:
                here = of_partition(rows, partition, alpha)
                profiles = split_rows(here)["profile"]
                of_keep = nominal_keeps(here, profiles) == keep
                if profile is not None:
                    of_keep &= profiles == profile
                return here[of_keep | (here["method"] == FULL_MODEL)]

            if profile:
                title = panel_title(profile, keep, partition, alpha)
            else:
                title = f"{keep_title(table, keep)}; {partition_title(partition, alpha)}"
            if (of_panel(table)["method"] == FULL_MODEL).all() and keeps != [(1.0, None)]:
                empty.append(title.replace("\n", ", "))
                panel.set_axis_off()
                continue
            value = None if curves is None else _flat(of_panel(curves))
            if value is not None and (len(keeps) > 1 or len(partitions) > 1):
                flat[title.replace("\n", ", ")] = value
                panel.set_axis_off()
                continue
            draw_panel(panel, of_panel)
            panel.set_title(title)
            if x == "round":
                panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    if not any(panel.axison for panel in axes.flat):
        raise Skip("nothing changes in any run")
    label_edges(axes, x, y)
    hidden = len(all_partitions) - len(partitions)
    return figure, joined(
        f"Not shown: {counted(hidden, hidden, 'partition')}." if hidden else "", _left_out(empty, flat)
    )


def _flat(curves: pd.DataFrame) -> float | None:
    """Return the one value that all curves of a panel have throughout; None where there are two or none."""
    values = curves["mean"].dropna()
    return (
        float(values.iloc[0]) if len(values) > 1 and values.max() - values.min() <= FLAT * abs(values.max()) else None
    )


def _left_out(empty: list[str], flat: Mapping[str, float]) -> str:
    """Return the words for the panels that are left out."""
    throughout = [f"{title} ({value:.3g})" for title, value in flat.items()]
    return joined(
        f"No run, and no panel: {'; '.join(empty)}." if empty else "",
        f"The same number throughout, and no panel: {'; '.join(throughout)}." if flat else "",
    )


def _keeps_of(table: pd.DataFrame) -> list[tuple[float, str | None]]:
    """Return the (keep ratio, profile) of each row of panels; without several profiles, the keep ratio alone counts."""
    sub_models = table[table["method"] != FULL_MODEL]
    profiles = split_rows(sub_models)["profile"]
    if profiles[profiles != ""].nunique() < 2 and not any(map(is_budget, set(profiles))):
        return [(keep, None) for keep in sorted(sub_models["keep"].unique())] or [(1.0, None)]
    return sorted(set(zip(nominal_keeps(sub_models, profiles), profiles, strict=True)))


def keep_title(table: pd.DataFrame, keep: float) -> str:
    """Return the words for a keep ratio above a panel; the clients may have it on average only."""
    here = table[(table["keep"] == keep) & (table["method"] != FULL_MODEL)]
    return f"mean keep {keep:.3g}" if is_mixed(here) else f"keep {keep:g}"


def draw_curves(
    panel: Axes,
    means: pd.DataFrame,
    styles: Mapping[str, SeriesStyle],
    bounds: tuple[float, float] | None = None,
    markers: bool = True,
    band: bool = True,
    **look: Any,
) -> None:
    """Draw the mean curve of each label and its interval.

    Args:
        panel: where to.
        means: the rows of :func:`bench.analysis.curves.mean_curves` that belong on it.
        styles: by label.
        bounds: what no value can pass; the intervals are cut there.
        markers: whether to set the labels' markers on the curves; without, a single point is a dash.
        band: whether to draw the intervals.
        look: further options of ``Axes.plot``.
    """
    labels = [label for label in styles if (means["label"] == label).any()]
    for position, label in enumerate(labels):
        curve = means[means["label"] == label].sort_values("x")
        style = styles[label]
        options = {"linewidth": 1.3, "markersize": 4} | style.plot_options()
        if (curve["method"] == FULL_MODEL).all():
            options |= full_model_line(style) | {"zorder": 4, "marker": "o" if len(curve) == 1 else ""}
        elif not markers:
            options["marker"] = "_" if len(curve) == 1 else ""
        step = max(1, len(curve) // MARKERS)
        every = (position * step // len(labels), step)
        panel.plot(curve["x"], curve["mean"], **(options | look), markevery=every)
        if band:
            _draw_band(panel, curve.dropna(subset=["low"]), style.colour, bounds)


def _draw_band(panel: Axes, curve: pd.DataFrame, colour: str, bounds: tuple[float, float] | None) -> None:
    low, high = curve["low"], curve["high"]
    if bounds is not None:
        low, high = low.clip(lower=bounds[0]), high.clip(upper=bounds[1])
    panel.fill_between(curve["x"], low, high, color=colour, alpha=0.12, linewidth=0)


def with_line(styles: Mapping[str, SeriesStyle], line: Any) -> dict[str, SeriesStyle]:
    """Return the styles with the same line for all labels, where the line tells something else apart."""
    return {label: replace(style, line=line) for label, style in styles.items()}


def line_entries(solid: str, dashed: str) -> list[Line2D]:
    """Return the legend entries for what solid and dashed lines mean."""
    grey = "#555555"
    return [Line2D([], [], color=grey, label=solid), Line2D([], [], color=grey, linestyle=DASHED, label=dashed)]


def in_percent(means: pd.DataFrame) -> pd.DataFrame:
    """Return mean curves of shares as percentages."""
    return means.assign(**{name: 100 * means[name] for name in ("mean", "low", "high")})


def limits(*frames: pd.DataFrame, bounds: tuple[float, float] | None = None) -> tuple[float, float]:
    """Return the limits of an axis on which the means, and the part of their intervals near them, can be read.

    Few seeds that differ much have intervals many times as wide as what the means differ by.

    Args:
        frames: tables with the columns ``mean``, ``low`` and ``high``.
        bounds: what no value can pass.

    Returns:
        (bottom, top); 0 and 1 where there is no mean.
    """
    means = pd.concat([frame["mean"] for frame in frames])
    ends = pd.concat([frame[["low", "high"]] for frame in frames])
    if means.isna().all():
        return 0.0, 1.0
    low, high = float(means.min()), float(means.max())
    room = max(ROOM * (high - low), 0.02 * max(abs(low), abs(high)), 1e-6)
    bottom = max(min(low, float(ends["low"].min())), low - room) if ends["low"].notna().any() else low
    top = min(max(high, float(ends["high"].max())), high + room) if ends["high"].notna().any() else high
    if bounds is not None:
        bottom, top = max(bottom, bounds[0]), min(top, bounds[1])
        if math.isfinite(least := LEAST * (bounds[1] - bounds[0])) and top - bottom < least:
            # Values that are all the same would have an axis of no height.
            bottom = min(max(bottom - (least - (top - bottom)) / 2, bounds[0]), bounds[1] - least)
            top = bottom + least
    margin = max(0.06 * (top - bottom), 1e-6)
    return bottom - margin, top + margin


def seeds_note(means: pd.DataFrame) -> str:
    """Return the words for the bands, where there are some."""
    return "Bands: 95 % t-interval over seeds." if (means["seeds"] > 1).any() else ""


def joined(*notes: str) -> str:
    """Return the notes that say something, as one text."""
    return " ".join(note for note in notes if note)
