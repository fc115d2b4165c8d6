"""Runs cells in processes of this machine, one cell at a time in each.

A process that dies (out of memory, killed) takes its cell with it and nothing else: the cell is reported as failed and
a new process takes over.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

from bench.cell import Cell
from bench.launch.devices import free_bytes
from bench.launch.dispatch import Dispatch
from bench.launch.events import Again, Ended, Event, Lost, Stopped
from bench.launch.packing import Packing, Share, kind_of, measured
from bench.launch.running import record_failure
from bench.launch.serving import STOP, Job, serve
from bench.numerics.runtime import cores
from bench.processes.children import END_SECONDS, Child, heard
from bench.store.cells import Store
from bench.store.leases import Lease, LeaseLost, Leases


class LocalCrew:
    """Processes, started when they are needed.

    On the CPU the cores are shared out: with fewer processes than cores, each trains the clients of its cell in several
    workers. The numbers do not depend on that.

    Args:
        store: where the results go.
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        jobs: number of cells that run at once, at most.
        packing: which cells go together onto an accelerator; None where they need not be placed.
    """

    def __init__(
        self, store: Store, plugins: tuple[Path, ...], device: str, jobs: int, packing: Packing | None = None
    ) -> None:
        self.store, self.plugins, self.device, self.jobs, self.packing = store, plugins, device, jobs, packing
        self.training_workers = max(1, cores() // jobs) if device == "cpu" else 1
        self.leases = Leases(store.unfinished)
        self.processes: list[_Process] = []

    @property
    def busy(self) -> bool:
        return bool(self._running())

    @property
    def has_room(self) -> bool:
        return len(self._running()) < self.jobs

    def fits(self, cell: Cell) -> bool:
        return self.packing is None or self.packing.place(cell) is not None

    def seat(self, cell: Cell) -> _Process:
        # One that has died meanwhile, or is about to, would take a cell with it that it has not begun.
        self.processes = [process for process in self.processes if process.cell or not process.has_ended]
        for process in self.processes:
            if process.cell is None:
                return process
        self.processes.append(_Process(self))
        return self.processes[-1]

    def hear(self, dispatch: Dispatch, seconds: float) -> None:
        for process in heard(self._running(), seconds):
            dispatch.tell(self._heard(process, dispatch.stopping))

    def stop(self) -> None:
        for process in self._running():
            process.send(STOP)

    def end(self) -> None:
        for process in self.processes:
            process.ask_to_end(at_once=process.cell is not None)
        until = time.monotonic() + END_SECONDS
        for process in self.processes:
            process.end(max(until - time.monotonic(), 0.0))

    def _running(self) -> list[_Process]:
        return [process for process in self.processes if process.cell]

    def _heard(self, process: _Process, stopping: bool) -> Event:
        """Return the next event of a process; its death ends its cell."""
        cell, event = process.cell, process.receive()
        assert cell is not None
        if event is None:
            self.processes.remove(process)
            event = self._bury(process, cell, stopping)
        if isinstance(event, Ended | Stopped | Lost | Again):
            process.cell = None
            if self.packing is not None:
                self._leave_device(self.packing, process, cell, event)
            elif isinstance(event, Ended) and event.spent:
                self.processes.remove(process)
                process.end(at_once=True)
        return event

    def _leave_device(self, packing: Packing, process: _Process, cell: Cell, event: Event) -> None:
        packing.end(cell, crowded_out=isinstance(event, Again))
        if process in self.processes:  # only its end gives all of the device's memory back
            self.processes.remove(process)
            process.end()
        if isinstance(event, Ended) and event.status == "done":
            packing.learn_from(self.store, cell)

    def _bury(self, process: _Process, cell: Cell, stopping: bool) -> Event:
        """Record the failure of a cell whose process died, unless another sweep has taken the cell over.

        While the sweep stops it is no failure: who ends a sweep may have sent the signal to all of its processes.
        """
        if stopping:
            return Stopped(cell.folder, f"with {process.ending}, without a further checkpoint")
        lease = self.leases.take(cell.folder, os.getpid())
        if lease is None:
            return Lost(cell.folder)
        reason = f"the process that ran it ended with {process.ending}"
        try:
            record_failure(cell, self.store, reason, self.plugins, self.device)
        except LeaseLost:
            return Lost(cell.folder)
        finally:
            lease.release()
        return Ended(cell.folder, "failed", reason, time.perf_counter() - process.since)


class _Process(Child):
    """One process and the cell it is running."""

    def __init__(self, crew: LocalCrew) -> None:
        super().__init__(serve, crew.store.folder, crew.plugins, crew.device)
        self.crew = crew
        self.cell: Cell | None = None
        self.since = 0.0

    def give(self, cell: Cell, lease: Lease) -> None:
        self.cell, self.since = cell, time.perf_counter()
        share: Share | None = self.crew.packing.begin(cell) if self.crew.packing is not None else None
        self.begin_work()
        self.send(Job(cell, lease.token, self.crew.training_workers, share))


def hire(store: Store, plugins: tuple[Path, ...], device: str, jobs: int | None, cells: Sequence[Cell]) -> LocalCrew:
    """Return a crew of local processes.

    Args:
        store: where the results go.
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        jobs: number of cells that run at once; None for all cores, or on an accelerator for as many as fit its memory.
        cells: what will be run.
    """
    if not device.startswith("cuda"):
        return LocalCrew(store, plugins, device, min(jobs or (cores() if device == "cpu" else 1), len(cells)))
    devices = free_bytes(device)
    if jobs is not None:
        each = math.ceil(jobs / len(devices))
        return LocalCrew(store, plugins, "cuda", jobs, Packing(devices, each=each))
    packing = Packing(devices, measured(store, {kind_of(cell) for cell in cells}))
    return LocalCrew(store, plugins, "cuda", max(cores(), len(devices)), packing)
