"""The command that says what a sweep will take before it is run: ``estimate``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import INTERRUPTED, Device, Jobs, Plugin, Results, SweepFile, out, say
from bench.errors import BenchError, several

if TYPE_CHECKING:
    from bench.estimate.estimates import Estimate
    from bench.launch.events import Event
    from bench.store.cells import Record, Store
    from bench.terminal.columns import Columns

HOUR = 3600.0


def estimate(
    file: SweepFile,
    jobs: Jobs = None,
    only: Annotated[list[str] | None, typer.Option(help="name=value: only the cells that have it.")] = None,
    plugin: Plugin = None,
    device: Device = "auto",
    results: Results = Path("results"),
) -> None:
    """Say what a sweep takes on this machine: hours, core-hours and bytes, from finished cells and short runs."""
    from bench.config.cells import read_sweep
    from bench.config.possible import check_possible
    from bench.estimate.estimates import Estimates
    from bench.estimate.short_runs import where_of
    from bench.launch import sweep as sweeps
    from bench.launch.devices import sweep_device
    from bench.launch.interruption import Interruption
    from bench.store.cells import Store
    from bench.terminal.display import SweepDisplay

    chosen = read_sweep(file, plugin or [])
    for condition in only or []:
        chosen = sweeps.only(chosen, condition)
    place, store = sweep_device(device), Store(results / chosen.name)
    check_possible(list(chosen.cells), place, chosen.plugins)
    known = sweeps.records(chosen, store, chosen.plugins)
    where = where_of(chosen.plugins, place, jobs, len(sweeps.to_run(known)))
    estimates = Estimates(known, store, where)
    interrupted = False
    if estimates.to_measure:
        with (
            Interruption("short runs end, and what is not measured has no estimate") as interruption,
            SweepDisplay(out, len(estimates.to_measure)) as display,
        ):
            estimates.measure(_only_ends(display.show), interruption.wanted)
        interrupted = interruption.asked
    each = estimates.each()
    for table in _tables(each):
        out.print(table)
    say(*_reasons(each), summary(each, where.jobs))
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def at_hand_line(
    file: Path, known: Sequence[Record], store: Store, plugins: tuple[Path, ...], place: str, jobs: int | None
) -> str:
    """Return what is left of a sweep in a line, as far as that is known without a short run, and what measures it."""
    from bench.estimate.estimates import Estimates
    from bench.estimate.short_runs import any_known, where_of
    from bench.launch.sweep import to_run

    hint = f"'python -m bench estimate {file}' measures what they take here"
    if not any_known():
        return hint
    where = where_of(plugins, place, jobs, len(to_run(known)))
    try:
        estimates = Estimates(known, store, where)
    except BenchError:  # data that is not here: running the sweep will say so
        return hint
    each = estimates.each()
    if all(one.seconds is None for one in each):
        return hint
    line = summary(each, where.jobs)
    return f"{line}; {hint}" if estimates.to_measure else line


def summary(each: Sequence[Estimate], jobs: int) -> str:
    """Return what is left of a sweep in a line: cells, core-hours, and how long so many at once take for them."""
    from bench.config.duration import in_words
    from bench.estimate.estimates import whole
    from bench.numerics.runtime import cores

    left = whole(each, jobs)
    if not left.cells:
        return f"this sweep: {several(len(each), 'cell')}, nothing is left to run"
    of = "" if left.cells == len(each) else f" left of {len(each)}"
    what = f"this sweep: {several(left.cells, 'cell')}{of}"
    without = f"; no estimate for {left.unknown}" if left.unknown else ""
    if left.unknown == left.cells:
        return f"{what}{without}"
    core_hours = left.core_seconds / HOUR
    hours = f"{core_hours:.0f}" if core_hours >= 10 else f"{core_hours:.2g}"
    noun = "core" if cores() == 1 else "cores"
    return (
        f"{what}, {hours} core-hours, about {in_words(left.wall_seconds)} on this machine's {cores()} {noun} "
        f"({jobs} at once), {_bytes(left.bytes)} to and from clients{without}"
    )


def _only_ends(show: Callable[[Event], None]) -> Callable[[Event], None]:
    """Leave out the rounds of short runs, whose accuracies say nothing."""
    from bench.launch.events import Ended, Progress

    def shown(event: Event) -> None:
        if isinstance(event, Ended):
            show(replace(event, line=""))
        elif not isinstance(event, Progress):
            show(event)

    return shown


def _tables(each: Iterable[Estimate]) -> list[Columns]:
    """Return a table for each task: cells that differ in seed, alpha or partition are one row."""
    from rich.markup import escape

    from bench.config.duration import in_words
    from bench.terminal.columns import Columns

    groups: dict[tuple[str, ...], list[Estimate]] = defaultdict(list)
    for one in each:
        label = replace(one.cell, budget="", capacities=()).label
        groups[one.cell.task, label, one.cell.profile or f"{one.cell.keep:g}", one.source].append(one)
    tables: dict[str, Columns] = {}
    for (task, label, keep, source), ones in groups.items():
        times = [one.seconds for one in ones if one.seconds is not None]
        sent = [one.bytes for one in ones if one.bytes is not None]
        numbers = in_words(fmean(times)) if times else "", _bytes(fmean(sent)) if sent else ""
        words = label, keep, str(len(ones)), *numbers, source.partition(":")[0] if times else "no estimate"
        if task not in tables:
            tables[task] = Columns(f"{task}: a cell here", "method", "keep", "cells", "time", "sent", "from")
        tables[task].add_row(*map(escape, words))
    return list(tables.values())


def _reasons(each: Iterable[Estimate]) -> list[str]:
    """Return a line for each reason why there is no estimate, or nothing to estimate."""
    from bench.estimate.short_runs import SKIPPED

    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for one in each:
        if one.seconds is None or one.source.startswith(SKIPPED):
            found[one.cell.task, one.cell.method, one.source] += 1
    return [f"{task}, {method} ({several(number, 'cell')}): {why}" for (task, method, why), number in found.items()]


def _bytes(number: float) -> str:
    """Return bytes in decimal units.

    >>> _bytes(2_500_000)
    '2.5 MB'
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"
