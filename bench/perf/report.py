"""What the printed tables have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich import box
from rich.table import Table

Say = Callable[[str], None]
"""Told what is under way."""


def split_by(column: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield each value of a column with its rows, which lie together."""
    for value, group in groupby(rows, itemgetter(column)):
        yield value, list(group)


def filled(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    note: str,
    line: Callable[[Mapping[str, Any]], Sequence[str]],
) -> Table:
    """Return a table: what it shows and on which machine, a line for each row, and a note on how to read it.

    All columns but the first hold numbers.
    """
    first = rows[0]
    device = first["accelerator"] or f"{first['processor']} ({first['isa_torch']}, {bf16_words(first)})"
    machine = f"{device}, {first['cores']} cores, torch {first['torch']}"
    times = first["repetitions"]
    taken = f"median (least-most) of {times} interleaved repetitions" if times > 1 else "measured once"
    table = Table(
        title=f"{title}; stand-in data; {machine}; {taken}",
        caption=note,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*line(row))
    return table


def bf16_words(row: Mapping[str, Any]) -> str:
    """Return what bfloat16 is on the processor of a row, in words."""
    return "bf16 native" if row["bf16_native"] else "bf16 emulated"


def ranged(row: Mapping[str, Any]) -> str:
    """Return a median of seconds with its range."""
    return f"{row['seconds']:.3g} ({row['seconds_min']:.3g}-{row['seconds_max']:.3g})"
