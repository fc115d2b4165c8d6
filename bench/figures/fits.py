"""Who fits where: methods by budgets, with the keep ratio that fits or the least that a method needs."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.analysis.budgets import order_of
from bench.figures.accuracy_budget import NAMES
from bench.figures.base import FigureSpec, Options, Skip, Tables, slug
from bench.figures.paging import Page, pages
from bench.figures.panels import finish, grid

CELL, ROW, BESIDE = 0.78, 0.2, 0.9  # inches: width of a budget, height of a method, and what stands around them
LETTER = 0.062  # inches of a letter of a method's name
FITTING, NOT = "#cfe3f5", "#f3f3f3"
PER_PAGE = 40
"""Methods on one page."""


def draw(tables: Tables, options: Options) -> list[tuple[str, Figure]]:
    """Return one figure per task: a row per method, a column per budget."""
    return [
        (suffix + page.suffix, _figure(task, rows, page))
        for suffix, task, rows in _tasks(tables)
        for page in pages(_parts(rows), [ROW * len(labels) + BESIDE for labels in _parts(rows)])
    ]


def numbers(tables: Tables, options: Options) -> list[tuple[str, pd.DataFrame]]:
    """Return a row per method, budget, level of its clients and limit: see docs/sweeps.md, table "fits"."""
    return [(suffix, rows.sort_values(["label", "budget", "level"])) for suffix, _, rows in _tasks(tables)]


def _tasks(tables: Tables) -> list[tuple[str, str, pd.DataFrame]]:
    words = dict.fromkeys(("task", "label", "budget", "quantity"), str)
    table = tables["fits"].astype(words)
    if table.empty:
        raise Skip("no cell has a budget")
    return [(slug(str(task)), str(task), rows) for task, rows in table.groupby("task")]


def _parts(rows: pd.DataFrame) -> list[list[str]]:
    """Return the labels of each page, those that fit most budgets first."""
    fitting = rows.groupby(["label", "budget"])["fits"].all().groupby("label").sum()
    order = sorted(fitting.index, key=lambda label: (-fitting[label], label))
    return [order[first : first + PER_PAGE] for first in range(0, len(order), PER_PAGE)]


def _figure(task: str, rows: pd.DataFrame, page: Page) -> Figure:
    labels = [label for part in page.shown for label in part]
    budgets = sorted(set(rows["budget"]), key=lambda budget: (order_of(budget), budget))
    figure, axes = grid(
        1, 1, panel=(max(CELL * len(budgets) + LETTER * max(map(len, labels)) + 0.3, 3.6), ROW * len(labels) + BESIDE)
    )
    panel = axes[0, 0]
    for row, label in enumerate(labels):
        for column, budget in enumerate(budgets):
            here = rows[(rows["label"] == label) & (rows["budget"] == budget)]
            if len(here):
                _square(panel, column, row, here)
    panel.set_xlim(-0.5, len(budgets) - 0.5)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.set_xticks(range(len(budgets)), [budget.replace(" ", "\n").replace(",", ",\n") for budget in budgets])
    panel.set_yticks(range(len(labels)), labels)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.grid(visible=False)
    for spine in panel.spines.values():
        spine.set_visible(False)
    limited = [NAMES[name] for name in NAMES if name in set(rows["quantity"])]
    note = (
        "Blue: the keep ratio that fits, and in brackets the share of the budget that it takes. Grey: nothing fits; "
        f"the number is the least that the method needs, as a share of the full model. Limited: {', '.join(limited)}."
    )
    return finish(figure, [], {}, f"Who fits where: {task}", " ".join(filter(None, [note, page.note])))


def _square(panel: Axes, column: int, row: int, here: pd.DataFrame) -> None:
    """Draw one square: of clients that differ, the range of their keep ratios."""
    inside = bool(here["fits"].all())
    if inside:
        keeps = sorted({f"{keep:.3g}" for keep in here["keep"]}, key=float)
        used = (here["taken"] / here["allowed"]).max()
        words = f"{'-'.join(dict.fromkeys([keeps[0], keeps[-1]]))} ({used:.0%})"
    else:
        over = here[~here["fits"]].iloc[0]
        words = f"needs {over['least'] / over['full']:.2g}"
    panel.add_patch(
        Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=FITTING if inside else NOT, linewidth=0)
    )
    panel.text(column, row, words, ha="center", va="center", fontsize=6.5, color="#111111" if inside else "#595959")


SPEC = FigureSpec(
    "fits",
    "which methods fit which budgets: the keep ratio found, or the least that a method needs",
    ("fits",),
    draw,
    numbers,
)
