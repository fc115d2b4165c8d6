"""Runs cells in local processes of one thread each, one cell at a time in each process.

A process that dies (out of memory, killed) takes its cell with it and nothing else: the cell is reported as failed and
a new process takes over.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from bench.cell import Cell
from bench.errors import BenchError
from bench.federation import Federation
from bench.launch.events import Ended, Event, Progress, Started
from bench.running import describe, record_failure, run_cell
from bench.runtime import interrupts_held
from bench.simulator import Round
from bench.store import Store

__all__ = ["run_cells"]


def run_cells(cells: Sequence[Cell], store: Store, plugins: Iterable[Path], device: str, jobs: int) -> Iterator[Event]:
    """Run cells in up to ``jobs`` processes and yield what happens.

    Closing the generator, or an exception in its consumer, ends the processes; cells that were running are lost, and
    the finished ones are on disk.

    Args:
        cells: what to run, in this order.
        store: where the results go.
        plugins: files of methods the user named.
        device: where models are trained.
        jobs: number of processes.
    """
    waiting = list(reversed(cells))
    plugins = tuple(plugins)
    crew: list[_Worker] = []
    try:
        while waiting or any(worker.cell for worker in crew):
            while waiting and len(crew) < jobs:
                crew.append(_Worker(store, plugins, device))
            for worker in crew:
                if worker.cell is None and waiting:
                    worker.give(waiting.pop())
            for ready in wait([worker.pipe for worker in crew if worker.cell]):
                worker = next(worker for worker in crew if worker.pipe is ready)
                cell = worker.cell
                event = worker.receive()
                if worker.dead:
                    crew.remove(worker)
                    assert cell is not None and isinstance(event, Ended)
                    record_failure(cell, store, event.reason, plugins, device)
                yield event
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """One process and the cell it is running."""

    def __init__(self, store: Store, plugins: tuple[Path, ...], device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, store.folder, plugins, device), daemon=False
        )
        with interrupts_held():
            self.process.start()
        theirs.close()
        self.cell: Cell | None = None
        self.since = 0.0
        self.dead = False

    def give(self, cell: Cell) -> None:
        """Send a cell to the process."""
        self.cell, self.since = cell, time.perf_counter()
        with contextlib.suppress(OSError):  # a dead process is noticed when its answer is read
            self.pipe.send(cell)

    def receive(self) -> Event:
        """Return the next event; the death of the process ends its cell."""
        assert self.cell is not None
        try:
            event: Event = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            self.dead = True
            reason = f"the process that ran it ended with {_exit_words(self.process.exitcode)}"
            event = Ended(self.cell.folder, "failed", reason, time.perf_counter() - self.since)
        if isinstance(event, Ended):
            self.cell = None
        return event

    def end(self) -> None:
        """End the process."""
        self.pipe.close()
        if self.cell is not None:
            self.process.terminate()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _exit_words(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(pipe: Connection, folder: Path, plugins: tuple[Path, ...], device: str) -> None:
    """Run the cells that come through the pipe until it is closed."""
    # An interruption from the keyboard reaches the whole group of processes; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    store = Store(folder)
    while True:
        try:
            cell: Cell = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(Started(cell.folder))
            pipe.send(_run(cell, store, plugins, device, pipe))
        except OSError:  # the parent is gone
            return


def _run(cell: Cell, store: Store, plugins: tuple[Path, ...], device: str, pipe: Connection) -> Ended:
    def on_round(federation: Federation, this: Round) -> None:
        rounds = federation.task.recipe.rounds
        try:
            pipe.send(Progress(cell.folder, this.number, rounds, describe(this, federation)))
        except OSError:  # the parent is gone: the cell is interrupted, not failed
            raise SystemExit from None

    start = time.perf_counter()
    try:
        outcome = run_cell(cell, store=store, plugins=plugins, device=device, on_round=on_round)
    except BenchError as error:
        return Ended(cell.folder, "failed", str(error), time.perf_counter() - start, fatal=True)
    return Ended(cell.folder, outcome.status, outcome.reason, time.perf_counter() - start, outcome.line)
