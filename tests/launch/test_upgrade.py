"""Cells and tables of earlier versions get the present columns, and nothing that is there is changed or lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deadly import killed_at
from noisy import FACTS, cells, finish, tables_of
from tiny import CommandLine, cell_of

from bench.bundle.pack import pack
from bench.errors import BenchError
from bench.federation.federation import Federation
from bench.launch import running
from bench.launch.sweep import write_tables
from bench.launch.upgrade import OF_DATA, upgrade
from bench.store import schema
from bench.store.bundle import Bundle
from bench.store.cells import Store
from bench.store.leases import Leases
from bench.store.made import made
from bench.store.table_files import write_table
from bench.store.wholeness import sealed, whole

CELL = cells(1)[0]
HOOKS = "penalty, decay_free"
"""What the cell's method changes in local training."""
LATER = ("revisions", "own_code", "measures")
"""Facts that cells of schema 4 do not have."""


def of_schema_4(store: Store, cell: Any = CELL, without: Iterable[str] = ()) -> dict[str, Any]:
    """Make a finished cell one that schema 4 wrote, and return its facts."""
    place = store.path(cell) / "cell.json"
    facts = json.loads(place.read_bytes()) | {"schema": 4}
    for name in ("checksum", *LATER, *without):
        del facts[name]
    place.write_bytes(sealed(facts))
    return facts


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "old")
    finish(store, CELL)
    return store


def test_a_cell_of_schema_4_is_whole_again_and_still_stale(store: Store, tmp_path: Path) -> None:
    before, facts = tables_of(store, CELL), of_schema_4(store, without=["local_training"])
    assert store.record(CELL, made(CELL), None).reason == "it was written by another version"
    done = upgrade(store)
    assert done.changed == {CELL.folder: "schema 4 is 5 now; recomputed: local_training"} and not done.left
    found = whole(store.path(CELL))
    assert found == {**facts, "schema": schema.VERSION, "local_training": HOOKS, "upgraded_from": 4}
    assert tables_of(store, CELL) == before
    record = store.record(CELL, made(CELL), None)
    assert (record.state, record.reason) == ("stale", "it was made before results had revisions")
    assert (store.path(CELL) / "log.txt").read_text() == "forged\n"
    again = {path: path.stat().st_mtime_ns for path in store.cells.rglob("*")}
    assert upgrade(store).same == 1 and {path: path.stat().st_mtime_ns for path in store.cells.rglob("*")} == again
    pack(store, tmp_path / "x.bench")
    assert Bundle(tmp_path / "x.bench").claims[CELL.identity].facts["upgraded_from"] == 4


@pytest.mark.parametrize("same_data", [True, False])
def test_what_the_partition_says_is_counted_anew_where_the_data_is_the_same(
    store: Store, same_data: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {name: FACTS[name] for name in OF_DATA} | {"data": "e" * 64 if same_data else "f" * 64}
    monkeypatch.setattr(Federation, "build", lambda cell, plugins: cell)
    monkeypatch.setattr(running, "facts_of", lambda cell: found if cell == CELL else {})
    finish(store, CELL, data="e" * 64)
    of_schema_4(store, without=OF_DATA)
    words, now = upgrade(store).changed[CELL.folder], whole(store.path(CELL))
    assert f"{'recomputed' if same_data else 'empty'}: {', '.join(OF_DATA)}" in words
    assert {name: now.get(name) for name in OF_DATA} == {name: FACTS[name] if same_data else None for name in OF_DATA}


def test_columns_that_a_cells_tables_lack(store: Store) -> None:
    def drop(name: str) -> None:
        path = store.path(CELL) / "rounds.parquet"
        table = pq.read_table(path).drop_columns(name)
        pq.write_table(table, path)
        facts = json.loads((path.parent / "cell.json").read_bytes()) | {"schema": 4}
        from bench.files import checksum

        facts["files"]["rounds.parquet"] = checksum(path.read_bytes())
        del facts["checksum"]
        (path.parent / "cell.json").write_bytes(sealed(facts))

    drop("personal_acc")
    assert "empty: rounds.personal_acc" in upgrade(store).changed[CELL.folder]
    assert store.read(CELL, "rounds").schema.equals(schema.ROUNDS)
    drop("train_macs")
    left = upgrade(store).left[CELL.folder]
    assert left == "rounds.parquet lacks train_macs, for which nothing stands in; run the cell again"


def test_what_is_left_as_it_is(store: Store) -> None:
    of_schema_4(store)
    lease = Leases(store.unfinished).take(CELL.folder, os.getpid())
    assert lease is not None and upgrade(store).left == {CELL.folder: "it is being run now"}
    lease.release()
    (store.path(CELL) / "log.txt").write_text("damaged")
    assert upgrade(store).left == {CELL.folder: "log.txt is not as it was written"}
    finish(store, CELL)
    path = store.path(CELL) / "cell.json"
    facts = whole(path.parent) | {"schema": schema.VERSION + 1}
    path.write_bytes(sealed(facts))
    assert upgrade(store).left == {CELL.folder: "a later version wrote it"}
    with pytest.raises(BenchError, match="there are no results here"):
        upgrade(Store(store.folder / "nowhere"))


def old_tables(folder: Path) -> dict[str, pa.Table]:
    """Write the tables of a sweep as schema 2 had them, and return what they should be."""
    from bench.config.cells import Sweep

    of = [
        cell_of("orthdrop", keep=0.5, partition="lda", alpha=0.5),
        cell_of("prism", keep=0.5, parameters={"kappa": 3.0}),
    ]
    store = Store(folder)
    for cell in of:
        finish(store, cell, local_training=HOOKS, classes_per_client=None, divergence_bits=None)
    records = [store.record(cell, made(cell), None) for cell in of]
    tables = write_tables(Sweep("old", "old", tuple(of), None), store, records)
    shutil.rmtree(store.cells)
    for name, table in tables.items():
        lacking = ["classes", "local_training", "classes_per_client", "divergence_bits", "train_macs", "anme"]
        older = table.drop_columns([column for column in lacking if column in table.column_names])
        write_table(folder / "tables" / f"{name}.parquet", older, {"schema_version": "2", "made_by": "me"})
    return tables


def test_tables_get_the_present_columns(tmp_path: Path) -> None:
    expected = old_tables(tmp_path)
    done = upgrade(Store(tmp_path))
    assert len(done.changed) == 3 and not done.left
    words = done.changed[str(tmp_path / "tables" / "rounds.parquet")]
    assert words.startswith("schema 2 is 5 now; recomputed: ") and words.endswith("divergence_bits, train_macs")
    for name, wanted in expected.items():
        path = tmp_path / "tables" / f"{name}.parquet"
        table = pq.read_table(path)
        assert table.column_names == wanted.column_names and table.schema.metadata[b"made_by"] == b"me"
        for column in wanted.column_names:
            empty = [None] * len(table) if column in ("train_macs", "anme") else wanted[column].to_pylist()
            if column == "classes":  # alpha in both conventions tells it, and of one of the two tasks it is there
                assert set(table[column].to_pylist()) == {62}
            else:
                assert table[column].to_pylist() == empty, column
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    assert upgrade(Store(tmp_path)).same == 3
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before


def test_tables_that_are_damaged_or_later_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tables"
    write_table(folder / "cells.parquet", schema.CELLS.empty_table(), {"schema_version": "99"})
    (folder / "rounds.parquet").write_bytes(b"PAR1")
    (folder / "report.parquet").write_bytes(b"of a study")
    result = CommandLine(monkeypatch, capsys)("results", "upgrade", tmp_path)
    assert result.code == 1 and f"left as it is: {folder}/cells.parquet: a later version wrote it" in result.out
    assert f"left as it is: {folder}/rounds.parquet: it is damaged (" in result.out
    assert result.out.endswith(f"0 upgraded, 0 had all columns, 2 left as they are, in {tmp_path}\n")


def test_a_kill_leaves_each_cell_as_it_was_or_is_to_be(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for cell in cells(2):
        finish(store, cell)
        of_schema_4(store, cell)
    for call in (1, 4, 8):
        killed_at(call, lambda: upgrade(store))
        assert len(list(store.cells.glob("[!.]*"))) == 2
    upgrade(store)
    assert all(whole(store.path(cell))["upgraded_from"] == 4 for cell in cells(2))
    assert set(FACTS) <= set(whole(store.path(CELL)))
