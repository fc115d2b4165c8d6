"""Running one trial: a cell for each tuning seed, judged after each evaluated round."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cell import Cell
from bench.errors import Unfinished
from bench.federation.federation import Federation
from bench.launch.running import Hooks, run_cell
from bench.plugins import registry
from bench.simulation.round import Round
from bench.store.cells import FINISHED, Store
from bench.store.checkpoint import Stopped
from bench.store.leases import Lease, Leases
from bench.store.made import made
from bench.store.provenance import data_of
from bench.tuning.objective import DIVERGED, cell_accuracy, evaluated, rounds_so_far
from bench.tuning.pruning import Judge

LOOK_SECONDS = 1.0
"""Between two looks at a cell that another process runs."""


@dataclass
class Outcome:
    """How a trial ended.

    Attributes:
        state: "complete", "pruned" or "failed".
        value: mean over the seeds of the cells' validation accuracy, a fraction; None unless complete.
        rounds: rounds that its cells have, by cell.
        seconds: that they took.
        pruned_at: the step after which it was pruned.
        reason: why it failed, or what diverged.
    """

    state: str = "complete"
    value: float | None = None
    rounds: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    pruned_at: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Place:
    """Where cells are run.

    Attributes:
        store: where they are kept.
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        stopping: returns True where the cell is to leave a checkpoint and end.
        note: is told what is worth a line.
        on_round: hears of each round of a cell, as a row of the table of rounds.
        on_end: hears how each cell that was run ended: its status and why.
    """

    store: Store
    plugins: tuple[Path, ...]
    device: str
    stopping: Callable[[], bool] = lambda: False
    note: Callable[[str], None] = lambda line: None
    on_round: Callable[[Cell, Mapping[str, Any]], None] = lambda cell, row: None
    on_end: Callable[[Cell, str, str], None] = lambda cell, status, reason: None


class Trialling:
    """A trial that is being run.

    Args:
        cells: one for each seed.
        place: where they are run.
        judge: decides whether it ends early.
        last: evaluations that make a cell's accuracy.
        on_step: called with each step that is heard and its accuracy.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        place: Place,
        judge: Judge,
        last: int,
        on_step: Callable[[int, float], None] = lambda step, accuracy: None,
    ) -> None:
        self.cells, self.place, self.judge, self.last, self.on_step = cells, place, judge, last, on_step
        self.rounds = rounds_of(cells[0], place.plugins)
        self.heard = 0
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run what is not finished yet and return how the trial ended.

        Raises:
            Unfinished: it was asked to stop, or another process has taken a cell over.
        """
        accuracies = []
        for index, cell in enumerate(self.cells):
            status, reason, rounds = self._finished(cell) or self._run(index, cell)
            if self.outcome.pruned_at is None:
                self._hear(index, rounds, status)
            if self.outcome.pruned_at is not None:
                break
            if status not in ("done", "diverged"):
                self.outcome.state, self.outcome.reason = "failed", f"{status}: {reason}"
                break
            if status == "diverged":
                self.outcome.reason = f"seed {cell.seed} diverged: {reason}"
            accuracies.append(cell_accuracy(rounds, status, self.last))
        else:
            self.outcome.value = statistics.fmean(accuracies)
        return self.outcome

    def _finished(self, cell: Cell) -> tuple[str, str, list[dict[str, Any]]] | None:
        """Return status, reason and rounds of a cell that has a result; None if it has to be run."""
        store, plugins = self.place.store, self.place.plugins
        record = store.record(cell, made(cell, plugins), data_of(cell, plugins))
        if record.state not in FINISHED:
            return None
        rounds = store.read(cell, "rounds").to_pylist()
        self._count(cell, rounds, float(record.facts["seconds"]))
        return record.state, record.reason, rounds

    def _run(self, index: int, cell: Cell) -> tuple[str, str, list[dict[str, Any]]]:
        """Run a cell from its checkpoint, unless the trial is pruned on the way or another process runs it."""
        with self._lease(cell).held():
            finished = self._finished(cell)
            if finished:
                return finished
            try:
                status, reason, rounds = self._train(index, cell)
            except Unfinished as unfinished:
                self.place.on_end(cell, "stopped", str(unfinished))
                raise
            self.place.on_end(cell, *(("stopped", status) if status == "pruned" else (status, reason)))
            return status, reason, rounds

    def _train(self, index: int, cell: Cell) -> tuple[str, str, list[dict[str, Any]]]:
        place = self.place
        rounds, seconds = rounds_so_far(cell, place.store, place.plugins, place.device)
        self._hear(index, rounds)
        if self.outcome.pruned_at is not None:
            self._count(cell, rounds, seconds)
            return "pruned", "", rounds

        def on_round(federation: Federation, this: Round, row: Mapping[str, Any]) -> None:
            place.on_round(cell, row)
            self._hear(index, [row])

        def stop() -> bool:
            return self.outcome.pruned_at is not None or place.stopping()

        hooks = Hooks(on_round, place.note, self.lease.check, stop)
        try:
            ended = run_cell(cell, store=place.store, plugins=place.plugins, device=place.device, hooks=hooks)
        except Stopped:
            if self.outcome.pruned_at is None:
                raise
            rounds, seconds = rounds_so_far(cell, place.store, place.plugins, place.device)
            self._count(cell, rounds, seconds)
            return "pruned", "", rounds
        if ended.status in FINISHED:
            finished = self._finished(cell)
            assert finished is not None
            return finished
        failure = place.store.record(cell, made(cell, place.plugins), data_of(cell, place.plugins))
        self._count(cell, ended.rounds, float(failure.facts.get("seconds", 0.0)))
        return ended.status, ended.reason, ended.rounds

    def _lease(self, cell: Cell) -> Lease:
        """Take the lease of a cell; wait while another process runs it."""
        leases, said = Leases(self.place.store.unfinished), False
        while True:
            lease = leases.take(cell.folder, os.getpid())
            if lease is not None:
                self.lease = lease
                return lease
            if not said:
                self.place.note(f"waits for {cell.folder}, which {leases.holder(cell.folder)} runs")
                said = True
            if self.place.stopping():
                raise Unfinished("stopped while another process runs its cell")
            time.sleep(LOOK_SECONDS)

    def _hear(self, index: int, rounds: Sequence[Mapping[str, Any]], status: str = "") -> None:
        """Have rounds judged that were not yet; a cell that diverged is worth nothing at its end."""
        steps = [(index * self.rounds + number, accuracy) for number, accuracy in evaluated(rounds)]
        if status == "diverged":
            steps.append(((index + 1) * self.rounds, DIVERGED))
        for step, accuracy in steps:
            if step > self.heard and self.outcome.pruned_at is None:
                self.heard = step
                self.on_step(step, accuracy)
                if self.judge.prunes(step, accuracy):
                    self.outcome.state, self.outcome.pruned_at = "pruned", step

    def _count(self, cell: Cell, rounds: Sequence[dict[str, Any]], seconds: float) -> None:
        self.outcome.rounds[cell.folder] = max((row["round"] for row in rounds), default=0)
        self.outcome.seconds += seconds


def rounds_of(cell: Cell, plugins: Iterable[Path]) -> int:
    """Return the rounds of a cell."""
    return registry.task(cell.task, plugins).build(cell).recipe.rounds
