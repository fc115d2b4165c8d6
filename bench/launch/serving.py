"""What a process of a sweep does: it runs the cells that come through a pipe until the pipe is closed."""

from __future__ import annotations

import contextlib
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from bench import checkpoint
from bench.cell import Cell
from bench.errors import BenchError
from bench.federation import Federation
from bench.launch.events import Ended, Lost, Note, Progress, Started, Stopped
from bench.leases import Lease, LeaseLost, Leases
from bench.running import Hooks, describe, run_cell
from bench.simulator import Round
from bench.store import Store

STOP = None
"""Sent in place of a cell: the running one shall leave a checkpoint and end."""


def serve(pipe: Connection, folder: Path, plugins: tuple[Path, ...], device: str) -> None:
    """Run cells, each sent with the token of its lease, which the parent has taken in this process's name."""
    # An interruption from the keyboard reaches the whole group of processes; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    store = Store(folder)
    leases = Leases(store.unfinished)
    while True:
        try:
            message = pipe.recv()
            if message is not STOP:
                cell, token = message
                pipe.send(_run(cell, Lease(leases, cell.folder, token), store, plugins, device, pipe))
        except (EOFError, OSError):  # the parent is gone
            return


def _run(
    cell: Cell, lease: Lease, store: Store, plugins: tuple[Path, ...], device: str, pipe: Connection
) -> Ended | Stopped | Lost:
    def on_round(federation: Federation, this: Round) -> None:
        say(Progress(cell.folder, this.number, federation.task.recipe.rounds, describe(this, federation)))

    def say(event: Started | Note | Progress) -> None:
        with contextlib.suppress(OSError):  # the parent is gone: the cell stops after this round
            pipe.send(event)

    def stop() -> bool:
        """Return whether the parent has sent ``STOP`` or is gone."""
        return pipe.poll()

    hooks = Hooks(on_round, lambda line: say(Note(cell.folder, line)), lease.check, stop)
    start = time.perf_counter()
    with lease.held():
        try:
            say(Started(cell.folder))
            outcome = run_cell(cell, store=store, plugins=plugins, device=device, hooks=hooks)
        except checkpoint.Stopped as stopped:
            return Stopped(cell.folder, str(stopped))
        except LeaseLost:
            return Lost(cell.folder)
        except BenchError as error:
            return Ended(cell.folder, "failed", str(error), time.perf_counter() - start, fatal=True)
    return Ended(cell.folder, outcome.status, outcome.reason, time.perf_counter() - start, outcome.line)
