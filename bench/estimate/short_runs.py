"""Running the short runs of a sweep, as many at once as the sweep runs cells, and keeping what they took."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench.cell import Cell
from bench.data.cache import root
from bench.estimate.pace import Pace
from bench.estimate.workload import Workloads
from bench.files import write_whole
from bench.launch import sweep as sweeps
from bench.launch.events import Ended, Event, Progress
from bench.numerics.runtime import cores
from bench.plugins import registry
from bench.store.cells import Store
from bench.store.made import made
from bench.store.provenance import environment

SKIPPED = "skipped: "
Measured = Pace | str
"""What a short run took, or why it took nothing: how it ended, in words."""


@dataclass(frozen=True)
class Where:
    """Where and how cells are run.

    Attributes:
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        jobs: cells that run at once.
    """

    plugins: tuple[Path, ...]
    device: str
    jobs: int


def where_of(plugins: tuple[Path, ...], device: str, jobs: int | None, cells: int) -> Where:
    """Return where and how a sweep of so many cells is run; on an accelerator without ``jobs``, one at a time."""
    at_once = jobs or (cores() if device == "cpu" else 1)
    return Where(plugins, device, max(1, min(at_once, cells)))


def measured(
    cells: Sequence[Cell],
    where: Where,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Measured]:
    """Run short cells and return what each took, by its identity; those that were stopped are missing.

    Nothing of them is kept but their pace, in the folder of data: the same code on the same processor has it at hand.

    Args:
        cells: made by :func:`bench.estimate.shortened.shortened`.
        where: where and how the sweep would run its cells.
        on_event: hears of what happens.
        stop: asked about once a second; True ends the runs.
    """
    rows: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    ended: dict[str, Ended] = {}

    def hear(event: Event) -> None:
        on_event(event)
        if isinstance(event, Progress):
            rows[event.cell].append(event.row)
        elif isinstance(event, Ended):
            ended[event.cell] = event

    with tempfile.TemporaryDirectory(prefix="bench-estimate-") as folder:
        sweeps.run(
            list(cells),
            Store(Path(folder)),
            plugins=where.plugins,
            device=where.device,
            jobs=where.jobs,
            on_event=hear,
            stop=stop,
        )
    workloads = Workloads(where.plugins)
    found = {
        cell.identity: _pace(cell, rows[cell.folder], ended[cell.folder], workloads, where)
        for cell in cells
        if cell.folder in ended
    }
    found = _started_alike(cells, found)
    for cell in cells:
        _keep(cell, found.get(cell.identity), where)
    return found


def _started_alike(cells: Iterable[Cell], found: dict[str, Measured]) -> dict[str, Measured]:
    """Return the paces with the median start of their task: the first in a process imports and builds what all use."""
    task_of = {cell.identity: cell.task for cell in cells}
    starts: dict[str, list[float]] = defaultdict(list)
    for identity, pace in found.items():
        if isinstance(pace, Pace):
            starts[task_of[identity]].append(pace.start)
    return {
        identity: replace(pace, start=median(starts[task_of[identity]])) if isinstance(pace, Pace) else pace
        for identity, pace in found.items()
    }


def any_known() -> bool:
    """Tell whether any short run was ever made with this folder of data."""
    return _folder().is_dir()


def known(cells: Iterable[Cell], where: Where) -> dict[str, Measured]:
    """Return what earlier runs of these short cells took here, by identity, where the same code made them."""
    found: dict[str, Measured] = {}
    for cell in cells:
        with suppress(OSError, ValueError, TypeError):
            kept = json.loads(_file(cell, where).read_text(encoding="utf-8"))
            found[cell.identity] = str(kept["skipped"]) if "skipped" in kept else Pace(**kept)
    return found


def filled(cells: Sequence[Cell], jobs: int) -> list[Cell]:
    """Return the cells, and as many copies with other seeds as it takes to have all processes at work."""
    copies = -(-jobs // len(cells)) if cells else 0
    return [replace(cell, seed=seed) for seed in range(copies) for cell in cells]


def _pace(cell: Cell, rows: list[Mapping[str, Any]], ended: Ended, workloads: Workloads, where: Where) -> Measured:
    if ended.status != "done":
        return f"{ended.status}: {ended.reason}"
    method = registry.method(cell.method, where.plugins).build(cell)
    return Pace.of(rows, ended.seconds, workloads.of(cell), method.static_statistics)


def _keep(cell: Cell, pace: Measured | None, where: Where) -> None:
    """Write down what will be so again; a method that failed may be mended in a file that it reads."""
    if pace is None or (isinstance(pace, str) and not pace.startswith(SKIPPED)):
        return
    with suppress(OSError):  # a folder that cannot be written costs another short run
        file = _file(cell, where)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(asdict(pace) if isinstance(pace, Pace) else {"skipped": pace}).encode())


def _file(cell: Cell, where: Where) -> Path:
    parts = cell.identity, made(cell, where.plugins).facts()["code"], where.jobs, here(where.device)
    return _folder() / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:20]}.json"


@functools.cache
def here(device: str) -> dict[str, Any]:
    """Return what the time of a cell depends on beside its code: processor, cores, accelerator and compiled loops."""
    found = environment(device)
    return {name: found[name] for name in ("processor", "cores", "accelerator", "kernels")}


def _folder() -> Path:
    return root() / "estimates"
