"""Running one cell from configuration to folder."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.api import Skip
from bench.cell import Cell
from bench.data.partition import CONVENTIONS
from bench.engine import open_engine
from bench.errors import BenchError
from bench.federation import Federation
from bench.provenance import code_hash, environment, simulation_code
from bench.runtime import prepared
from bench.schema import rank_rows, round_row
from bench.simulator import Round, Simulation
from bench.store import Store
from bench.training import Diverged


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        status: "done", "diverged", "skipped" or "failed".
        reason: why it is not "done".
        rounds: its rounds as rows of the table of rounds.
        line: its last evaluated round in words; empty if none was.
        data_title: what the data is called; stand-ins say so.
    """

    status: str
    reason: str
    rounds: list[dict[str, Any]]
    line: str
    data_title: str


def code_of(cell: Cell, plugins: Iterable[Path] = ()) -> str:
    """Return a hash of the code that a cell runs: the simulation path and the method's file."""
    source = registry.method(cell.method, plugins).source
    return f"{simulation_code()}-{_method_code(source, source.stat().st_mtime_ns)}"


@functools.cache
def _method_code(source: Path, changed_ns: int) -> str:
    return code_hash([source])


def run_cell(
    cell: Cell,
    *,
    store: Store | None = None,
    plugins: Iterable[Path] = (),
    device: str = "cpu",
    workers: int = 1,
    on_round: Callable[[Federation, Round], None] = lambda federation, this: None,
) -> Outcome:
    """Run one cell and, where a store is given, put its folder in place.

    A method that raises, a loss that is not finite and a method that is not defined for the task end the cell with the
    status "failed", "diverged" or "skipped" and a reason; an interruption writes nothing.

    Args:
        cell: a checked configuration.
        store: where the result goes.
        plugins: files of methods the user named.
        device: where models are trained.
        workers: processes that train the clients of a round.
        on_round: called after each round.

    Raises:
        BenchError: the result cannot be written.
    """
    plugins = tuple(plugins)
    rounds: list[dict[str, Any]] = []
    ranks: list[dict[str, Any]] = []
    about_data = ", stand-in data" if cell.data == "stand-in" else ""
    log = [f"{_now()} {cell.folder}: {cell.label}, {device}, {workers} worker(s){about_data}"]
    last_line = ""
    facts: dict[str, Any] = {"code": code_of(cell, plugins), "data": None}
    start = time.perf_counter()

    def keep(federation: Federation, this: Round) -> None:
        nonlocal last_line
        line = describe(this, federation)
        rounds.append(round_row(this))
        ranks.extend(rank_rows(this))
        log.append(f"{_now()} {line}")
        last_line = line if this.score else last_line
        on_round(federation, this)

    status, reason = "done", ""
    try:
        with prepared():
            federation = Federation.build(cell, plugins, device)
            facts |= _facts_of(federation)
            _simulate(federation, plugins, workers, keep)
    except Skip as skip:
        status, reason = "skipped", str(skip)
    except Diverged as diverged:
        status, reason = "diverged", str(diverged)
    except BenchError as error:
        status, reason = "failed", str(error)
    except Exception as error:
        place = f"round {len(rounds)}: " if rounds else ""
        status, reason = "failed", f"{place}{type(error).__name__}: {error}".splitlines()[0]
        log += traceback.format_exc().splitlines()
    facts["seconds"] = round(time.perf_counter() - start, 3)
    log.append(f"{_now()} {status} {reason}".rstrip() + about_data)
    if store is not None:
        store.write(
            cell,
            status=status,
            reason=reason,
            rounds=rounds,
            ranks=ranks,
            facts=facts,
            environment=environment(device) | {"workers": workers, "data": facts["data"]},
            log=log,
        )
    return Outcome(status, reason, rounds, last_line, str(facts.get("data_title", "")))


def record_failure(cell: Cell, store: Store, reason: str, plugins: Iterable[Path], device: str) -> None:
    """Put a failed cell in place whose process could not do so itself."""
    store.write(
        cell,
        status="failed",
        reason=reason,
        rounds=[],
        ranks=[],
        facts={"code": code_of(cell, plugins), "data": None, "seconds": 0.0},
        environment=environment(device),
        log=[f"{_now()} failed {reason}" + (", stand-in data" if cell.data == "stand-in" else "")],
    )


def _simulate(
    federation: Federation, plugins: tuple[Path, ...], workers: int, keep: Callable[[Federation, Round], None]
) -> None:
    engine = open_engine(federation, plugins, workers)
    try:
        for this in Simulation(federation, engine).rounds():
            keep(federation, this)
    finally:
        engine.close()


def describe(this: Round, federation: Federation) -> str:
    """Return a round as one line."""
    words = [f"round {this.number}/{federation.task.recipe.rounds}"]
    if this.train_loss is not None:
        words.append(f"training loss {this.train_loss:.4f}")
    if this.score is not None:
        words.append(f"accuracy {this.score.acc:.2%}, loss {this.score.loss:.4f} on {federation.dataset.title}")
    elif federation.dataset.stand_in:
        words.append("stand-in data")
    if this.number:
        words.append(f"{(this.up_bytes + this.down_bytes) / 1e6:.2f} MB, {this.seconds.get('round', 0.0):.2f} s")
    return ", ".join(words)


def _facts_of(federation: Federation) -> dict[str, Any]:
    dataset, cell = federation.dataset, federation.cell
    return {
        "data": dataset.fingerprint,
        "data_title": dataset.title,
        "stand_in": dataset.stand_in,
        "classes": len(np.unique(dataset.train.labels)),
        "alpha_convention": CONVENTIONS[cell.partition],
    }


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
