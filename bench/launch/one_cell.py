"""Running one cell for a sweep, whoever does it: what is told meanwhile, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.cell import Cell
from bench.errors import BenchError, Unfinished
from bench.federation.federation import Federation
from bench.launch.events import Again, Ended, Event, Lost, Note, Progress, Started, Stopped
from bench.launch.running import Hooks, describe, run_cell
from bench.processes import tidiness
from bench.processes.failure import Died, is_out_of_memory
from bench.simulation.round import Round
from bench.store import checkpoint
from bench.store.cells import Store
from bench.store.leases import LeaseLost


class Crowded(Unfinished):
    """A cell ran out of a device's memory beside others and shall be tried once more alone."""


def run_one(
    cell: Cell,
    store: Store,
    plugins: tuple[Path, ...],
    device: str,
    workers: int,
    *,
    tell: Callable[[Event], None],
    guard: Callable[[], None] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
    on_checkpoint: Callable[[Path], None] = lambda path: None,
    crowded: bool = False,
) -> Ended | Stopped | Lost | Again:
    """Run a cell and return how that ended; what happens on the way is told.

    Args:
        cell, store, plugins, device, workers: see :func:`bench.launch.running.run_cell`.
        tell: hears of the start, of each round, and of what else is worth a line.
        guard, stop, on_checkpoint: see :class:`bench.launch.running.Hooks`.
        crowded: whether other cells share the device: running out of its memory is then no failure of the cell yet.
    """

    def on_round(federation: Federation, this: Round, row: Mapping[str, Any]) -> None:
        rounds, line = federation.task.recipe.rounds, describe(this, federation)
        tell(Progress(cell.folder, this.number, rounds, line, row))

    def on_failure(error: BaseException) -> None:
        if crowded and is_out_of_memory(error):
            raise Crowded("out of memory beside other cells; it is tried again alone")
        if isinstance(error, Died) and stop():  # who ends a sweep may have sent the signal to all of its processes
            raise checkpoint.Stopped(f"without a further checkpoint: {error}")

    hooks = Hooks(on_round, lambda line: tell(Note(cell.folder, line)), guard, stop, on_checkpoint, on_failure)
    start = time.perf_counter()
    tell(Started(cell.folder))
    try:
        outcome = run_cell(cell, store=store, plugins=plugins, device=device, workers=workers, hooks=hooks)
    except checkpoint.Stopped as stopped:
        return Stopped(cell.folder, str(stopped))
    except LeaseLost:
        return Lost(cell.folder)
    except Crowded as crowd:
        return Again(cell.folder, str(crowd))
    except BenchError as error:  # results cannot be written
        return Ended(cell.folder, "failed", str(error), time.perf_counter() - start, fatal=True)
    seconds, spent = time.perf_counter() - start, tidiness.is_spent()
    return Ended(cell.folder, outcome.status, outcome.reason, seconds, outcome.line, spent=spent)
