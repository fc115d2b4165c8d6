"""Whether the data, partitions and precisions of cells are possible, before any of them is run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path

import torch

from bench.cell import Cell
from bench.errors import at
from bench.federation.federation import partition_of, rounds_of_a_cohort
from bench.federation.holdout import hold_out
from bench.models.recompute import recomputing
from bench.numerics.limits import check_memory
from bench.numerics.precision import check_precision, emulation
from bench.plugins import registry
from bench.plugins.asked import asked
from bench.tasks.base import Task

OF_THE_DATA = ("standin_train", "standin_test")
OF_THE_MODEL = ("precision", "recompute")
ROW_BYTES = 1000
"""What a round's rows take in memory at the least: some thirty numbers, each an object of its own."""
OF_THE_PARTITION = ("clients", "cohort", "samples_per_client", "users_per_client", "validation")


def check_possible(cells: Iterable[Cell], device: str, plugins: Iterable[Path] = ()) -> None:
    """Find what is wrong with the data and partitions of cells, and with their precision on a device.

    Of cells that ask for the same data and for partitions of the same kind and numbers of clients, samples and users,
    one is looked at. Those that are left may differ in the seed and in alpha, which no partition is impossible for; the
    smallest alpha is taken. Where cohorts are to stay together, each method is asked whether they can.

    Args:
        cells: what will be run.
        device: where models are trained.
        plugins: files of methods and tasks the user named.

    Raises:
        BenchError: data is not here or damaged, a partition is impossible, or the device cannot compute so.
    """
    unlike: dict[tuple[object, ...], Cell] = {}
    plugins = tuple(plugins)
    tasks = registry.tasks(plugins)
    for cell in cells:
        if "cohort_rounds" in cell.training:
            with at(f"cell {cell.folder}"), asked(tasks[cell.task]):
                method = registry.method(cell.method, plugins).build(cell)
                rounds_of_a_cohort(tasks[cell.task].build(cell), method)
        wanted = _asked(cell, tasks[cell.task])
        other = unlike.setdefault(wanted, cell)
        if (cell.alpha or math.inf) < (other.alpha or math.inf):
            unlike[wanted] = cell
    for cell in unlike.values():
        with at(f"cell {cell.folder}"), asked(tasks[cell.task]):
            task = tasks[cell.task].build(cell)
            check_precision(task.recipe.precision, device)
            check_room(task)
            partition = partition_of(cell, task, task.data(cell.data))
            if task.recipe.validation:
                hold_out(partition, task.recipe.validation, cell.seed)


def check_room(task: Task) -> None:
    """Refuse models and numbers of rounds that do not fit into this machine's memory, and blocks that are not there.

    The server's model alone has to fit, and a row of numbers that each round leaves.

    Raises:
        BenchError: they do not, or activations are to be computed anew in a model without blocks.
    """
    with torch.device("meta"):
        model = task.model()
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    check_memory(f"the model, with {size / 4:.3g} parameters,", size)
    check_memory(f"rounds = {task.recipe.rounds}", task.recipe.rounds * ROW_BYTES)
    if task.recipe.recompute:
        with recomputing(model):  # which a model without blocks cannot
            pass


def slow_precisions(cells: Iterable[Cell], device: str, plugins: Iterable[Path] = ()) -> list[str]:
    """Return a line for each precision of cells that a device only emulates; none where nothing is slow."""
    unlike = {(cell.task, cell.tier, cell.training.get("precision")): cell for cell in cells}
    tasks = registry.tasks(plugins)
    precisions = {tasks[cell.task].build(cell).recipe.precision for cell in unlike.values()}
    return [line for precision in sorted(precisions) if (line := emulation(precision, device))]


def _asked(cell: Cell, task: registry.TaskEntry) -> tuple[object, ...]:
    """Return what a cell asks of its data and partition."""
    recipe = task.build(cell).recipe
    named = "samples_per_client" in cell.training  # a number that the user gave may be refused
    numbers = attrgetter(*OF_THE_DATA, *OF_THE_MODEL, *OF_THE_PARTITION, "rounds")(recipe)
    return cell.task, cell.data, repr(cell.model), cell.tier, cell.partition, named, numbers
