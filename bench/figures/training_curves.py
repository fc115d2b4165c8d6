"""Test accuracy during training, against rounds, bytes, MACs or seconds (PriSM, Figures 5 and 6)."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.analysis.curves import cell_curves, macs_column, training_curves
from bench.analysis.profiles import split_label
from bench.analysis.tables import FULL_MODEL
from bench.figures.base import FigureSpec, Options, Skip, Tables, by_task
from bench.figures.chance import draw_chance
from bench.figures.cost_axis import axis_of
from bench.figures.curve_panels import OfPanel, by_page, draw_curves, in_percent, joined, panels_by_keep, seeds_note
from bench.figures.paging import Page
from bench.figures.panels import finish, method_entries
from bench.figures.style import SeriesStyle, series_styles

MANY = 7  # series beside the full model, from which on only
BEST = 4  # of them, and those in front, are in colour and have intervals only if they are asked for
GREY = "#b5b5b5"
BEHIND = SeriesStyle(GREY, "", "-", "full")


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task and page: a row of panels per keep ratio, a column per partition, curves of labels."""
    rounds = tables["rounds"]
    styles = series_styles(rounds)
    figures = [
        (f"{suffix}-{options.x}{page.suffix}", _figure(task, part, styles, options, page))
        for suffix, task, rows in by_task(rounds)
        if rows["test_acc"].notna().any()
        for page, part in by_page(rows)
    ]
    if not figures:
        raise Skip("no cell has a test accuracy")
    return figures


def _figure(task: str, rounds: pd.DataFrame, styles: dict[str, SeriesStyle], options: Options, page: Page) -> Figure:
    x = options.x
    means, cells = training_curves(rounds, x), cell_curves(rounds, x)
    diverged = cells[cells["status"] == "diverged"]
    divisor, x_label = axis_of(x, cells["x"].max(), macs_column(rounds))
    means = in_percent(means.assign(x=means["x"] / divisor))
    diverged = diverged.assign(x=diverged["x"] / divisor, value=100 * diverged["value"])
    behind = _behind(means, styles)
    bands = options.bands or not behind
    # Settings of one method differ more where they need not differ from those behind.
    styles = {**styles, **series_styles(rounds[~rounds["label"].isin(behind)])}
    # Those behind are drawn first, and all look the same.
    shown = dict.fromkeys(behind, BEHIND) | {label: styles[label] for label in styles if label not in behind}

    def draw_panel(panel: Axes, of_panel: OfPanel) -> None:
        here = of_panel(means)
        draw_curves(panel, here[here["label"].isin(behind)], shown, band=False, linewidth=0.9, zorder=1.5)
        draw_curves(panel, here[~here["label"].isin(behind)], shown, bounds=(0, 100), band=bands)
        _draw_diverged(panel, of_panel(diverged), shown)

    figure, left_out = panels_by_keep(
        rounds, draw_panel, x_label, "test accuracy (%)", page, share_y="col", curves=means
    )
    chance = draw_chance(figure.axes, rounds)
    notes = [_behind_note(behind), seeds_note(means) if bands else "", chance.note]
    if x == "seconds":
        notes.append("Wall clock of the simulation without its evaluations and diagnoses.")
    if len(diverged):
        notes.append("Thin lines to a cross: runs that diverged, not in the means.")
    title = f"Accuracy during training: {task}"
    rest = [Line2D([], [], color=GREY, linewidth=0.9, label="the others")] if behind else []
    in_colour = {label: style for label, style in styles.items() if label not in behind}
    entries = [*method_entries(rounds, in_colour), *rest, *chance.entries]
    return finish(figure, entries, {"rounds": rounds}, title, joined(*notes, left_out, page.note))


def _behind(means: pd.DataFrame, styles: dict[str, SeriesStyle]) -> list[str]:
    """Return the labels that are grey: where there are many, all but the best at the end and those in front.

    The best are those of the highest mean rank over the panels that they are in; labels that differ in their profile
    of clients alone look the same, and go together.
    """
    last = means.sort_values("round").drop_duplicates(["label", "keep", "partition", "alpha"], keep="last")
    last = last[last["method"] != FULL_MODEL].astype({"label": str, "method": str})
    last["name"] = [split_label(*pair)[0] for pair in zip(last["label"], last["method"], strict=True)]
    front = {name for name, label in zip(last["name"], last["label"], strict=True) if styles[label].front}
    names = [name for name in dict.fromkeys(last["name"]) if name not in front]
    if len(names) + len(front) < MANY:
        return []
    ranks = last.groupby(["keep", "partition", "alpha"], dropna=False, observed=True)["mean"].rank(pct=True)
    order = ranks.groupby(last["name"]).mean().sort_values(ascending=False, kind="stable")
    kept = {*front, *[name for name in order.index if name not in front][:BEST]}
    return [label for label, name in zip(last["label"], last["name"], strict=True) if name not in kept]


def _behind_note(labels: list[str]) -> str:
    names = sorted({label.partition(", keep ")[0] for label in labels})
    if not names:
        return ""
    return f"In colour: the best at the end, and what is in front. Grey: {', '.join(names)}."


def _draw_diverged(panel: Axes, cells: pd.DataFrame, styles: dict[str, SeriesStyle]) -> None:
    for _, curve in cells.groupby("cell", observed=True):
        colour = styles[str(curve["label"].iloc[0])].colour
        panel.plot(curve["x"], curve["value"], color=colour, linewidth=0.7, alpha=0.7)
        panel.plot(curve["x"].iloc[-1], curve["value"].iloc[-1], "x", color=colour)


SPEC = FigureSpec(
    "training-curves",
    "test accuracy during training, one panel per keep ratio and partition",
    ("rounds",),
    draw,
)
