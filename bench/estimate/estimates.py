"""What each cell of a sweep takes, and all of them together."""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.cell import Cell
from bench.estimate.pace import Pace
from bench.estimate.short_runs import SKIPPED, Where, filled, here, known, measured
from bench.estimate.shortened import shortened
from bench.estimate.workload import Workload, Workloads
from bench.launch.events import Event
from bench.numerics.runtime import cores
from bench.store.cells import FINISHED, Record, Store


@dataclass(frozen=True)
class Estimate:
    """What a cell takes.

    Attributes:
        cell: the configuration.
        left: whether it is still to be run.
        seconds: from its beginning to its end; None if that is not known.
        bytes: to and from all clients in all rounds; None if that is not known.
        source: "itself" (finished), "finished" (cells that differ in their seed alone), "short run", "skipped: " and
            the reason, or why there is none.
    """

    cell: Cell
    left: bool
    seconds: float | None
    bytes: float | None
    source: str


class Estimates:
    """What each cell of a sweep takes on this machine, as far as finished cells and short runs tell.

    Args:
        records: what is known of its cells.
        store: where its results are.
        where: where and how its cells are run.

    Raises:
        BenchError: the data of a cell is not here.
    """

    def __init__(self, records: Iterable[Record], store: Store, where: Where) -> None:
        self.records, self.where = list(records), where
        self._finished = _finished(self.records, store, where)
        self._work: dict[str, Workload] = {}
        self._short: dict[str, Cell] = {}
        workloads = Workloads(where.plugins)
        for record in self.records:
            cell = record.cell
            if record.state not in FINISHED and _key(cell) not in self._finished:
                work = self._work[cell.identity] = workloads.of(cell)
                self._short[cell.identity] = shortened(cell, max(1, round(work.steps)), where.plugins)
        self._paces = known(self._short.values(), where)

    @property
    def to_measure(self) -> list[Cell]:
        """The short runs still to be made: each once, or as often as it takes to have all processes at work."""
        runs = {cell.identity: cell for cell in self._short.values()}
        return filled([cell for identity, cell in runs.items() if identity not in self._paces], self.where.jobs)

    def measure(self, on_event: Callable[[Event], None], stop: Callable[[], bool]) -> None:
        """Make the short runs.

        Args:
            on_event: hears of what happens.
            stop: asked about once a second; True ends them, and what was not measured has no estimate.
        """
        self._paces |= measured(self.to_measure, self.where, on_event, stop)

    def each(self) -> list[Estimate]:
        """Return what each cell takes, in the order of the sweep."""
        return [self._of(record) for record in self.records]

    def _of(self, record: Record) -> Estimate:
        cell = record.cell
        if record.state in FINISHED:
            return Estimate(cell, False, float(record.facts["seconds"]), None, "itself")
        if _key(cell) in self._finished:
            alike = self._finished[_key(cell)]
            seconds, sent = fmean(taken.seconds for taken in alike), fmean(taken.bytes for taken in alike)
            return Estimate(cell, True, seconds, sent, "finished")
        pace, work = self._paces.get(self._short[cell.identity].identity), self._work[cell.identity]
        if isinstance(pace, Pace):
            return Estimate(cell, True, pace.seconds(work), pace.bytes(work), "short run")
        if pace is not None and pace.startswith(SKIPPED):
            return Estimate(cell, True, 0.0, 0.0, pace)
        return Estimate(cell, True, None, None, pace or "it was not measured")


@dataclass(frozen=True)
class _Taken:
    """What a finished cell took: seconds, and bytes to and from its clients."""

    seconds: float
    bytes: float


def _finished(records: Iterable[Record], store: Store, where: Where) -> dict[str, list[_Taken]]:
    """Return what cells took that were done on such a processor, by what differs in the seed alone."""
    found: dict[str, list[_Taken]] = defaultdict(list)
    ours = here(where.device)
    for record in records:
        # A bundle's cell is not here. One that diverged took less than others will.
        with suppress(OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            if record.state == "done":
                folder = store.path(record.cell)
                there = json.loads((folder / "environment.json").read_bytes())
                if all(there[name] == ours[name] for name in ("processor", "accelerator", "cores")):
                    rounds = pq.read_table(folder / "rounds.parquet", columns=["down_bytes", "up_bytes"])
                    sent = sum(pc.sum(column).as_py() or 0 for column in rounds.columns)
                    found[_key(record.cell)].append(_Taken(float(record.facts["seconds"]), float(sent)))
    return found


def _key(cell: Cell) -> str:
    return replace(cell, seed=0).identity


@dataclass(frozen=True)
class Whole:
    """What is left of a sweep.

    Attributes:
        cells: number of cells that are left.
        unknown: number of these that have no estimate.
        wall_seconds: of the others, so many at once, in their order.
        core_seconds: what they take of the processor's cores.
        bytes: to and from their clients, where it is known.
    """

    cells: int
    unknown: int
    wall_seconds: float
    core_seconds: float
    bytes: float


def whole(each: Iterable[Estimate], jobs: int) -> Whole:
    """Return what the cells that are left take together, run in their order and ``jobs`` at once."""
    left = [estimate for estimate in each if estimate.left]
    seconds = [estimate.seconds for estimate in left if estimate.seconds is not None]
    free = [0.0] * max(1, jobs)
    for one in seconds:  # each goes to the process that is free first
        heapq.heapreplace(free, free[0] + one)
    return Whole(
        cells=len(left),
        unknown=len(left) - len(seconds),
        wall_seconds=max(free),
        core_seconds=min(sum(seconds) * max(1, cores() // max(1, jobs)), cores() * max(free)),
        bytes=sum(estimate.bytes or 0.0 for estimate in left),
    )
