"""A comparison in the terminal: a table for each setting, or plain lines where there is no terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from rich.box import HORIZONTALS
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.analysis import budgets
from bench.analysis.interval import CONFIDENCE
from bench.analysis.paired import AHEAD, BEHIND
from bench.analysis.profiles import split_label
from bench.errors import several

WIDTH = 80
COLOURS = {AHEAD: "green", BEHIND: "red"}
Row = Mapping[Any, Any]


def show(table: pd.DataFrame, console: Console) -> None:
    """Print the table, a part for each setting and keep ratio: a grid on a terminal, otherwise a line for each row."""
    for heading, rows in parts(table):
        lines = textwrap.wrap(heading, WIDTH, break_on_hyphens=False)
        if console.is_terminal:
            console.print(Text("\n".join(lines), "bold"))
            console.print(_grid(rows))
        else:
            text = "\n".join([*lines, *(f"  {line_of(row)}" for row in rows)])
            console.out(text, highlight=False)
    console.out(foot(table), highlight=False)


def parts(table: pd.DataFrame) -> Iterator[tuple[str, list[dict[Any, Any]]]]:
    """Yield the heading and the rows of each setting and keep ratio, in the order of the table."""
    keeps = [keep_of(row) for row in table.to_dict("records")]
    for (_, keep), rows in table.assign(part=keeps).groupby(["setting", "part"], sort=False):
        own = rows.to_dict("records")
        yield _heading(str(keep), own), own


def keep_of(row: Row) -> str:
    """Return the keep ratios of a row in words: those of the one of the two that has some."""
    for side in ("", "other_"):
        if row[f"{side}capacities"]:
            return budgets.heading(row[f"{side}capacities"])
        if row[f"{side}keep"] != 1:
            return f"keep {row[f'{side}keep']:g}"
    return "keep 1"


def _heading(keep: str, rows: list[dict[Any, Any]]) -> str:
    row = rows[0]
    alpha = row["alpha"]
    spread = row["partition"] if math.isnan(alpha) or math.isinf(alpha) else f"{row['partition']} {alpha:g}"
    seeds = several(max(row["seeds"] for row in rows), "seed")
    return (
        f"{own_name(row)} on {row['task']}, {keep}, {spread}: {row['data_title']}, {row['model']}, "
        f"{several(row['rounds'], 'round')}, {seeds}"
    )


def _grid(rows: list[dict[Any, Any]]) -> Table:
    # Without lines between its columns: a name, two accuracies, an interval and a word are to fit in 80 characters.
    table = Table(box=HORIZONTALS, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("against", overflow="fold", min_width=23)
    for name in ("own %", "its %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("difference (points)", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        word = row["verdict"]
        table.add_row(
            escape(_name(row)),
            _percent(row["acc"]),
            _percent(row["other_acc"]),
            _difference(row),
            str(row["pairs"]),
            f"[{COLOURS[word]}]{word}[/]" if word else escape(reason_of(row)),
        )
    return table


def line_of(row: Row) -> str:
    """Return a row in one line of words."""
    both = f"{_percent(row['acc']) or '-'} % against {_percent(row['other_acc']) or '-'} %"
    difference = f", difference {_difference(row)}" if row["pairs"] else ""
    seeds = f" over {several(row['pairs'], 'seed')}" if row["pairs"] else ""
    word = row["verdict"] or reason_of(row)
    return f"{_name(row)}: {both}{difference}{seeds}{f': {word}' if word else ''}"


def reason_of(row: Row) -> str:
    """Return why a row says no more than it does, in words; empty where there is an interval over all seeds."""
    words = []
    if row["diverged"]:
        words.append(f"own diverged in {row['diverged']} of {row['seeds']}")
    if row["other_diverged"]:
        words.append(f"it diverged in {row['other_diverged']} of {row['other_seeds']}")
    if not row["common"]:
        words.append("no seed in common")
    elif row["pairs"] == 1:
        words.append("no interval")
    return ", ".join(words)


def foot(table: pd.DataFrame) -> str:
    """Return how to read the table."""
    intervals = int(table["low"].notna().sum())
    lines = [
        "Accuracy: mean of the last evaluations on the whole test set. Difference: that of the method less the other's "
        f"within each seed, its mean and {CONFIDENCE:.0%} t-interval over the seeds."
    ]
    if intervals > 1:
        by_chance = (1 - CONFIDENCE) * intervals
        lines.append(
            f"Each stands on its own: of {intervals} intervals {by_chance:.1f} leave zero out by chance on average."
        )
    if (table["pairs"] == 1).any():
        lines.append("One seed in common has no interval: its difference ranks nothing.")
    if table["stand_in"].any():
        lines.append("Stand-in data: it shows that all works, and ranks no method on real data.")
    return "\n".join(part for line in lines for part in textwrap.wrap(line, WIDTH))


def own_name(row: Row) -> str:
    """Return the label of the method, without the keep ratios that the heading has."""
    return split_label(str(row["label"]), str(row["method"]))[0]


def other_name(row: Row) -> str:
    """Return the label of the other, without its keep ratios."""
    return split_label(str(row["other"]), str(row["other_method"]))[0]


def _name(row: Row) -> str:
    whole = row["other_keep"] == 1 and not row["other_capacities"] and row["keep"] != 1
    return f"{other_name(row)}, full model" if whole else other_name(row)


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}"


def _difference(row: Row) -> str:
    if math.isnan(row["difference"]):
        return ""
    words = f"{100 * row['difference']:+.1f}"
    return words if math.isnan(row["low"]) else f"{words} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
