"""Runs cells one after the other in this very process: for debuggers, and as the reference for all other engines."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from bench.cell import Cell
from bench.launch.dispatch import Dispatch
from bench.launch.one_cell import run_one
from bench.store.cells import Store
from bench.store.leases import Lease


class InlineCrew:
    """This process, which is also its own and only seat."""

    def __init__(self, store: Store, plugins: tuple[Path, ...], device: str) -> None:
        self.store, self.plugins, self.device = store, plugins, device
        self.pid = os.getpid()
        self._next: tuple[Cell, Lease] | None = None

    @property
    def busy(self) -> bool:
        return self._next is not None

    @property
    def has_room(self) -> bool:
        return self._next is None

    def fits(self, cell: Cell) -> bool:
        return True

    def seat(self, cell: Cell) -> InlineCrew:
        return self

    def give(self, cell: Cell, lease: Lease) -> None:
        self._next = cell, lease

    def hear(self, dispatch: Dispatch, seconds: float) -> None:
        """Run the cell that was given out to its end; where there is none, there is nothing to hear."""
        if self._next is None:
            time.sleep(seconds)
            return
        (cell, lease), self._next = self._next, None
        with lease.held():
            ended = run_one(
                cell,
                self.store,
                self.plugins,
                self.device,
                workers=1,
                tell=dispatch.tell,
                guard=lease.check,
                stop=lambda: dispatch.stopping,
            )
        dispatch.tell(ended)

    def stop(self) -> None:
        """The running cell asks for itself."""

    def end(self) -> None:
        if self._next is not None:
            self._next[1].release()


def hire(store: Store, plugins: tuple[Path, ...], device: str, jobs: int | None, cells: Sequence[Cell]) -> InlineCrew:
    """Return a crew of this process alone."""
    return InlineCrew(store, plugins, device)
