"""What a client of each method would hold at full model size: PriSM's Table 1, counted from real sub-models."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from bench.api import Client, Cohort, Method, Server, Skip, copy_of
from bench.budget.taken import full_model_of
from bench.cell import Cell
from bench.cost.cost import Cost, bytes_of, capacity, cost_of
from bench.launch.counted import MADE_BY, Counted, Row, counted_in, made_by
from bench.plugins import registry
from bench.seeding import Streams
from bench.store.schema import FOOTPRINT, table_of
from bench.store.table_files import write_table
from bench.tasks.base import Task

KEEPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
OnSkip = Callable[[str, str], None]


class _Scale:
    """The model of a task that a footprint is counted of, made when it is first needed."""

    def __init__(self, name: str, cells: Iterable[Cell], plugins: tuple[Path, ...]) -> None:
        kinds = registry.task(name, plugins).kind
        self.kind = kind_of_model(cell.model for cell in cells if cell.task == name)
        self.tier = "paper" if "paper" in kinds.tiers else next(iter(kinds.tiers))
        self.cell = Cell(name, "fedavg", tier=self.tier, model=self.kind)
        self.words = ", ".join(f"{option}={value}" for option, value in self.kind.items())
        self.task = registry.task(name, plugins).build(self.cell)

    @functools.cached_property
    def model(self) -> nn.Module:
        """The full model with its initial weights."""
        return full_model_of(self.task)

    @functools.cached_property
    def full(self) -> Cost:
        """What the full model costs."""
        return cost_of(self.model, self.task)

    def row(self, method: str, label: str, keep: float, cost: Cost) -> Row:
        """Return the row of a sub-model of this cost."""
        of = {"task": self.cell.task, "model": self.words}
        return {**of, **_row(method, label, keep, cost, self.full, self.task.recipe.batch_size)}


def footprint(
    cells: Iterable[Cell],
    plugins: Iterable[Path] = (),
    keeps: Iterable[float] = KEEPS,
    on_skip: OnSkip = lambda label, reason: None,
    known: Counted | None = None,
) -> pa.Table:
    """Return the cost of the sub-model of each (task, method with its parameters) and keep ratio.

    The tasks' models have their paper's size whatever the cells' tier, so that the table can be compared with the
    published one, or that of the task's first tier where it has no tier "paper"; what kind of model it is, such as its
    architecture, is as all cells of the task have it. Nothing is trained.

    Args:
        cells: tasks and methods are taken from them.
        plugins: files of methods and tasks the user named.
        keeps: keep ratios, beside those of the cells' profiles; a method that trains the full model has one row, at 1.
        on_skip: told of each method that is left out, since it is not defined for the task or raises, and why.
        known: rows that were counted before, and are not counted again.

    Returns:
        the table, whose metadata say what its rows were made by.
    """
    cells, plugins, known = list(cells), tuple(plugins), known or {}
    keeps = sorted({*keeps, *_levels(cells)})
    wanted = {(cell.task, cell.label): cell for cell in map(_alike, cells)}
    rows: list[Row] = []
    by: list[tuple[str, str, str]] = []
    for name in _tasks(cells):
        scale = _Scale(name, cells, plugins)
        own = [cell for (task, _), cell in sorted(wanted.items()) if task == name and cell.method != "fedavg"]
        for cell in (scale.cell, *own):
            try:
                key = made_by(cell, scale.tier, scale.kind, plugins)
                found = _rows(cell, scale, keeps, known.get(key, {}), plugins)
            except Exception as error:  # a plugin may raise anything, and one that does must not cost the others
                on_skip(f"{name}, {cell.label}", str(error) if isinstance(error, Skip) else repr(error))
                continue
            rows += found
            by.append((name, cell.label, key))
    return table_of(rows, FOOTPRINT).replace_schema_metadata({**FOOTPRINT.metadata, MADE_BY: json.dumps(by).encode()})


def _rows(
    cell: Cell, scale: _Scale, keeps: Iterable[float], before: Mapping[float, Row], plugins: tuple[Path, ...]
) -> list[Row]:
    """Return the rows of a method on a task, those that were counted before as they are."""
    method = registry.method(cell.method, plugins).build(cell)
    if cell is scale.cell:
        return [before.get(1.0) or scale.row("fedavg", "fedavg", 1.0, scale.full)]
    keeps = keeps if method.uses_keep else [1.0]
    costs = _costs(method, scale, [keep for keep in keeps if keep not in before])
    return [before[keep] if keep in before else scale.row(cell.method, cell.label, keep, costs[keep]) for keep in keeps]


def kind_of_model(models: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the options that all cells' models have in common and that say what they are: words, as numbers are sizes.

    >>> kind_of_model([{"architecture": "resnet20", "width": 8}, {"architecture": "resnet20", "norm": "group"}])
    {'architecture': 'resnet20'}
    """
    of_cells = [{(name, value) for name, value in model.items() if isinstance(value, str)} for model in models]
    return dict(sorted(set.intersection(*of_cells)))


def _costs(method: Method, scale: _Scale, keeps: Iterable[float]) -> dict[float, Cost]:
    """Return the cost of a client's sub-model by its keep ratio, among clients of the same where that matters."""
    server, costs = None, {}
    for keep in keeps:
        if server is None or method.follows_levels:
            method.levels = (keep,) if method.follows_levels else (1.0,)
            server = method.setup(copy_of(scale.model), scale.task)
        costs[keep] = submodel_cost(method, server, scale.task, keep)
    return costs


def submodel_cost(method: Method, server: Server, task: Task, keep: float) -> Cost:
    """Return the cost of the sub-model that a method extracts for one client of a keep ratio, in the first round."""
    cohort = Cohort(1, (Client(0, 1, keep),))
    (selection,) = method.select(server, cohort, Streams(0, "selection", 1))
    submodel = method.extract(server, selection)
    return replace(cost_of(submodel, task), down_bytes=bytes_of(method.received(server, selection, submodel)))


def write_footprint(
    path: Path,
    cells: Iterable[Cell],
    plugins: Iterable[Path] = (),
    on_skip: OnSkip = lambda label, reason: None,
    beside: Iterable[Path] = (),
) -> pa.Table:
    """Write the footprint table, of which only that is counted which no earlier one has under the same revisions.

    Args:
        path: the file, whose own rows are taken too.
        cells, plugins, on_skip: see :func:`footprint`.
        beside: other files with such tables.
    """
    table = footprint(cells, plugins, on_skip=on_skip, known=counted_in([path, *beside]))
    try:
        if pq.read_table(path).equals(table, check_metadata=True):
            return table
    except (OSError, pa.ArrowException):
        pass
    write_table(path, table)
    return table


def _tasks(cells: Iterable[Cell]) -> list[str]:
    return sorted({cell.task for cell in cells})


def _alike(cell: Cell) -> Cell:
    """Return a cell without its keep ratios, which are no part of a footprint's label."""
    return replace(cell, keep=1.0, capacities=(), capacity="fixed")


def _levels(cells: Iterable[Cell]) -> list[float]:
    """Return the keep ratios of the cells' profiles, ascending."""
    return sorted({keep for cell in cells for keep, _ in cell.capacities})


def _row(method: str, label: str, keep: float, cost: Cost, full: Cost, batch_size: int) -> dict[str, Any]:
    return {
        "method": method,
        "label": label,
        "keep": keep,
        "parameters": cost.parameters,
        "factored_parameters": cost.factored_parameters,
        "macs": cost.macs,
        "down_bytes": cost.down_bytes,
        "trained_parameters": cost.trained_parameters,
        "activations": cost.activations,
        "train_macs": cost.train_macs,
        "ideal_macs": cost.ideal_macs,
        "ideal_train_macs": cost.ideal_train_macs,
        "capacity": capacity(cost, full, batch_size),
        "full_parameters": full.parameters,
        "full_macs": full.macs,
    }
