"""Sweeps of many cells and finished folders for them that nobody ran, for the tests of what thousands of cells cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from tiny import cell_of, sweep_of

from bench.cell import Cell
from bench.launch.running import run_cell
from bench.store.cells import Store
from bench.store.made import made
from bench.store.wholeness import sealed

METHODS = ("fedavg", "origdrop", "orthdrop", "collective", "prism")
"""The first ignores the keep ratio, so that its cells come out equal for all four."""


def many(folder: Path, cells: int) -> Path:
    """Write a sweep file of so many cells, a multiple of 850, in five axes and two tables."""
    seeds, rest = divmod(cells, 850)
    assert rest == 0
    grid = f"""
    [[cells]]
    method = {list(METHODS)}
    keep = [0.2, 0.4, 0.6, 0.8]
    alpha = [0.1, 0.3, 0.5, 1.0, inf]
    seed = {list(range(seeds))}
    [cells.training]
    lr = [0.01, 0.02, 0.05, 0.1, 0.2]
    momentum = [0.0, 0.9]
    """
    return sweep_of(folder, grid, "figures = []\n", "many")


def finish_all(cells: Iterable[Cell], store: Store) -> None:
    """Put a whole folder in place for each cell: the files of one small cell, under a record of the cell's own."""
    model = cell_of("orthdrop", keep=0.5)
    original = Store(store.folder / "model")
    assert run_cell(model, store=original).status == "done"
    facts = json.loads((original.path(model) / "cell.json").read_text())
    del facts["checksum"]
    by = {method: made(cell_of(method)).facts() for method in METHODS}
    for cell in cells:
        place = store.path(cell)
        shutil.copytree(original.path(model), place)
        own = {"cell": cell.canonical(), "identity": cell.identity, **by[cell.method]}
        (place / "cell.json").write_bytes(sealed(facts | own))
    shutil.rmtree(original.folder)
