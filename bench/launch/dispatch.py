"""Hands the cells of a sweep out to whoever runs them: this process, processes beside it, or a cluster.

Each cell is leased before it is given out. Cells that another sweep has leased are left to it; this one waits for them
and takes them over if their owner is gone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from bench.cell import Cell
from bench.launch.events import Again, Ended, Event, Lost, Stopped, Waiting
from bench.store.cells import Record
from bench.store.leases import Lease, Leases

LOOK_SECONDS = 1.0
"""Between two looks at cells that cannot begin yet, and at whether the sweep shall stop."""


class Seat(Protocol):
    """A place where one cell can be run now.

    Attributes:
        pid: the process of this machine in whose name the cell is leased.
    """

    pid: int

    def give(self, cell: Cell, lease: Lease) -> None:
        """Have a cell run here; whoever runs it keeps the lease alive and gives it back."""
        ...


class Crew(Protocol):
    """Those who run cells."""

    @property
    def busy(self) -> bool:
        """Whether any cell is being run."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether a further cell may begin, though perhaps not every one."""
        ...

    def fits(self, cell: Cell) -> bool:
        """Return whether this cell may begin now, given that there is room."""
        ...

    def seat(self, cell: Cell) -> Seat:
        """Return where a cell that fits would be run; that a seat is left empty does no harm."""
        ...

    def hear(self, dispatch: Dispatch, seconds: float) -> None:
        """Tell ``dispatch`` what has happened, after waiting for it no longer than so many seconds."""
        ...

    def stop(self) -> None:
        """Ask all running cells to leave a checkpoint after their round."""
        ...

    def end(self) -> None:
        """End what still runs and give everything back."""
        ...


class Dispatch:
    """One sweep under way.

    Args:
        cells: what to run, in this order.
        crew: who runs them.
        leases: of the sweep.
        settled: returns the record of a cell that another process has ended meanwhile.
        on_event: hears of what happens; an exception from it ends the sweep.
        stop_after: seconds after which running cells leave a checkpoint at the end of their round and no other begins.
        stop: asked about once a second; True has the same effect at once.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        crew: Crew,
        leases: Leases,
        settled: Callable[[Cell], Record | None],
        on_event: Callable[[Event], None],
        stop_after: float = math.inf,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.waiting, self.crew, self.leases = list(cells), crew, leases
        self.settled, self.on_event = settled, on_event
        self.deadline, self.stop = time.monotonic() + stop_after, stop
        self._running: dict[str, Cell] = {}
        self._stopped = False
        self._holders: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._next_look = 0.0

    @property
    def stopping(self) -> bool:
        """Whether running cells shall leave a checkpoint and no other shall begin."""
        return self._stopped or self.stop() or time.monotonic() >= self.deadline

    def run(self) -> None:
        """Run all cells; on an exception what runs is ended, and the next run goes on from the last checkpoints."""
        try:
            while True:
                if self.stopping and not self._stopped:
                    self._stopped = True
                    self.crew.stop()
                if self._stopped:
                    self.waiting.clear()
                if time.monotonic() >= self._next_look:
                    self._holders = self._hand_out()
                    self._next_look = time.monotonic() + LOOK_SECONDS
                if not (self.waiting or self.crew.busy):
                    break
                if self._holders and not self.crew.busy and self._holders != self._said:
                    self._said = self._holders
                    self.on_event(Waiting(self._said))
                left = math.inf if self._stopped else self.deadline - time.monotonic()
                self.crew.hear(self, max(min(LOOK_SECONDS, left), 0.0))
        finally:
            self.crew.end()

    def tell(self, event: Event) -> None:
        """Hear of an event from the crew."""
        if isinstance(event, Lost | Again):
            self.waiting.append(self._running[event.cell])
        if isinstance(event, Lost | Again | Ended | Stopped):
            self._next_look = 0.0  # there is room again
        self.on_event(event)

    def _hand_out(self) -> dict[str, str]:
        """Have all cells begun that can be; return who runs the others that were looked at, by cell's folder."""
        holders: dict[str, str] = {}
        for cell in list(self.waiting):
            if not self.crew.has_room:
                break
            if not self.crew.fits(cell):
                continue
            holder = self.leases.holder(cell.folder)
            if holder is not None:
                holders[cell.folder] = holder
            elif self._begin(cell):
                self.waiting.remove(cell)
        return holders

    def _begin(self, cell: Cell) -> bool:
        """Give a cell out, or tell that another process has ended it; False if another was quicker to lease it."""
        record = self.settled(cell)
        if record is None:
            seat = self.crew.seat(cell)
            lease = self.leases.take(cell.folder, seat.pid)
            if lease is None:
                return False
            record = self.settled(cell)  # now that nobody else can end it
            if record is None:
                self._running[cell.folder] = cell
                seat.give(cell, lease)
                return True
            lease.release()
        seconds = float(record.facts.get("seconds", 0.0))
        self.on_event(Ended(cell.folder, record.state, record.reason, seconds, elsewhere=True))
        return True
