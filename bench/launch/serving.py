"""What a process of a sweep does: it runs the cells that come through a pipe until the pipe is closed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from bench.cell import Cell
from bench.launch.events import Event
from bench.launch.one_cell import run_one
from bench.launch.packing import Share
from bench.store.cells import Store
from bench.store.leases import Lease, Leases

STOP = None
"""Sent in place of a job: the running cell shall leave a checkpoint and end."""


@dataclass(frozen=True)
class Job:
    """A cell and what it may use.

    Attributes:
        cell: what to run.
        token: of its lease, which the parent has taken in this process's name.
        workers: processes that train its clients.
        share: its part of an accelerator; None for all of it.
    """

    cell: Cell
    token: str
    workers: int
    share: Share | None


def serve(pipe: Connection, folder: Path, plugins: tuple[Path, ...], device: str) -> None:
    """Run cells, each sent as a job."""
    store = Store(folder)
    leases = Leases(store.unfinished)

    def tell(event: Event) -> None:
        with contextlib.suppress(OSError):  # the parent is gone: the cell stops after this round
            pipe.send(event)

    while True:
        try:
            job = pipe.recv()
            if job is STOP:
                continue
            lease = Lease(leases, job.cell.folder, job.token)
            if job.share:
                job.share.claim(device)
            with lease.held():
                ended = run_one(
                    job.cell,
                    store,
                    plugins,
                    device,
                    job.workers,
                    tell=tell,
                    guard=lease.check,
                    stop=pipe.poll,  # true where the parent has sent ``STOP`` or is gone
                    crowded=job.share is not None and job.share.crowded,
                )
            pipe.send(ended)
        except (EOFError, OSError):  # the parent is gone
            return
