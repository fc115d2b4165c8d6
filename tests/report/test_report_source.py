"""A report of a sweep file, a folder or a bundle: the same numbers of each, and a sentence where there is nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from reported import page, store_of

from bench.bundle.pack import pack
from bench.errors import BenchError
from bench.launch.sweep import records, write_tables
from bench.report.manifest import write_manifest
from bench.report.page.compute import Numbers
from bench.report.page.leaderboard import leaderboard
from bench.report.source import of_bundle, of_folder, of_sweep
from bench.store.cells import Store

GRID = """
    [[cells]]
    method = ["fedavg", "orthdrop", "prism"]
    keep = 0.5
    seed = [0, 1]
"""


def written(folder: Path, grid: str = GRID) -> Store:
    """Return a store with finished cells, their tables and a manifest."""
    sweep, store = store_of(folder, grid)
    known = records(sweep, store)
    write_tables(sweep, store, known)
    write_manifest(store, sweep.title, known, [])
    return store


def rows_of(numbers: Numbers) -> list[list[str]]:
    """Return the leaderboard in words, without the numbers of series, which follow the order of the cells."""
    return [[f"{one.text} {one.note}" for one in row.entries] for row in leaderboard(numbers).rows]


def test_file_folder_and_bundle_say_the_same(tmp_path: Path) -> None:
    sweep, store = store_of(tmp_path, GRID)
    written(tmp_path)
    pack(store, tmp_path / "shared.bench")
    sources = of_sweep(sweep, store), of_folder(store.folder), of_bundle(tmp_path / "shared.bench")
    first, second, third = (rows_of(Numbers(source)) for source in sources)
    assert first == second == third and len(first) == 3
    assert {cell.name for cell in sources[0].known} == {cell.name for cell in sources[1].known}
    assert all(cell.environment.get("packages") for source in sources for cell in source.known)
    assert "shared.bench claims" in sources[2].notes[0] and sources[0].notes == ()


def test_a_folder_with_nothing_but_a_bundle_is_the_bundle(tmp_path: Path) -> None:
    _, store = store_of(tmp_path, GRID)
    (tmp_path / "shared").mkdir()
    pack(store, tmp_path / "shared" / "tiny.bench")
    assert of_folder(tmp_path / "shared").opened == "tiny.bench"


def test_cells_that_are_in_no_table_are_counted(tmp_path: Path) -> None:
    store = written(tmp_path)
    sweep, _ = store_of(tmp_path, GRID)
    cell = sweep.cells[0]
    facts = {"data": None, "seconds": 1.0}
    store.write(
        cell, status="failed", reason="it broke in /home/anna/x.py", tables={}, facts=facts, environment={}, log=[]
    )  # fmt: skip
    for name in ("cells", "rounds"):
        table = pd.read_parquet(store.folder / "tables" / f"{name}.parquet")
        table[table["cell"] != cell.folder].to_parquet(store.folder / "tables" / f"{name}.parquet")
    (failed,) = [one for one in of_folder(store.folder).known if one.state == "failed"]
    assert failed.name == cell.folder and failed.reason == "it broke in x.py"
    assert any(one.state == "failed" for one in of_sweep(sweep, store).known)


def test_the_evaluations_behind_a_folders_headline_are_found(tmp_path: Path) -> None:
    tables = written(tmp_path).folder / "tables"
    first = pd.read_parquet(tables / "rounds.parquet").query("round == 1")
    rounds = pd.concat(first.assign(round=number, test_acc=number / 10) for number in range(1, 6))
    cells = pd.read_parquet(tables / "cells.parquet").assign(final_acc=(0.4 + 0.5) / 2)
    rounds.to_parquet(tables / "rounds.parquet")
    cells.to_parquet(tables / "cells.parquet")
    assert of_folder(tables.parent).last == 2


def test_where_there_is_nothing_it_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="there are no tables here"):
        of_folder(tmp_path / "empty")
    with pytest.raises(BenchError, match="there is no such folder"):
        of_folder(tmp_path / "nowhere")
    (tmp_path / "torn.bench").write_bytes(b"PK torn")
    with pytest.raises(BenchError, match="get the bundle anew"):
        of_bundle(tmp_path / "torn.bench")
    sweep, store = store_of(tmp_path, GRID)
    with pytest.raises(BenchError, match=r"no cell of .* is finished \(6 to do\): 'sweep' runs them"):
        of_sweep(sweep, Store(tmp_path / "other"))
    tables = written(tmp_path).folder / "tables"
    cells = pd.read_parquet(tables / "cells.parquet")
    cells.drop(columns="capacities").to_parquet(tables / "cells.parquet")
    with pytest.raises(BenchError, match=r"earlier version \(no column 'capacities' in 'cells'\); 'python"):
        of_folder(store.folder)
    cells.iloc[:0].to_parquet(tables / "cells.parquet")
    with pytest.raises(BenchError, match="there is no finished cell here"):
        of_folder(store.folder)


@pytest.mark.parametrize(("value", "words"), [("0.5", "'0.5'"), (94.2, "94.2")])
@pytest.mark.parametrize(("table", "column"), [("cells", "final_acc"), ("rounds", "test_acc")])
def test_accuracies_that_are_no_fractions_are_one_sentence(
    tmp_path: Path, table: str, column: str, value: object, words: str
) -> None:
    folder = written(tmp_path).folder
    path = folder / "tables" / f"{table}.parquet"
    pd.read_parquet(path).assign(**{column: value}).to_parquet(path)
    with pytest.raises(BenchError, match=rf"{column} in the table '{table}' is .*{words}.*fractions from 0 to 1"):
        of_folder(folder)


@pytest.mark.parametrize("seed", [0.5, "a", None])
def test_seeds_that_are_no_whole_numbers_are_one_sentence(tmp_path: Path, seed: object) -> None:
    path = written(tmp_path).folder / "tables" / "cells.parquet"
    cells = pd.read_parquet(path).astype({"seed": object})
    cells.loc[2, "seed"] = seed
    cells.to_parquet(path) if seed != "a" else cells.astype({"seed": str}).to_parquet(path)
    with pytest.raises(BenchError, match=r"seed in the table 'cells' is .*; allowed: whole numbers"):
        of_folder(path.parents[1])


@pytest.mark.parametrize(("short", "whole"), [("cells", "rounds"), ("rounds", "cells")])
def test_a_cell_that_one_of_two_tables_lacks_is_one_sentence(tmp_path: Path, short: str, whole: str) -> None:
    path = written(tmp_path).folder / "tables" / f"{short}.parquet"
    table = pd.read_parquet(path)
    gone = str(table["cell"][0])
    table[table["cell"].astype(str) != gone].to_parquet(path)
    with pytest.raises(BenchError, match=rf"1 cell of the table '{whole}' \('{gone}'\) is not in '{short}'; allowed"):
        of_folder(path.parents[1])


def test_tables_of_an_earlier_version_say_less_and_say_so(tmp_path: Path) -> None:
    tables = written(tmp_path).folder / "tables"
    for name in ("cells", "rounds"):
        table = pd.read_parquet(tables / f"{name}.parquet")
        gone = [one for one in ("classes", "settings", "precision", "model", "cohort", "clients") if one in table]
        table.drop(columns=gone).to_parquet(tables / f"{name}.parquet")
    (tables.parent / "manifest.json").write_text("{}")
    source = of_folder(tables.parent)
    assert any("it is not a whole manifest" in note for note in source.notes)
    assert "The tables are of an earlier version, which had no classes, settings, precision." in source.notes
    assert "revisions, machine and versions are not known" in page(source).words
