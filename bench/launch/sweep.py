"""A sweep: which of its cells are done, running the others, and the tables of all."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.cell import Cell
from bench.config.cells import AXES, Sweep
from bench.errors import BenchError, choices
from bench.federation.profiles import DYNAMIC, in_numbers
from bench.launch.dispatch import Crew, Dispatch
from bench.launch.events import Ended, Event
from bench.store import schema
from bench.store.cells import FINISHED, Record, Store, write_table
from bench.store.leases import Leases
from bench.store.made import made
from bench.store.placing import sweep_up
from bench.store.provenance import data_of
from bench.store.wholeness import STATES
from bench.written import number_in, rounded

USABLE = ("done", "diverged")
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
    if name == "keep" and sought.endswith(DYNAMIC):
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
    known = list(known)
    labels = series_labels([record.cell for record in known])
    rows: list[dict[str, Any]] = []
    parts: dict[str, list[pa.Table]] = {name: [] for name in schema.ALL_TABLES}
    for record in known:
        if record.state not in USABLE:
            continue
        about = _cell_columns(record, labels[record.cell.identity])
        of_cell = {name: store.read(record.cell, name) for name in parts}
        rows.append({**about, **_accuracies(of_cell["rounds"], record.state, sweep.last), "reason": record.reason})
        for name, table in of_cell.items():
            parts[name].append(_beside(about, table, schema.ALL_TABLES[name]))
    tables = {"cells": schema.table_of(rows, schema.CELLS)}
    for name, wanted in schema.ALL_TABLES.items():
        table = _joined(parts[name], wanted)
        if len(table) or name not in schema.OPTIONAL:
            tables[name] = table
    for name in ("cells", *schema.ALL_TABLES):
        place = store.folder / "tables" / f"{name}.parquet"
        if name in tables:
            write_table(place, tables[name])
        else:
            place.unlink(missing_ok=True)
    return tables


def _accuracies(rounds: pa.Table, state: str, last: int) -> dict[str, float | None]:
    """Return the headline of a cell, which a diverged one has not, and the accuracy of its best round."""
    numbers, accs = rounds["round"].to_pylist(), rounds["test_acc"].to_pylist()
    evaluated = [acc for number, acc in zip(numbers, accs, strict=True) if number > 0 and acc is not None]
    headline = statistics.fmean(evaluated[-last:]) if evaluated and state == "done" else None
    return {"final_acc": headline, "oracle_acc": max(evaluated, default=None)}


def series_labels(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the label of each cell by its identity.

    The method, its parameters and the profile of mixed keep ratios, and such of tier, training and model as differ
    between the sweep's cells of the same task and method, so that two cells that differ in more than the axes of a
    figure never share a label. What is measured beside changes no result: diagnostics are in the label only where cells
    differ in nothing else.
    """
    groups: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.task, cell.method].append(cell)
    labels = {}
    for group in groups.values():
        twins = len({replace(cell, diagnostics="basic").identity for cell in group}) < len(group)
        settings = [
            _settings(cell) | ({"diagnostics": cell.diagnostics} if twins and cell.diagnostics != "basic" else {})
            for cell in group
        ]
        varied = sorted(
            {name for some in settings for name in some if any(some[name] != other.get(name) for other in settings)}
        )
        for cell, own in zip(group, settings, strict=True):
            labels[cell.identity] = cell.label_with({name: own[name] for name in varied if name in own})
    return labels


def _settings(cell: Cell) -> dict[str, Any]:
    diagnostics = {} if cell.diagnostics == "basic" else {"diagnostics": cell.diagnostics}
    return {**cell.training, **cell.model, "tier": cell.tier, **diagnostics}


def _cell_columns(record: Record, label: str) -> dict[str, Any]:
    cell, facts = record.cell, record.facts
    per_class, of_prior = _concentrations(cell, facts["classes"])
    return {
        "cell": cell.folder,
        "task": cell.task,
        "method": cell.method,
        "label": label,
        "keep": cell.keep,
        "capacities": cell.profile,
        "partition": cell.partition,
        "alpha": cell.alpha,
        "alpha_convention": facts["alpha_convention"],
        "alpha_per_class": per_class,
        "alpha_of_prior": of_prior,
        "classes_per_client": facts.get("classes_per_client"),
        "divergence_bits": facts.get("divergence_bits"),
        "local_training": facts.get("local_training"),
        "seed": cell.seed,
        "tier": cell.tier,
        "data_title": facts["data_title"],
        "stand_in": facts["stand_in"],
        "classes": facts["classes"],
        "status": facts["status"],
    }


def _concentrations(cell: Cell, classes: int) -> tuple[float | None, float | None]:
    """Return alpha in both conventions, per class and of Dir(alpha * prior), as for classes of equal size."""
    if cell.alpha is None or cell.partition not in ("lda", "lda-prior"):
        return None, None
    return (cell.alpha, cell.alpha * classes) if cell.partition == "lda" else (cell.alpha / classes, cell.alpha)


def _beside(about: Mapping[str, Any], table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Return a cell's table with the cell's columns in front."""
    columns = [
        pa.array([about[field.name]] * len(table), field.type) if field.name in about else table.column(field.name)
        for field in wanted
    ]
    return pa.Table.from_arrays(columns, schema=wanted)


def _joined(tables: list[pa.Table], wanted: pa.Schema) -> pa.Table:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks() if tables else wanted.empty_table()


def _axis(cell: Cell, name: str) -> Any:
    """Return where a cell lies on an axis; one of mixed keep ratios by its mixture, not by their mean."""
    return cell.mixture if name == "keep" and cell.capacities else getattr(cell, name)


def _as_word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(word: str) -> float | None:
    number = number_in(word)
    return None if number is None else rounded(number)
