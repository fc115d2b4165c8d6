"""What a trial is worth: the validation accuracy of its cells."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from bench.cell import Cell
from bench.store.cells import Store
from bench.store.checkpoint import Checkpoint
from bench.store.provenance import code_of, data_of

DIVERGED = 0.0
"""What a cell that diverged is worth: it is a legitimate outcome of its settings, and the worst one."""


def evaluated(rounds: Iterable[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Return (round, validation accuracy) of the evaluated rounds, without that of the initial model."""
    return [
        (row["round"], row["validation_acc"])
        for row in rounds
        if row["round"] > 0 and row["validation_acc"] is not None
    ]


def cell_accuracy(rounds: Iterable[Mapping[str, Any]], status: str, last: int) -> float:
    """Return the mean of the last evaluations of a cell, a fraction; ``DIVERGED`` if it did."""
    accuracies = [accuracy for _, accuracy in evaluated(rounds)]
    return DIVERGED if status == "diverged" or not accuracies else statistics.fmean(accuracies[-last:])


def rounds_so_far(cell: Cell, store: Store, plugins: Iterable[Path], device: str) -> tuple[list[dict[str, Any]], float]:
    """Return the rounds that a cell's checkpoint has, and the seconds they took; none where it cannot be used."""
    plugins = tuple(plugins)
    made_by = {
        "cell": cell.identity,
        "code": code_of(cell, plugins),
        "device": device,
        "torch": torch.__version__,
    }
    data = data_of(cell, plugins)
    try:
        saved = Checkpoint(store.checkpoint(cell), made_by if data is None else made_by | {"data": data}).load()
    except ValueError:
        return [], 0.0
    return ([], 0.0) if saved is None else (saved[1].rounds, saved[1].seconds)
