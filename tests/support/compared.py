"""Finished cells that nobody trained, with accuracies that a test chooses, for the tests of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from tiny import sweep_of

from bench.cell import Cell
from bench.config.cells import Sweep, read_sweep
from bench.store.cells import Store
from bench.store.made import made
from bench.store.provenance import environment
from bench.store.schema import FOOTPRINT, ROUND_FIELDS
from bench.store.table_files import write_table

GRID = """
    [[cells]]
    method = ["fedavg", "orthdrop", "prism"]
    keep = [0.2, 0.5]
    seed = [0, 1, 2]
"""
UNIFORM = '''"""Uniform: every client trains principal kernels drawn uniformly."""

import numpy as np

from bench.families.spectral import Spectral


class Uniform(Spectral):
    summary = "principal kernels drawn uniformly"

    def choose(self, sigma, rank, rng):
        return np.sort(rng.choice(len(sigma), rank, replace=False))
'''
Acc = Callable[[Cell], float | None]


def sweep_in(folder: Path, grid: str = GRID) -> Sweep:
    """Write a sweep file into a folder and read it."""
    return read_sweep(sweep_of(folder, grid, "figures = []\n"))


def finish(
    cells: Iterable[Cell],
    store: Store,
    acc: Acc,
    plugins: tuple[Path, ...] = (),
    where: dict[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Put a finished folder in place for each cell, with one evaluated round of an accuracy; None has diverged.

    Args:
        cells: what is to be finished.
        store: where.
        acc: returns a cell's accuracy.
        plugins: files of its method.
        where: what its environment has otherwise than this machine's.
        facts: what its record has otherwise than a run of now would leave.
    """
    here = environment("cpu")
    for cell in cells:
        reached = acc(cell)
        rows = [_row(0, 0.1), _row(1, 0.2 if reached is None else reached)]
        about = {
            "data": "0" * 64,
            "data_title": "FEMNIST-like stand-in data",
            "stand_in": cell.data == "stand-in",
            "classes": 62,
            "evaluated_samples": 60,
            "commonest_class": 0.05,
            "alpha_convention": "none",
            "classes_per_client": 3.0,
            "divergence_bits": 0.5,
            "local_training": "",
            "seconds": 4.0,
        }
        store.write(
            cell,
            status="diverged" if reached is None else "done",
            reason="training loss is not finite in round 1" if reached is None else "",
            tables={"rounds": rows},
            facts={**made(cell, plugins).facts(), **about, **facts},
            environment=here | (where or {}),
            log=[],
        )


def _row(number: int, acc: float) -> dict[str, Any]:
    return {field.name: 1 for field in ROUND_FIELDS if not field.nullable} | {"round": number, "test_acc": acc}


def no_footprint(path: Path, *some: object, **how: object) -> pa.Table:
    """Write an empty table in the place of that of footprints, which takes longer than all that is tested."""
    table = FOOTPRINT.empty_table()
    write_table(path, table)
    return table
