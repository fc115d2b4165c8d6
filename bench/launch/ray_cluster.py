"""Runs cells on a Ray cluster: one task for each cell, which Ray begins again elsewhere when its node is lost.

The driver, this process, holds the leases and puts finished cells in place; only its machine needs the results.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.cell import Cell
from bench.data import cache
from bench.data.sources import load
from bench.errors import BenchError, words_of
from bench.launch.dispatch import Dispatch
from bench.launch.events import Again, Ended, Event, Lost, Note, Started, Stopped
from bench.launch.ray_desk import Desk
from bench.launch.ray_settings import Settings, connect
from bench.launch.ray_task import TRIES, Answer, Order, made_with, run_order
from bench.launch.running import record_failure
from bench.plugins import registry
from bench.store.cells import Store
from bench.store.leases import Lease, LeaseLost
from bench.tasks.base import Task

POLL_SECONDS = 0.3
SLOTS_SECONDS = 2.0
"""Between two looks at the size of the cluster, which may grow and shrink."""


@dataclass
class _Running:
    """A cell that was given to the cluster, and what ends its lease."""

    cell: Cell
    lease: Lease
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    since: float = field(default_factory=time.perf_counter)
    begun: bool = False


class RayCrew:
    """A Ray cluster.

    Args:
        store: where the results go, on this machine alone.
        plugins: files of methods and tasks the user named; their sources go to the nodes.
        device: "cpu" or "cuda".
        jobs: number of cells that are given to the cluster at once; None for one more than it has room for.
        settings: which cluster, and what a cell needs of it.
    """

    def __init__(
        self, store: Store, plugins: tuple[Path, ...], device: str, jobs: int | None, settings: Settings
    ) -> None:
        self.store, self.plugins, self.device, self.jobs, self.settings = store, plugins, device, jobs, settings
        self.pid = os.getpid()
        connect(settings)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here)
        self.desk: Any = actor.remote(store.folder.resolve(), cache.root().resolve())
        self.task: Any = ray.remote(max_retries=TRIES, **settings.options)(run_order)
        self.running: dict[Any, _Running] = {}
        self._sources = tuple(registry.sources_of(path) for path in plugins)
        self._again: Counter[str] = Counter()  # how often each cell's answer could not be taken
        self._slots, self._next_count = 0, 0.0
        self._waits = False

    @property
    def busy(self) -> bool:
        return bool(self.running)

    @property
    def has_room(self) -> bool:
        return len(self.running) < (self.jobs or self._count_slots() + 1)

    def fits(self, cell: Cell) -> bool:
        return True

    def seat(self, cell: Cell) -> RayCrew:
        return self

    def give(self, cell: Cell, lease: Lease) -> None:
        order = Order(
            cell,
            lease.token,
            made_with(cell, self.plugins),
            self.device,
            self.settings.workers,
            self.settings.gpus,
            self._sources,
            _data_of(cell, self.plugins),
        )
        running = _Running(cell, lease)
        running.held.enter_context(lease.held())
        self.running[self.task.options(name=cell.folder).remote(order, self.desk)] = running

    def hear(self, dispatch: Dispatch, seconds: float) -> None:
        seconds = min(seconds, POLL_SECONDS)
        if self.running and not self._waits and self._count_slots() == 0:
            self._waits = True
            cell = next(iter(self.running.values())).cell.folder
            dispatch.tell(Note(cell, f"waits: no node of the cluster has {self.settings.words}; one may join"))
        if not self.running:
            time.sleep(seconds)
            return
        ended, _ = ray.wait(list(self.running), timeout=seconds)
        self._tell_news(dispatch)
        for ref in ended:
            running = self.running.pop(ref)
            with running.held:
                event = self._ended(ref, running)
            dispatch.tell(event)

    def stop(self) -> None:
        self.desk.stop.remote()
        for ref, running in self.running.items():
            if not running.begun:  # it may wait for room for ever
                ray.cancel(ref)

    def end(self) -> None:
        for ref, running in self.running.items():
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=True)
            running.held.close()
        ray.shutdown()

    def _tell_news(self, dispatch: Dispatch) -> None:
        news: list[Event] = self._answer_to(self.desk.news.remote())
        known = {running.cell.folder for running in self.running.values()}
        begun = {event.cell for event in news if isinstance(event, Started)}
        for running in self.running.values():
            running.begun |= running.cell.folder in begun
        for event in news:
            if getattr(event, "cell", None) in known:
                dispatch.tell(event)

    def _answer_to(self, question: Any) -> Any:
        try:
            return ray.get(question)
        except ray.exceptions.RayError as error:
            raise BenchError(f"the cluster at {self.settings.address!r} cannot be used: {_why(error)}") from None

    def _ended(self, ref: Any, running: _Running) -> Event:
        """Take what a task has returned, or died of, to the disk."""
        cell = running.cell
        try:
            answer: Answer = ray.get(ref)
        except ray.exceptions.TaskCancelledError:
            return Stopped(cell.folder, "before it began")
        except ray.exceptions.RuntimeEnvSetupError as error:
            raise BenchError(f"--runtime-env: a node could not set it up ({words_of(error)})") from None
        except ray.exceptions.RayError as error:
            answer = Answer(Ended(cell.folder, "failed", _death(error), time.perf_counter() - running.since))
        if answer.try_ and not self._answer_to(self.desk.is_current.remote(cell.folder, answer.try_)):
            answer = self._once_more(cell, "its result is of a try that was given up")
        try:
            try:
                return self._keep(answer, running)
            except ValueError as damage:
                again = self._once_more(cell, f"its result did not arrive whole ({damage})")
                return self._keep(again, running)
        except LeaseLost:
            return Lost(cell.folder)

    def _keep(self, answer: Answer, running: _Running) -> Event:
        """Put what a cell has ended with in place.

        Raises:
            LeaseLost: it is another process's by now.
            ValueError: its files are not whole.
        """
        cell, event = running.cell, answer.event
        if not isinstance(event, Ended) or event.fatal:
            return event
        running.lease.check()
        if not answer.files:
            record_failure(cell, self.store, event.reason, self.plugins, self.device)
            return event
        self.store.adopt(cell, answer.files, guard=running.lease.check)
        if event.status != "failed":
            with contextlib.suppress(OSError):  # of no more use, and no harm
                self.store.checkpoint(cell).unlink(missing_ok=True)
        return event

    def _once_more(self, cell: Cell, why: str) -> Answer:
        """Return that a cell is run again, or, where that has not helped so far, that it failed."""
        self._again[cell.folder] += 1
        if self._again[cell.folder] >= TRIES:
            return Answer(Ended(cell.folder, "failed", f"{why}, {TRIES} times", 0.0))
        return Answer(Again(cell.folder, f"{why}; it is run again"))

    def _count_slots(self) -> int:
        """Return how many cells the cluster has room for, running ones included."""
        if time.monotonic() >= self._next_count:
            self._slots = sum(self.settings.slots(node["Resources"]) for node in ray.nodes() if node["Alive"])
            self._next_count = time.monotonic() + SLOTS_SECONDS
        return self._slots


def _data_of(cell: Cell, plugins: tuple[Path, ...]) -> Mapping[str, str]:
    """Return the data set that a node has to have; none where the task's own code reads or generates it there."""
    kind = registry.task(cell.task, plugins).kind
    if cell.data != "real":
        return {}
    try:
        return {kind.dataset: load(kind.dataset).fingerprint}
    except BenchError:
        if kind.data is Task.data:
            raise
        return {}


def _death(error: Exception) -> str:
    """Return why a task has no result, in one line."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return (
            "out of memory: Ray ended its process to save the node; give each cell more with --resources memory=BYTES"
        )
    if isinstance(error, ray.exceptions.RayTaskError):
        return f"a node could not run it: {_why(error)}"
    return f"its process or node was lost {TRIES} times ({words_of(error)})"


def _why(error: Exception) -> str:
    if "No module named 'bench" in str(error):
        return "a node has not this version of the package; install it on all nodes or hand it over by --runtime-env"
    cause = getattr(error, "cause", None)
    return words_of(cause or error)


def hire(
    store: Store,
    plugins: tuple[Path, ...],
    device: str,
    jobs: int | None,
    cells: Sequence[Cell],
    settings: Settings,
) -> RayCrew:
    """Return a crew of a Ray cluster.

    Raises:
        BenchError: there is no cluster at the address.
    """
    return RayCrew(store, plugins, device, jobs, settings)
