"""What a client of each method would hold at full model size: PriSM's Table 1, counted from real sub-models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from bench.api import Client, Cohort, Method, Server, Skip, copy_of
from bench.cell import Cell
from bench.cost.cost import Cost, bytes_of, capacity, cost_of
from bench.models.base import blank
from bench.plugins import registry
from bench.seeding import Streams, key_of
from bench.store.provenance import code_of
from bench.store.schema import FOOTPRINT, table_of
from bench.store.table_files import write_table
from bench.tasks.base import Task

KEEPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
OnSkip = Callable[[str, str], None]


def footprint(
    cells: Iterable[Cell],
    plugins: Iterable[Path] = (),
    keeps: Iterable[float] = KEEPS,
    on_skip: OnSkip = lambda label, reason: None,
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
    """
    import torch

    cells, plugins = list(cells), tuple(plugins)
    keeps = sorted({*keeps, *_levels(cells)})
    wanted = {(cell.task, cell.label): cell for cell in map(_alike, cells)}
    rows: list[dict[str, Any]] = []
    for name in _tasks(cells):
        kind = kind_of_model(cell.model for cell in cells if cell.task == name)
        entry = registry.task(name, plugins)
        tier = "paper" if "paper" in entry.kind.tiers else next(iter(entry.kind.tiers))
        task = entry.build(Cell(name, "fedavg", tier=tier, model=kind))
        words = ", ".join(f"{option}={value}" for option, value in kind.items())
        with torch.device("meta"):
            model = task.model()
        blank(model)
        task.initialise(model, torch.Generator().manual_seed(key_of(0, "initialisation") % 2**63))
        full = cost_of(model, task)
        batch = task.recipe.batch_size
        rows.append({"task": name, "model": words, **_row("fedavg", "fedavg", 1.0, full, full, batch)})
        for (_, label), cell in sorted(wanted.items()):
            if cell.task != name or cell.method == "fedavg":
                continue
            method = registry.method(cell.method, plugins).build(cell)
            try:
                costs = _costs(method, model, task, keeps if method.uses_keep else [1.0])
            except Exception as error:  # a plugin may raise anything, and one that does must not cost the others
                on_skip(f"{name}, {label}", str(error) if isinstance(error, Skip) else repr(error))
                continue
            rows += [
                {"task": name, "model": words, **_row(cell.method, label, keep, cost, full, batch)}
                for keep, cost in costs.items()
            ]
    return table_of(rows, FOOTPRINT)


def kind_of_model(models: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the options that all cells' models have in common and that say what they are: words, as numbers are sizes.

    >>> kind_of_model([{"architecture": "resnet20", "width": 8}, {"architecture": "resnet20", "norm": "group"}])
    {'architecture': 'resnet20'}
    """
    of_cells = [{(name, value) for name, value in model.items() if isinstance(value, str)} for model in models]
    return dict(sorted(set.intersection(*of_cells)))


def _costs(method: Method, model: nn.Module, task: Task, keeps: Iterable[float]) -> dict[float, Cost]:
    """Return the cost of a client's sub-model by its keep ratio, among clients of the same where that matters."""
    server, costs = None, {}
    for keep in keeps:
        if server is None or method.follows_levels:
            method.levels = (keep,) if method.follows_levels else (1.0,)
            server = method.setup(copy_of(model), task)
        costs[keep] = submodel_cost(method, server, task, keep)
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
) -> pa.Table:
    """Write the footprint table unless the file has it already, made by the same code for the same methods."""
    cells = list(cells)
    wanted = sorted({f"{cell.task} {cell.label}" for cell in map(_alike, cells)})
    levels = [f"{level:g}" for level in _levels(cells)]
    kinds = [f"{name} {kind_of_model(cell.model for cell in cells if cell.task == name)}" for name in _tasks(cells)]
    made_by = " ".join([*wanted, *kinds, *levels, *sorted({code_of(cell, plugins) for cell in cells})])
    try:
        if (pq.read_schema(path).metadata or {}).get(b"made_by") == made_by.encode():
            return pq.read_table(path)
    except (OSError, pa.ArrowException):
        pass
    table = footprint(cells, plugins, on_skip=on_skip)
    write_table(path, table, {"made_by": made_by})
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
        "capacity": capacity(cost, full, batch_size),
        "full_parameters": full.parameters,
        "full_macs": full.macs,
    }
