"""What a node of a Ray cluster does: it runs one cell in a folder of its own and hands back the cell's files.

A node needs this package and nothing else: no shared file system, no data, no plugins. Those come from the desk.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from bench.cell import Cell
from bench.data import cache
from bench.errors import BenchError, StorageError, Unfinished
from bench.launch.events import Again, Ended, Event, Lost, Stopped
from bench.launch.one_cell import run_one
from bench.store.cells import Store
from bench.store.owner import is_alive
from bench.store.provenance import code_of

ASK_SECONDS = 1.0
"""Between two questions whether to stop."""
TRIES = 4
"""How often a cell is begun whose process or node is lost each time."""
_PREFIX = "submodel-bench-task-"
_HOST = platform.node()


class Superseded(Unfinished):
    """Another try of the same cell runs elsewhere: this one was thought to be lost."""


@dataclass(frozen=True)
class Order:
    """What a node is told of a cell.

    Attributes:
        cell: what to run.
        token: of its lease, which the driver holds.
        made_with: what the cell's code must be, see :func:`made_with`.
        device: "cpu" or "cuda".
        workers: processes that train its clients, on the CPU.
        fraction: its part of a GPU's memory.
        plugins: of each file the user named, its name and source, and those of what it imports from beside it.
        data: fingerprint of the real data it reads, by the data set's name; empty for stand-ins.
    """

    cell: Cell
    token: str
    made_with: str
    device: str
    workers: int
    fraction: float
    plugins: tuple[tuple[tuple[str, bytes], ...], ...]
    data: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """How a cell ended.

    Attributes:
        event: what to tell of it.
        try_: which try of the cell it comes from; empty where the driver itself gives it.
        files: those of the finished cell's folder, by name; empty where there is none.
    """

    event: Ended | Stopped | Lost | Again
    try_: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


def made_with(cell: Cell, plugins: tuple[Path, ...]) -> str:
    """Return what makes the numbers of a cell: its code and the version of PyTorch."""
    return f"code {code_of(cell, plugins)} with torch {torch.__version__}"


def run_order(order: Order, desk: Any) -> Answer:
    """Run a cell on this node.

    Args:
        order: what to run.
        desk: the handle of the :class:`bench.launch.ray_desk.Desk`.
    """
    start = time.perf_counter()
    _sweep_up()
    with _own_folder() as folder:
        run = _Run(order, desk, Path(folder))
        try:
            return run.run()
        except Superseded:
            return Answer(Lost(order.cell.folder), run.try_)
        except BenchError as error:
            event = Ended(order.cell.folder, "failed", str(error), time.perf_counter() - start)
            return Answer(event, run.try_)


class _Run:
    """One try of a cell."""

    def __init__(self, order: Order, desk: Any, folder: Path) -> None:
        self.order, self.desk, self.folder = order, desk, folder
        self.try_ = uuid.uuid4().hex
        self.refused = ""
        self._asked, self._stop = 0.0, False

    def run(self) -> Answer:
        cell = self.order.cell
        number, saved = answer_to(self.desk.begin.remote(cell.folder, self.order.token, self.try_))
        if number > TRIES:
            raise BenchError(f"its process or node was lost {TRIES} times, and the node does not say of what")
        plugins = self._plugins()
        self._same_code(plugins)
        for name, fingerprint in self.order.data.items():
            bring(name, fingerprint, self.desk)
        if self.order.device == "cuda":
            torch.cuda.set_per_process_memory_fraction(min(self.order.fraction, 1.0))
        store = Store(self.folder / "results")
        if saved is not None:
            store.checkpoint(cell).parent.mkdir(parents=True)
            store.checkpoint(cell).write_bytes(saved)
        event = run_one(
            cell,
            store,
            plugins,
            self.order.device,
            self.order.workers,
            tell=self._tell,
            stop=self._stopping,
            on_checkpoint=self._keep,
        )
        answer_to(self.desk.stopping.remote())  # the desk has now heard all that was told
        if isinstance(event, Ended) and not event.fatal:
            return Answer(event, self.try_, {path.name: path.read_bytes() for path in store.path(cell).iterdir()})
        if isinstance(event, Ended) and not self.refused:  # this node's own disk is no reason to end the sweep
            event = Ended(event.cell, "failed", f"node {platform.node()}: {event.reason}", event.seconds)
        return Answer(event, self.try_)

    def _plugins(self) -> tuple[Path, ...]:
        paths = []
        for number, files in enumerate(self.order.plugins):
            for name, source in files:
                path = self.folder / f"plugin-{number}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(source)
            paths.append(self.folder / f"plugin-{number}" / files[0][0])
        return tuple(paths)

    def _same_code(self, plugins: tuple[Path, ...]) -> None:
        mine = made_with(self.order.cell, plugins)
        if mine != self.order.made_with:
            raise BenchError(
                f"node {platform.node()} has {mine}, the sweep has {self.order.made_with}: install the same version "
                "on all nodes, or hand it over with --runtime-env"
            )

    def _tell(self, event: Event) -> None:
        self.desk.tell.remote(self.try_, event)

    def _stopping(self) -> bool:
        now = time.monotonic()
        if now - self._asked >= ASK_SECONDS:
            self._asked, self._stop = now, answer_to(self.desk.stopping.remote())
        return self._stop

    def _keep(self, path: Path) -> None:
        refused = answer_to(self.desk.keep.remote(self.order.cell.folder, self.try_, path.read_bytes()))
        if refused is None:
            raise Superseded("another try of this cell runs elsewhere")
        self.refused = refused
        if refused:
            raise StorageError(refused)


def answer_to(question: Any) -> Any:
    """Return what an actor answers.

    Unlike ``ray.get``, which lends the core of whoever waits to another task: both would then go on at once.
    """
    return question.future().result()


def bring(name: str, fingerprint: str, desk: Any) -> None:
    """Make sure that this node has a data set, from the driver's cache if it has none.

    Raises:
        BenchError: the node has other data of this name, or it cannot be stored.
    """
    cache.root().mkdir(parents=True, exist_ok=True)
    with FileLock(cache.root() / f".{name}.lock"):  # of all cells on this node one brings it
        if not cache.exists(name):
            files = answer_to(desk.data_set.remote(name))
            cache.adopt(name, {file: answer_to(content) for file, content in files.items()}, fingerprint)
        here = cache.read(name).fingerprint
    if here != fingerprint:
        raise BenchError(
            f"node {platform.node()} has other data of the name {name!r} in {cache.root()} than the sweep (fingerprint "
            f"{here[:12]}, not {fingerprint[:12]}): delete it there, or set BENCH_DATA to another folder"
        )


def _own_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for one task, named by its process and machine: several may share one place for such folders."""
    return tempfile.TemporaryDirectory(
        prefix=f"{_PREFIX}{os.getpid()}-", suffix=f"-{_HOST}", ignore_cleanup_errors=True
    )


def _sweep_up() -> None:
    """Delete the folders of tasks of this machine whose processes were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        process, _, rest = path.name.removeprefix(_PREFIX).partition("-")
        host = rest.partition("-")[2]
        if host == _HOST and process.isdigit() and not is_alive(int(process)):
            with contextlib.suppress(OSError):
                shutil.rmtree(path)
