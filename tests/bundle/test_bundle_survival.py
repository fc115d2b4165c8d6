"""Packing and unpacking that is killed, done twice at once or short of space: whole results, or those from before."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deadly import killed_at
from noisy import cells, finish, tables_of

from bench.bundle.pack import pack
from bench.bundle.unpack import unpack
from bench.errors import StorageError
from bench.store.bundle import Bundle
from bench.store.cells import Store
from bench.store.leases import Leases
from bench.store.made import made
from bench.store.placing import sweep_up
from bench.store.wholeness import whole

CELLS = cells(4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("source"))
    for cell in CELLS:
        finish(store, cell, rounds=1)
    return store


@pytest.fixture
def bundle(source: Store, tmp_path: Path) -> Bundle:
    pack(source, tmp_path / "x.bench")
    return Bundle(tmp_path / "x.bench")


def test_a_kill_while_packing_leaves_the_older_bundle(source: Store, bundle: Bundle) -> None:
    before = bundle.path.read_bytes()
    for call in (1, 2, 3):
        killed = killed_at(call, lambda: pack(source, bundle.path, layers_every=2))
        now = Bundle(bundle.path)
        assert len(now.claims) == 4 and (bundle.path.read_bytes() == before or call > 1 or not killed)
    pack(source, bundle.path)
    assert bundle.path.read_bytes() == before
    assert [path.name for path in bundle.path.parent.glob("*.bench")] == ["x.bench"]


def test_a_kill_while_unpacking_leaves_whole_cells_and_the_rest_follows(
    source: Store, bundle: Bundle, tmp_path: Path
) -> None:
    store, kills = Store(tmp_path / "into"), 0
    for call in (1, 5, 9, 14, 22):
        kills += killed_at(call, lambda: unpack(bundle, store))
        for place in store.cells.glob("[!.]*"):
            assert whole(place)["status"] == "done"
    assert kills > 2
    unpack(bundle, store)
    sweep_up(store.cells, Leases(store.unfinished))
    assert sorted(path.name for path in store.cells.iterdir()) == sorted(cell.folder for cell in CELLS)
    assert not list(store.unfinished.rglob("lease.json"))
    for cell in CELLS:
        assert store.record(cell, made(cell), None).state == "done"
        assert tables_of(store, cell) == tables_of(source, cell)


def test_two_at_once(source: Store, bundle: Bundle, tmp_path: Path) -> None:
    """Both unpack into one folder and pack it under one name: each cell is there once, and the bundle is whole."""
    store, children = Store(tmp_path / "into"), []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            merged = unpack(bundle, store)
            whole_sweep = len(merged.taken) + len(merged.same) + len(merged.conflicts) == 4
            if not merged.conflicts:
                pack(store, tmp_path / "again.bench")
            os._exit(0 if whole_sweep else 1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    unpack(bundle, store)
    assert sorted(path.name for path in store.cells.iterdir()) == sorted(cell.folder for cell in CELLS)
    pack(store, tmp_path / "again.bench")
    assert (tmp_path / "again.bench").read_bytes() == bundle.path.read_bytes()


def test_a_cell_that_is_being_run_is_left_to_who_runs_it(bundle: Bundle, tmp_path: Path) -> None:
    store = Store(tmp_path / "into")
    store.prepare()
    lease = Leases(store.unfinished).take(CELLS[0].folder, os.getpid())
    assert lease is not None
    merged = unpack(bundle, store)
    lease.release()
    assert merged.conflicts == {CELLS[0].folder: f"process {os.getpid()} runs it now"} and len(merged.taken) == 3


def test_a_full_disk_leaves_what_was_there(
    source: Store, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = bundle.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"x\.bench: the bundle cannot be written: No space left"):
            pack(source, bundle.path, layers_every=2)
    assert bundle.path.read_bytes() == before and not list(tmp_path.glob(".x*"))
    store = Store(tmp_path / "into")
    unpack(bundle, store)
    (store.path(CELLS[0]) / "log.txt").write_text("damaged")
    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StorageError, match="the cell cannot be written: No space left"):
        unpack(bundle, store)
    assert len(list(store.cells.iterdir())) == 4
