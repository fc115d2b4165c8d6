"""One cell in a process of its own: whatever its method does to the process, who asked for the cell hears of it."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from bench.cell import Cell
from bench.errors import Unfinished
from bench.federation.federation import Federation
from bench.launch.running import Hooks, Outcome, record_failure, run_cell
from bench.processes import tidiness
from bench.processes.children import Child
from bench.processes.pool import Raised
from bench.simulation.round import Round
from bench.store.cells import Store
from bench.store.leases import Lease


@dataclass(frozen=True)
class Seen:
    """A round as it is shown.

    Attributes:
        number, rounds: which round of how many.
        acc, loss: of the evaluated model; None where it was not evaluated.
        train_loss: mean training loss; None in round 0.
        sent_bytes: received and sent by the cohort.
        seconds: that it took.
        title: what the data is called.
        evaluated_on: what models are evaluated on, in words.
        evaluated: number of samples of it.
        validates: whether they are held-out training samples.
        row: the round as a row of the table of rounds.
    """

    number: int
    rounds: int
    acc: float | None
    loss: float | None
    train_loss: float | None
    sent_bytes: int
    seconds: float
    title: str
    evaluated_on: str
    evaluated: int
    validates: bool
    row: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, federation: Federation, this: Round, row: Mapping[str, Any]) -> Self:
        """Return what is shown of a round."""
        return cls(
            this.number,
            federation.task.recipe.rounds,
            None if this.score is None else this.score.acc,
            None if this.score is None else this.score.loss,
            this.train_loss,
            this.down_bytes + this.up_bytes,
            this.seconds.get("round", 0.0),
            federation.dataset.title,
            federation.evaluated_on,
            len(federation.evaluated),
            federation.validates,
            row,
        )


@dataclass(frozen=True)
class Order:
    """What to run, and where; see :func:`bench.launch.running.run_cell`.

    Attributes:
        lease: of the cell, held by who asked for it; None where nothing is written.
    """

    cell: Cell
    store: Store | None
    plugins: tuple[Path, ...]
    device: str
    workers: int
    lease: Lease | None = None


@dataclass(frozen=True)
class _Result:
    """How it ended: the outcome, or what was raised; ``spent`` where the process shall do nothing more."""

    outcome: Outcome | None
    raised: Raised | None
    spent: bool


def run_apart(
    order: Order,
    on_round: Callable[[Seen], None] = lambda seen: None,
    on_note: Callable[[str], None] = lambda line: None,
    kept: bool = False,
) -> Outcome:
    """Run a cell in another process and return how it ended; the death of that process is a failure of the cell.

    Args:
        order: what to run.
        on_round: hears of each round.
        on_note: hears what else is worth a line.
        kept: keep the process for the next cell of the kind: to start one takes seconds. Not where there are plugins,
            whose modules may have been edited by then, nor on an accelerator, whose memory it would hold.

    Raises:
        StorageError: a checkpoint or the result cannot be written.
        Unfinished: another process has taken the cell over.
    """
    kept = kept and not order.plugins and order.device == "cpu"
    child, reusable = (_idle() if kept else None) or Child(_serve), False
    child.begin_work()
    child.send(order)
    try:
        while not isinstance(said := child.receive(), _Result):
            if said is None:
                return _bury(order, child)
            (on_round if isinstance(said, Seen) else on_note)(said)
        reusable = kept and not said.spent
        if said.raised is not None:
            raise said.raised.again()
        assert said.outcome is not None
        return said.outcome
    finally:
        if reusable:
            _keep(child)
        else:
            child.end(at_once=True)


def _bury(order: Order, child: Child) -> Outcome:
    reason = f"the process that ran it ended with {child.ending}"
    if order.store is not None:
        if order.lease is not None:
            order.lease.check()
        record_failure(order.cell, order.store, reason, order.plugins, order.device)
    return Outcome("failed", reason, [], "", "")


def _serve(line: Connection) -> None:
    """Run the cells that are ordered through the line until it is closed."""
    while True:
        try:
            order: Order = line.recv()
        except (EOFError, OSError):
            return
        with contextlib.suppress(OSError):  # who asked for it is gone
            line.send(_result_of(order, line))


def _result_of(order: Order, line: Connection) -> _Result:
    def tell(what: Seen | str) -> None:
        try:
            line.send(what)
        except OSError:
            if order.store is None:  # nobody is left to hear of it
                os._exit(1)

    hooks = Hooks(
        on_round=lambda federation, this, row: tell(Seen.of(federation, this, row)),
        on_note=tell,
        guard=order.lease.check if order.lease else lambda: None,
        stop=line.poll,  # true where who asked for it is gone
    )
    try:
        outcome = run_cell(
            order.cell,
            store=order.store,
            plugins=order.plugins,
            device=order.device,
            workers=order.workers,
            hooks=hooks,
        )
    except (Exception, Unfinished) as error:
        return _Result(None, Raised.of(error), tidiness.is_spent())
    return _Result(outcome, None, tidiness.is_spent())


# The process that waits for the next cell, and what it has inherited.
_waiting: tuple[Child, Any] | None = None
_lock = threading.Lock()


def _idle() -> Child | None:
    """Take the process that waits, if it has begun under the present circumstances and is alive."""
    global _waiting
    with _lock:
        found, _waiting = _waiting, None
    if found is None:
        return None
    child, inherited = found
    if inherited[0] != os.getpid():  # a copy of the process that began it
        return None
    if inherited == _circumstances() and not child.has_ended:
        return child
    child.end(at_once=True)
    return None


def _keep(child: Child) -> None:
    global _waiting
    with _lock:
        before, _waiting = _waiting, (child, _circumstances())
    if before is not None:
        before[0].end(at_once=True)


def _circumstances() -> Any:
    """Return what a process inherits from the one that starts it."""
    return os.getpid(), os.getcwd(), dict(os.environ)


@atexit.register
def end_waiting() -> None:
    """End the process that waits."""
    with contextlib.suppress(Exception):
        child = _idle()
        if child is not None:
            child.end(at_once=True)
