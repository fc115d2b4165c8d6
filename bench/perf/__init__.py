"""How fast the harness trains, as a ratio to a bare PyTorch loop on the same models and batches in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from bench.perf.contenders import Contender, Runner, contenders
from bench.perf.machine import LoadMeter
from bench.perf.report import facts_of, rows_of, shown, table_of
from bench.perf.workloads import cell_of, chosen
from bench.runtime import cores
from bench.store import write_table


def measure(device: str, repetitions: int, tasks: Sequence[str], folder: Path, console: Console) -> Table:
    """Time the contenders on each task, write ``perf.parquet`` and return the table to print.

    Args:
        device: where models are trained: "cpu", "cuda" or "mps".
        repetitions: how often each contender trains a cohort; the contenders take turns and medians count.
        tasks: names of the tasks; all of them if empty.
        folder: where the table is written.
        console: where progress, and a warning if the machine is not quiet, are printed.

    Raises:
        BenchError: a task is unknown, or the table cannot be written.
    """
    here = cores()
    _make(folder)
    rows: list[dict[str, Any]] = []
    for task in chosen(tasks):
        meter = LoadMeter(here)
        rates = _rates(task, device, repetitions, here, console)
        load = meter.read()
        rows += [row | facts_of(load, device, here) for row in rows_of(task, rates)]
        if warning := load.warning(here):
            console.print(f"{task}: {warning}", style="yellow", highlight=False, soft_wrap=True)
    path = folder / "perf.parquet"
    write_table(path, table_of(rows))
    console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    return shown(rows)


def _make(folder: Path) -> None:
    """Make the folder before minutes are spent on what could not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder}: results cannot be written here: {error.strerror}") from None


def _rates(task: str, device: str, repetitions: int, here: int, console: Console) -> dict[Contender, list[float]]:
    """Return the samples per second of each contender and repetition.

    The first cohort of each is not counted: it starts the workers, maps the data and fills the caches of kernels.
    """
    cell = cell_of(task, here)
    with ExitStack() as stack:
        runners = []
        for contender in contenders(device, here):
            console.print(f"{task}: {contender} warms up", highlight=False)
            runner = stack.enter_context(closing(Runner(contender, cell, device)))
            runner.samples_per_s(1)
            runners.append(runner)
        rates: dict[Contender, list[float]] = {runner.contender: [] for runner in runners}
        for repetition in range(repetitions):
            console.print(f"{task}: repetition {repetition + 1} of {repetitions}", highlight=False)
            for runner in runners:
                rates[runner.contender].append(runner.samples_per_s(repetition + 2))
    return rates
