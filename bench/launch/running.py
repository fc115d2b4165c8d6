"""Running one cell from configuration to folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import kernels
from bench.api import Skip
from bench.budget.checking import check_fits, counted_rows
from bench.cell import Cell
from bench.data.dataset import answers
from bench.errors import BenchError, StorageError, Unfinished, one_line
from bench.federation.federation import Federation
from bench.federation.partition import convention_of
from bench.federation.skew import skew_of
from bench.numerics.runtime import is_deterministic, prepared
from bench.plugins import registry
from bench.processes.failure import RemoteTraceback, reason_of
from bench.processes.tidiness import tidy
from bench.simulation.round import Round
from bench.simulation.rows import client_rows, level_rows, rank_rows, round_row
from bench.simulation.simulator import Simulation
from bench.store.cells import Store
from bench.store.checkpoint import Checkpoint, Journal, Stopped
from bench.store.made import made
from bench.store.provenance import environment
from bench.training.engine import open_engine
from bench.training.local import Diverged


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        status: "done", "diverged", "skipped" or "failed".
        reason: why it is not "done".
        rounds: its rounds as rows of the table of rounds.
        line: its last evaluated round in words; empty if none was.
        data_title: what the data is called; stand-ins say so.
        cause: where in the code it failed, for a traceback; None where nothing was raised.
    """

    status: str
    reason: str
    rounds: list[dict[str, Any]]
    line: str
    data_title: str
    cause: RemoteTraceback | None = None


@dataclass(frozen=True)
class Hooks:
    """What the one who runs a cell hears and says meanwhile.

    Attributes:
        on_round: called after each round, with it as a row of the table of rounds.
        on_note: called with what else is worth a line, for example that the cell goes on from a checkpoint.
        guard: called before anything is written; raises if the cell has become somebody else's.
        stop: asked after each round but the last; True ends the cell with a checkpoint.
        on_checkpoint: called with the file of each checkpoint that was written.
        on_failure: called with what the cell fails of before that is recorded; raises ``Unfinished`` to keep it from
            being recorded, where the cell will be tried again.
    """

    on_round: Callable[[Federation, Round, Mapping[str, Any]], None] = lambda federation, this, row: None
    on_note: Callable[[str], None] = lambda line: None
    guard: Callable[[], None] = lambda: None
    stop: Callable[[], bool] = lambda: False
    on_checkpoint: Callable[[Path], None] = lambda path: None
    on_failure: Callable[[BaseException], None] = lambda error: None


def run_cell(
    cell: Cell,
    *,
    store: Store | None = None,
    plugins: Iterable[Path] = (),
    device: str = "cpu",
    workers: int = 1,
    hooks: Hooks = Hooks(),
) -> Outcome:
    """Run one cell and, where a store is given, put its folder in place.

    A method that raises, a loss that is not finite and a method that is not defined for the task end the cell with the
    status "failed", "diverged" or "skipped" and a reason. With a store, the cell leaves checkpoints on the way; after
    an interruption, which writes nothing, the next run goes on from the last one.

    Args:
        cell: a checked configuration.
        store: where the result and the checkpoints go.
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        workers: processes that train the clients of a round.
        hooks: what is called meanwhile.

    Raises:
        StorageError: a checkpoint or the result cannot be written.
        Unfinished: ``hooks.stop`` said so (there is a checkpoint), or another hook raised it.
    """
    plugins = tuple(plugins)
    running = _Running(cell, store, plugins, device, workers, hooks)
    status, reason, cause = "done", "", None
    try:
        with prepared(), tidy(cell.method):
            running.run()
    except (StorageError, Unfinished):
        raise
    except Skip as skip:
        status, reason = "skipped", one_line(str(skip))
    except Diverged as diverged:
        status, reason = "diverged", str(diverged)
    except BenchError as error:
        status, reason = "failed", one_line(str(error))
        cause = RemoteTraceback.of(error)
    except (Exception, SystemExit) as error:
        hooks.on_failure(error)
        place = f"round {len(running.journal.rounds)}: " if running.journal.rounds else ""
        status, reason = "failed", f"{place}{reason_of(error, _sources(cell, plugins))}"
        cause = RemoteTraceback.of(error)
        running.journal.log += cause.text.splitlines()
    return replace(running.end(status, reason), cause=cause)


class _Running:
    """A cell that is being run and what it has written down."""

    def __init__(
        self, cell: Cell, store: Store | None, plugins: tuple[Path, ...], device: str, workers: int, hooks: Hooks
    ) -> None:
        self.cell, self.store, self.plugins, self.device, self.workers = cell, store, plugins, device, workers
        self.hooks, self.journal = hooks, Journal()
        self.start = time.perf_counter()
        self.about_data = ", stand-in data" if cell.data == "stand-in" else ""
        self.facts: dict[str, Any] = {**made(cell, plugins).facts(), "data": None}
        self.checkpoint: Checkpoint | None = None
        self._write(f"{cell.folder}: {cell.label}, {device}, {workers} worker(s){self.about_data}")

    def run(self) -> None:
        """Go through the rounds, from the checkpoint if there is one, and leave one now and then."""
        federation = Federation.build(self.cell, self.plugins, self.device)
        self.facts |= facts_of(federation)
        if self.cell.budget:
            self.facts["budget"] = counted_rows(self.cell, self.plugins)
            check_fits(self.cell, self.facts["budget"])
        state = self._resume() if self.store else None
        engine = open_engine(federation, self.plugins, self.workers)
        try:
            simulation = Simulation(federation, engine)
            for this in simulation.rounds(resume=state):
                self._keep(federation, this)
                if self.checkpoint and this.number < federation.task.recipe.rounds:
                    self._save_if_due(self.checkpoint, simulation)
        finally:
            engine.close()

    def end(self, status: str, reason: str) -> Outcome:
        """Put the result in place and delete the checkpoint, unless another run may go on from it."""
        self.journal.seconds += self._elapsed()
        self._write(f"{status} {reason}".rstrip() + self.about_data)
        if self.store is not None:
            self.hooks.guard()
            self.store.write(
                self.cell,
                status=status,
                reason=reason,
                tables=self.journal.tables(),
                facts=self.facts | {"seconds": round(self.journal.seconds, 3)},
                environment=environment(self.device)
                | {"workers": self.workers, "deterministic": is_deterministic(), "data": self.facts["data"]},
                log=self.journal.log,
                guard=self.hooks.guard,
            )
            if self.checkpoint and status != "failed":
                self.checkpoint.discard()
        title = str(self.facts.get("data_title", ""))
        return Outcome(status, reason, self.journal.rounds, self.journal.last_line, title)

    def _resume(self) -> dict[str, Any] | None:
        assert self.store is not None
        made_by = {
            "cell": self.cell.identity,
            "code": self.facts["code"],
            "data": self.facts["data"],
            "device": self.device,
            "determinism": self.device != "cpu" and is_deterministic(),
            "torch": torch.__version__,
            "kernels": kernels.described(),
        }
        self.checkpoint = Checkpoint(self.store.checkpoint(self.cell), made_by)
        try:
            saved = self.checkpoint.load()
        except ValueError as reason:
            place = self.checkpoint.set_aside()
            self._note(f"starts anew: the checkpoint cannot be used, {reason}; it is now {place.name}")
            return None
        if saved is None:
            return None
        state, before = saved
        before.log += self.journal.log
        self.journal = before
        self._note(f"goes on after round {state['round']}")
        return state

    def _save_if_due(self, checkpoint: Checkpoint, simulation: Simulation) -> None:
        stop = self.hooks.stop()
        if stop or checkpoint.due(simulation.completed):
            self.hooks.guard()
            seconds = self.journal.seconds + self._elapsed()
            rounds = simulation.recipe.rounds
            checkpoint.save(simulation.state(), replace(self.journal, seconds=seconds), rounds)
            with checkpoint.charged():
                self.hooks.on_checkpoint(checkpoint.path)
        if stop:
            raise Stopped(f"after round {simulation.completed}")

    def _keep(self, federation: Federation, this: Round) -> None:
        line = describe(this, federation)
        row = round_row(this)
        self.journal.rounds.append(row)
        self.journal.ranks.extend(rank_rows(this))
        self.journal.levels.extend(level_rows(this))
        if self.cell.capacities:  # where all clients are alike, the cell's keep ratio says it
            self.journal.clients.extend(client_rows(this))
        self._write(line)
        self.journal.last_line = line if this.score else self.journal.last_line
        self.hooks.on_round(federation, this, row)

    def _note(self, line: str) -> None:
        self._write(line)
        self.hooks.on_note(line)

    def _write(self, line: str) -> None:
        self.journal.log.append(f"{_now()} {line}")

    def _elapsed(self) -> float:
        return time.perf_counter() - self.start


def _sources(cell: Cell, plugins: Iterable[Path]) -> list[Path]:
    """Return the files of a cell's method and of its task, where that is the user's; none where they cannot be read."""
    with contextlib.suppress(Exception):
        return registry.method(cell.method, plugins).files() + registry.task(cell.task, plugins).files()
    return []


def record_failure(cell: Cell, store: Store, reason: str, plugins: Iterable[Path], device: str) -> None:
    """Put a failed cell in place whose process could not do so itself."""
    store.write(
        cell,
        status="failed",
        reason=reason,
        tables={},
        facts={**made(cell, plugins).facts(), "data": None, "seconds": 0.0},
        environment=environment(device),
        log=[f"{_now()} failed {reason}" + (", stand-in data" if cell.data == "stand-in" else "")],
    )


def describe(this: Round, federation: Federation) -> str:
    """Return a round as one line."""
    words = [f"round {this.number}/{federation.task.recipe.rounds}"]
    if this.train_loss is not None:
        words.append(f"training loss {this.train_loss:.4f}")
    if this.score is not None:
        words.append(f"accuracy {this.score.acc:.2%}, loss {this.score.loss:.4f} on {federation.evaluated_on}")
    elif federation.dataset.stand_in:
        words.append("stand-in data")
    if this.number:
        words.append(f"{(this.up_bytes + this.down_bytes) / 1e6:.2f} MB, {this.seconds.get('round', 0.0):.2f} s")
    return ", ".join(words)


def facts_of(federation: Federation) -> dict[str, Any]:
    """Return what is written down with a result of its data, partition and method."""
    padding, trained = federation.task.padding, np.asarray(federation.dataset.train.labels)
    skew = skew_of(federation.partition, trained, padding)
    dataset, cell = federation.dataset, federation.cell
    labels = answers(np.asarray(federation.evaluated.labels), padding)
    return {
        "data": dataset.fingerprint,
        "data_title": dataset.title,
        "stand_in": dataset.stand_in,
        "classes": len(np.unique(answers(trained, padding))),
        "evaluated_samples": len(labels),
        "commonest_class": float(np.bincount(labels).max() / len(labels)),
        "alpha_convention": convention_of(cell.partition),
        "classes_per_client": skew.classes_per_client,
        "divergence_bits": skew.divergence_bits,
        "local_training": ", ".join(federation.method.departures()),
    }


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
