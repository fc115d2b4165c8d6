"""Runs cells in local processes of one thread each, one cell at a time in each process.

A process that dies (out of memory, killed) takes its cell with it and nothing else: the cell is reported as failed and
a new process takes over. Cells that another sweep has leased are left to it; this one waits for them.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from bench.cell import Cell
from bench.launch.events import Ended, Event, Lost, Stopped, Waiting
from bench.launch.serving import STOP, serve
from bench.leases import Lease, Leases
from bench.running import record_failure
from bench.runtime import interrupts_held
from bench.store import Record, Store

__all__ = ["run_cells"]

LOOK_SECONDS = 1.0
"""Between two looks at cells that other processes run."""


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    plugins: Iterable[Path],
    device: str,
    jobs: int,
    settled: Callable[[Cell], Record | None] = lambda cell: None,
    stop_after: float = math.inf,
) -> Iterator[Event]:
    """Run cells in up to ``jobs`` processes and yield what happens.

    Closing the generator, or an exception in its consumer, ends the processes; the next run goes on from the
    checkpoints of the cells that were running, and the finished ones are on disk.

    Args:
        cells: what to run, in this order.
        store: where the results go.
        plugins: files of methods the user named.
        device: where models are trained.
        jobs: number of processes.
        settled: returns the record of a cell that another process has ended meanwhile.
        stop_after: seconds after which running cells leave a checkpoint at the end of their round and no other begins.
    """
    crew = _Crew(store, tuple(plugins), device, jobs)
    waiting, deadline = list(cells), time.monotonic() + stop_after
    said: dict[str, str] = {}
    stopping = False
    try:
        while True:
            if not stopping and time.monotonic() >= deadline:
                stopping, deadline = True, math.inf
                crew.stop()
            if stopping:
                waiting.clear()
            holders: dict[str, str] = {}
            yield from _hand_out(waiting, crew, settled, holders)
            if not (waiting or crew.busy):
                break
            if holders and not crew.busy and holders != said:
                said = holders
                yield Waiting(holders)
            pause = LOOK_SECONDS if waiting and crew.has_room else math.inf
            for worker in crew.heard(min(pause, deadline - time.monotonic())):
                cell = worker.cell
                assert cell is not None
                event = worker.receive()
                if worker.dead and not crew.bury(worker, cell, event):
                    event = Lost(cell.folder)
                if isinstance(event, Lost):
                    waiting.append(cell)
                yield event
    finally:
        crew.end()


def _hand_out(
    waiting: list[Cell], crew: _Crew, settled: Callable[[Cell], Record | None], holders: dict[str, str]
) -> Iterator[Event]:
    """Give free cells to free workers; who has the others goes to ``holders``, and what they have ended is yielded."""
    for cell in list(waiting):
        if not crew.has_room:
            return
        holder = crew.leases.holder(cell.folder)
        if holder is not None:
            holders[cell.folder] = holder
            continue
        record = settled(cell)
        if record is None:
            worker = crew.free()
            lease = crew.leases.take(cell.folder, worker.pid)
            if lease is None:  # another was quicker
                continue
            record = settled(cell)  # now that nobody else can end it
            if record is None:
                worker.give(cell, lease)
            else:
                lease.release()
        waiting.remove(cell)
        if record is not None:
            seconds = float(record.facts.get("seconds", 0.0))
            yield Ended(cell.folder, record.state, record.reason, seconds, elsewhere=True)


class _Crew:
    """The processes, at most ``jobs``, started when they are needed."""

    def __init__(self, store: Store, plugins: tuple[Path, ...], device: str, jobs: int) -> None:
        self.store, self.plugins, self.device, self.jobs = store, plugins, device, jobs
        self.leases = Leases(store.unfinished)
        self.workers: list[_Worker] = []

    @property
    def busy(self) -> list[_Worker]:
        """The workers that run a cell."""
        return [worker for worker in self.workers if worker.cell]

    @property
    def has_room(self) -> bool:
        """Whether another cell can be given out."""
        return len(self.busy) < self.jobs

    def free(self) -> _Worker:
        """Return a worker that runs nothing."""
        for worker in self.workers:
            if worker.cell is None:
                return worker
        self.workers.append(_Worker(self.store, self.plugins, self.device))
        return self.workers[-1]

    def heard(self, seconds: float) -> list[_Worker]:
        """Wait for workers to say something, no longer than so many seconds, and return them."""
        busy = self.busy
        ready = wait([worker.pipe for worker in busy], None if math.isinf(seconds) else max(seconds, 0.0))
        return [worker for worker in busy if worker.pipe in ready]

    def bury(self, worker: _Worker, cell: Cell, last: Event) -> bool:
        """Record the failure of a cell whose process died; False if another sweep has taken the cell over."""
        self.workers.remove(worker)
        lease = self.leases.take(cell.folder, os.getpid())
        if lease is None:
            return False
        assert isinstance(last, Ended)
        try:
            record_failure(cell, self.store, last.reason, self.plugins, self.device)
        finally:
            lease.release()
        return True

    def stop(self) -> None:
        """Ask all workers to leave a checkpoint after their round."""
        for worker in self.busy:
            worker.stop()

    def end(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.end()


class _Worker:
    """One process and the cell it is running."""

    def __init__(self, store: Store, plugins: tuple[Path, ...], device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=serve, args=(theirs, store.folder, plugins, device), daemon=False
        )
        with interrupts_held():
            self.process.start()
        theirs.close()
        self.pid = self.process.pid or 0
        self.cell: Cell | None = None
        self.since = 0.0
        self.dead = False

    def give(self, cell: Cell, lease: Lease) -> None:
        """Send a cell to the process."""
        self.cell, self.since = cell, time.perf_counter()
        self._send((cell, lease.token))

    def stop(self) -> None:
        """Ask the process to stop its cell."""
        self._send(STOP)

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):  # a dead process is noticed when its answer is read
            self.pipe.send(message)

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
        if isinstance(event, Ended | Stopped | Lost):
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
