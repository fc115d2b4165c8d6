"""A sweep: which of its cells are done, running the others, and the tables of all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.cell import Cell
from bench.config.cells import AXES, Sweep
from bench.errors import BenchError, choices
from bench.federation.profiles import in_numbers, moving_of
from bench.launch.dispatch import Crew, Dispatch
from bench.launch.events import Ended, Event
from bench.launch.tables import tables_of
from bench.store import schema
from bench.store.cells import FINISHED, Record, Store
from bench.store.leases import Leases
from bench.store.made import made
from bench.store.placing import sweep_up
from bench.store.provenance import data_of
from bench.store.table_files import write_table
from bench.store.wholeness import STATES
from bench.written import number_in, rounded

Hire = Callable[[Store, tuple[Path, ...], str, int | None, Sequence[Cell]], Crew]
"""Returns who runs the cells of a sweep, given the arguments of :func:`bench.launch.local.hire`."""


def records(sweep: Sweep, store: Store, plugins: Iterable[Path] = ()) -> list[Record]:
    """Return what is known of each cell of a sweep, in its order; a StorageError where its results cannot lie."""
    store.check()
    plugins = tuple(plugins)
    by = {of: made(cell, plugins) for of, cell in {_made(cell): cell for cell in sweep.cells}.items()}
    data = {of: data_of(cell, plugins) for of, cell in {_data(cell): cell for cell in sweep.cells}.items()}
    return [store.record(cell, by[_made(cell)], data[_data(cell)]) for cell in sweep.cells]


def _made(cell: Cell) -> tuple[str, ...]:
    """Return what cells have in common that are made by the same."""
    return cell.task, cell.method, cell.diagnostics


def _data(cell: Cell) -> tuple[str, ...]:
    """Return what cells have in common that read the same data."""
    return cell.task, cell.data, cell.tier, repr(cell.training), repr(cell.model)


def counts(known: Iterable[Record]) -> dict[str, int]:
    """Return how many cells are in each state, in the order of ``STATES``, those that occur."""
    found = Counter(record.state for record in known)
    return {state: found[state] for state in STATES if found[state]}


def to_run(known: Iterable[Record], stale: str = "rerun", retry_failed: bool = True) -> list[Cell]:
    """Return the cells that a run of the sweep would run: all without a usable result.

    Diverged and skipped cells would end the same way. Stale cells are run again unless ``stale`` is "keep", failed ones
    unless ``retry_failed`` is False.
    """
    again = ["to do", "damaged"]
    if stale == "rerun":
        again.append("stale")
    if retry_failed:
        again.append("failed")
    return [record.cell for record in known if record.state in again]


def only(sweep: Sweep, condition: str) -> Sweep:
    """Return the sweep with the cells that meet ``name=value`` alone; mixed capacities may be named.

    Raises:
        BenchError: the condition names nothing, or no cell meets it.
    """
    name, equals, wanted = (part.strip() for part in condition.partition("="))
    if not equals or name not in AXES:
        raise BenchError(f"--only {condition!r}: it reads name=value; names {choices(name, AXES)}")
    values = sorted({_as_word(_axis(cell, name)) for cell in sweep.cells})
    sought = in_numbers(wanted) if name == "keep" else wanted
    number = _number(sought)
    if name == "keep" and moving_of(sought):
        cells = tuple(cell for cell in sweep.cells if cell.profile == sought)
    else:
        cells = tuple(
            cell
            for cell in sweep.cells
            if _as_word(_axis(cell, name)) == sought or (number is not None and _axis(cell, name) == number)
        )
    if not cells:
        raise BenchError(f"--only {condition!r}: no cell of {sweep.name} has it; {choices(wanted, values)}")
    return replace(sweep, cells=cells)


def run(
    cells: list[Cell],
    store: Store,
    *,
    plugins: Iterable[Path],
    device: str,
    jobs: int | None,
    on_event: Callable[[Event], None],
    stop_after: float = math.inf,
    stop: Callable[[], bool] = lambda: False,
    hire: Hire | None = None,
) -> Counter[str]:
    """Run cells and return how many ended with which status, those that another sweep ended meanwhile included.

    Args:
        cells: what to run.
        store: where the results go.
        plugins: files of methods and tasks the user named.
        device: where models are trained.
        jobs: number of cells run at once; None for as many as there is room for.
        on_event: hears of what happens.
        stop_after: seconds after which running cells leave a checkpoint and no other begins.
        stop: asked about once a second; True has the same effect at once.
        hire: returns who runs the cells, by default processes of this machine.

    Raises:
        BenchError: results cannot be written; finished cells are untouched.
    """
    from bench.launch import local  # not needed to look at a sweep, and heavy

    store.prepare()
    sweep_up(store.cells, Leases(store.unfinished))
    plugins = tuple(plugins)
    stamps = {cell.folder: store.stamp(cell) for cell in cells}

    def settled(cell: Cell) -> Record | None:
        record = store.record(cell, made(cell, plugins), data_of(cell, plugins))
        fresh = record.state == "failed" and store.stamp(cell) != stamps[cell.folder]
        return record if record.state in FINISHED or fresh else None

    ended: Counter[str] = Counter()

    def hear(event: Event) -> None:
        on_event(event)
        if isinstance(event, Ended):
            ended[event.status] += 1
            if event.fatal:
                raise BenchError(event.reason)

    crew = (hire or local.hire)(store, plugins, device, jobs, cells)
    Dispatch(cells, crew, Leases(store.unfinished), settled, hear, stop_after, stop).run()
    return ended


def write_tables(sweep: Sweep, store: Store, known: Iterable[Record]) -> dict[str, pa.Table]:
    """Assemble the finished cells of a sweep into ``tables/*.parquet`` and return them by name.

    Only cells of the present revisions are taken ("done" and "diverged"; a stale cell is not mixed in).
    """
    tables = tables_of(known, store.table, sweep.last, store.environment, sweep.plugins)
    for name in ("cells", "fits", *schema.ALL_TABLES):
        place = store.folder / "tables" / f"{name}.parquet"
        if name in tables:
            write_table(place, tables[name])
        else:
            place.unlink(missing_ok=True)
    return tables


def _axis(cell: Cell, name: str) -> Any:
    """Return where a cell lies on an axis; one of mixed keep ratios by its mixture, not by their mean."""
    return cell.mixture if name == "keep" and cell.capacities else getattr(cell, name)


def _as_word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(word: str) -> float | None:
    number = number_in(word)
    return None if number is None else rounded(number)
