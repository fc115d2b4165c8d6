"""From a plan to tables and figures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from bench.figures.files import save_figure
from bench.figures.style import use_style
from bench.numerics.runtime import cores
from bench.perf import clients, clients_figure, keep, keep_figure, memory, mixed, schema, training, whole_round
from bench.perf.machine import LoadMeter, facts_of, load_average
from bench.perf.plan import Plan
from bench.perf.report import Say
from bench.store.table_files import write_table

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Part:
    """One part of the measurement.

    Attributes:
        measure: returns the rows of the table.
        columns: of the table that is written.
        shown: returns the tables that are printed.
        verdicts: returns a line for each target.
        drawn: returns the figure; None where there is none.
    """

    measure: Callable[[Plan, Say], list[dict[str, Any]]]
    columns: pa.Schema
    shown: Callable[[Rows], list[Table]]
    verdicts: Callable[[Rows], list[str]]
    drawn: Callable[[Rows], Figure] | None = None


PARTS: dict[str, Part] = {
    "training": Part(training.measure, schema.TRAINING, training.shown, training.verdicts),
    "keep": Part(keep.measure, schema.KEEP, keep.shown, keep.verdicts, keep_figure.draw),
    "round": Part(whole_round.measure, schema.ROUND, whole_round.shown, whole_round.verdicts),
    "clients": Part(clients.measure, schema.CLIENTS, clients.shown, clients.verdicts, clients_figure.draw),
    "mixed": Part(mixed.measure, schema.MIXED, mixed.shown, mixed.verdicts),
    "memory": Part(memory.measure, schema.MEMORY, memory.shown, memory.verdicts),
}


def measure(plan: Plan, folder: Path, console: Console) -> None:
    """Measure the parts of a plan; after each, write its table and figure, and print tables and verdicts.

    Args:
        plan: what is measured.
        folder: where tables and figures are written, as ``<part>.parquet``, ``.png`` and ``.pdf``.
        console: where progress, results, and a warning if the machine is not quiet are printed.

    Raises:
        BenchError: the folder cannot be written, or a process that was timed has died.
    """
    here, before = cores(), load_average()
    _make(folder)
    for name in plan.parts:

        def say(line: str, name: str = name, style: str = "") -> None:
            console.print(f"{name}: {line}", style=style, highlight=False, soft_wrap=True, markup=False)

        part, meter = PARTS[name], LoadMeter(here, before)
        measured = part.measure(plan, say)
        load = meter.read()
        rows = [row | facts_of(load, plan.device, here) for row in measured]
        for path in _written(part, rows, folder / name):
            say(f"wrote {path}")
        for table in part.shown(rows):
            console.print(table)
        for line in part.verdicts(rows):
            say(line)
        if warning := load.warning(here):
            say(warning, style="yellow")


def _make(folder: Path) -> None:
    """Make the folder, and a file in it, before minutes are spent on what could not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BenchError(f"{folder}: results cannot be written here: {error.strerror}") from None


def _written(part: Part, rows: Rows, place: Path) -> list[Path]:
    """Write the table of a part and its figure, and return the files."""
    table = place.with_suffix(".parquet")
    write_table(table, pa.Table.from_pylist([dict(row) for row in rows], part.columns))
    if part.drawn is None:
        return [table]
    with use_style():
        return [table, *save_figure(part.drawn(rows), place.parent, place.name)]
