"""The table of cells says how large each cell was and by what it was made, and shipped tables do as well."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from noisy import finish
from tiny import cell_of

import bench
from bench.cell import Cell
from bench.config.cells import Sweep, make_cell
from bench.launch.scale import of_settings
from bench.launch.sweep import write_tables
from bench.launch.upgrade import upgrade
from bench.launch.upgrade_tables import DERIVED
from bench.store import schema
from bench.store.cells import Store
from bench.store.made import made

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(path.parent for path in ROOT.glob("results/*/tables"))
SCALE = [field.name for field in schema.SCALE_FIELDS]
COMMIT = "c" * 40


def written(folder: Path, *cells: Cell) -> Store:
    """Write the tables of finished cells."""
    store = Store(folder)
    for cell in cells:
        finish(store, cell, environment={"git_commit": COMMIT, "git_changes": True})
    records = [store.record(cell, made(cell), None) for cell in cells]
    write_tables(Sweep("scale", "scale", cells, None), store, records)
    return store


def test_a_cells_row_has_its_settings_and_what_made_it(tmp_path: Path) -> None:
    place = {"task": "cnn-femnist", "keep": 0.5}
    training = {"rounds": 7, "lr": 0.25, "batch_size": 16}
    cell = make_cell({**place, "method": "prism", "parameters": {"kappa": 3.0}, "training": training}, "here")
    other = make_cell({**place, "method": "orthdrop", "diagnostics": "all"}, "here")
    written(tmp_path, cell, other)
    one, two = bench.load(tmp_path)["cells"].to_dict("records")
    assert one["settings"] == "batch_size=16, kappa=3, lr=0.25, rounds=7" and two["settings"] == "diagnostics=all"
    # Those of the tier "quick" of cnn-femnist, as its file has them.
    assert [two[name] for name in ("rounds", "clients", "cohort", "batch_size")] == [25, 20, 5, 32]
    assert [one[name] for name in ("rounds", "clients", "cohort", "batch_size")] == [7, 20, 5, 16]
    assert one["precision"] == "fp32" and one["model"] == "variant=paper"
    assert one["commit"] == f"{COMMIT} with changes"
    assert one["torch"] == "2.11.0" and one["processor"] == "AMD EPYC"
    assert one["revisions"].startswith("family spectral=1, harness=1, method prism=1")


@pytest.mark.parametrize(("task", "width"), [("resnet18-cifar10", 16), ("lstm-imdb", 48)])
def test_the_width_is_the_models(task: str, width: int) -> None:
    name = "width" if task == "resnet18-cifar10" else "hidden"
    cell = make_cell({"task": task, "method": "fedavg", "model": {name: width}}, "here")
    assert of_settings(cell)["width"] == width
    assert of_settings(Cell("gone", "fedavg", model={"width": 3})) == {"settings": "width=3"}


def test_an_older_table_learns_the_settings_of_the_cells_that_have_its_names(tmp_path: Path) -> None:
    cells = cell_of("prism", keep=0.5), cell_of("orthdrop", keep=0.5)
    store = written(tmp_path, *cells)
    path = store.folder / "tables" / "cells.parquet"
    now = pq.read_table(path)
    pq.write_table(now.drop_columns(SCALE), path)
    assert "empty: settings" in upgrade(store).changed[str(path)]
    assert all(pq.read_table(path)[name].null_count == len(cells) for name in SCALE)
    words = upgrade(store, sweep=[cells[1]]).changed[str(path)]
    assert "recomputed: settings" in words
    table = pq.read_table(path)
    for name in ("settings", "model", "rounds", "clients", "cohort", "batch_size", "precision"):
        assert table[name].to_pylist() == [None, now[name].to_pylist()[1]], name
    assert table["commit"].null_count == len(cells)  # no configuration says who ran it
    assert upgrade(store, sweep=[cells[1]]).same == 3 + len(cells)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_tables_have_the_present_columns_and_are_loaded_as_the_readme_says(folder: Path) -> None:
    tables = bench.load(folder)
    assert {"cells", "rounds", "ranks"} <= set(tables)
    for name in tables.keys() & DERIVED.keys():
        found = pq.read_schema(folder / "tables" / f"{name}.parquet")
        assert found.metadata[b"schema_version"] == str(schema.VERSION).encode()
        assert [field.name for field in DERIVED[name]] == found.names[: len(DERIVED[name])]
        assert list(tables[name]) == found.names and len(tables[name])
    assert set(tables["rounds"]["cell"]) <= set(tables["cells"]["cell"])
