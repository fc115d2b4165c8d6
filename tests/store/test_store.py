"""Cells on disk: whole or not there, and every change of their files is noticed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import cell_of

from bench import revisions
from bench.errors import BenchError
from bench.launch.running import run_cell
from bench.launch.sweep import to_run
from bench.store import provenance
from bench.store.cells import Store
from bench.store.leases import LeaseLost, Leases
from bench.store.leftovers import leftovers
from bench.store.made import made
from bench.store.placing import replace_folder, sweep_up
from bench.store.schema import RANKS, ROUNDS
from bench.store.table_files import write_table
from bench.store.wholeness import STATES, sealed

CELL = cell_of("orthdrop", keep=0.5)
FILES = ("cell.json", "environment.json", "log.txt", "ranks.parquet", "rounds.parquet")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert run_cell(CELL, store=Store(folder)).status == "done"
    return folder


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Store:
    return Store(Path(shutil.copytree(finished, tmp_path / "results")))


def state(store: Store) -> str:
    return store.record(CELL, made(CELL), None).state


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_finished_cell_has_its_files(store: Store) -> None:
    assert sorted(path.name for path in store.path(CELL).iterdir()) == sorted(FILES)
    assert state(store) == "done"
    facts = json.loads((store.path(CELL) / "cell.json").read_text())
    assert facts["cell"] == CELL.canonical() and facts["identity"] == CELL.identity
    environment = json.loads((store.path(CELL) / "environment.json").read_text())
    assert environment["data"] == facts["data"] and len(facts["data"]) == 64
    assert environment["device"] == "cpu" and "torch" in environment["packages"] and "git_commit" in environment
    log = (store.path(CELL) / "log.txt").read_text().splitlines()
    assert [f"round {number}/2" in line for number, line in enumerate(log[1:4])] == [True] * 3
    assert log[-1].endswith("done, stand-in data") and "stand-in data" in log[1]


def test_tables_have_exactly_the_schema(store: Store) -> None:
    for name, schema, rows in (("rounds", ROUNDS, 3), ("ranks", RANKS, None)):
        table = store.read(CELL, name)
        assert table.schema.equals(schema) and len(table) == (rows or len(table)) > 0
        assert not any(table.column(field.name).null_count for field in schema if not field.nullable)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_byte_is_noticed(store: Store, name: str) -> None:
    path = store.path(CELL) / name
    size = path.stat().st_size
    for place in range(0, size, max(size // 40, 1)):
        flip(path, place)
        assert state(store) == "damaged", place
        flip(path, place)
    assert state(store) == "done"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["cut", "empty", "missing", "a folder"],
)
def test_damage_is_noticed_with_a_reason_and_mended(store: Store, name: str, spoil: Callable[[Path], object]) -> None:
    spoil(store.path(CELL) / name)
    record = store.record(CELL, made(CELL), None)
    assert record.state == "damaged" and name in record.reason and "\n" not in record.reason


@pytest.mark.parametrize("text", ["[]", "null", "{}", "3", '{"status": "done"}', "\x00", "{" * 9])
def test_any_text_in_place_of_the_facts_is_damage(store: Store, text: str) -> None:
    (store.path(CELL) / "cell.json").write_text(text)
    assert state(store) == "damaged"


def test_damaged_cell_is_replaced_by_a_new_run(store: Store) -> None:
    before = store.read(CELL, "rounds").column("test_loss")
    flip(store.path(CELL) / "rounds.parquet", 100)
    run_cell(CELL, store=store)
    assert state(store) == "done" and store.read(CELL, "rounds").column("test_loss").equals(before)
    assert [path.name for path in store.cells.iterdir()] == [CELL.folder]


def test_results_of_another_revision_or_of_other_data_are_stale(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.loads((store.path(CELL) / "cell.json").read_text())["data"]
    assert store.record(CELL, made(CELL), data).state == "done"
    assert store.record(CELL, made(CELL), "f" * 64).state == "stale"
    monkeypatch.setattr(provenance, "simulation_code", lambda: "changed")
    record = store.record(CELL, made(CELL), data)
    assert record.state == "done" and not record.same_code  # an edit is none of what its numbers depend on
    monkeypatch.setitem(revisions.FAMILIES, "spectral", 7)
    record = store.record(CELL, made(CELL), data)
    assert record.state == "stale"
    assert record.reason == "family spectral is at revision 7 and was at revision 1 (docs/revisions.md)"


def test_unwritable_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "sweep")
    assert store.record(CELL, made(CELL), None).state == "to do"
    for act in (store.prepare, lambda: write_table(store.folder / "t.parquet", pa.table({"a": [1]}))):
        with pytest.raises(BenchError, match=r"file/sweep.* cannot be written.*Not a directory"):
            act()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_forbidden_folder_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BenchError, match="Permission denied"):
        Store(tmp_path / "sweep").prepare()


def test_full_disk_leaves_the_older_result(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(BenchError, match="cannot be written: No space left"):
        run_cell(CELL, store=store)
    assert state(store) == "done" and len(list(store.cells.iterdir())) == 1


def test_leftovers_of_dead_processes_are_swept_up(store: Store) -> None:
    dead = next(number for number in range(400_000, 500_000) if not Path(f"/proc/{number}").exists())
    for owner in (dead, os.getpid()):
        (store.cells / f".{CELL.folder}.{platform.node()}.{owner}").mkdir()
        (store.cells / f".{CELL.folder}.old.{platform.node()}.{owner}").mkdir()
    (store.cells / f".{CELL.folder}.another-machine.{dead}").mkdir()
    sweep_up(store.cells, Leases(store.unfinished))
    left = [path.name.removeprefix(f".{CELL.folder}.") for path in store.cells.glob(".*")]
    mine = f"{platform.node()}.{os.getpid()}"
    assert sorted(left) == sorted([mine, f"old.{mine}", f"another-machine.{dead}"])
    assert state(store) == "done"


def other_version(folder: Path, **changes: object) -> None:
    """Make a folder one that another version wrote."""
    facts = json.loads((folder / "cell.json").read_text()) | {"schema": 1} | changes
    del facts["checksum"]
    (folder / "cell.json").write_bytes(sealed(facts))


def test_cells_of_another_version_are_stale_and_not_damaged(store: Store) -> None:
    other_version(store.path(CELL), files={})
    record = store.record(CELL, made(CELL), None)
    assert (record.state, record.reason) == ("stale", "it was written by another version")
    assert to_run([record], stale="keep") == [] and to_run([record]) == [CELL]
    flip(store.path(CELL) / "cell.json", 30)
    assert state(store) == "damaged"


def killed_between_the_renames(fresh: Path, place: Path) -> int:
    """Put a folder in place in a process that is killed once the old one has stepped aside; return its number."""
    child = os.fork()
    if child == 0:
        rename, moves = Path.rename, iter((True, False))
        Path.rename = lambda path, to: (  # type: ignore[method-assign, assignment]
            rename(path, to) if next(moves) else os.kill(os.getpid(), signal.SIGKILL)
        )
        replace_folder(fresh, place)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return child


@pytest.mark.parametrize("kept", ["new", "old", "old of another version", "none"])
def test_a_kill_between_two_renames_loses_no_result(store: Store, kept: str, tmp_path: Path) -> None:
    place = store.path(CELL)
    fresh = Path(shutil.copytree(place, tmp_path / "fresh"))
    if kept != "new":
        flip(fresh / "log.txt", 0)
    if kept == "old of another version":
        other_version(place)
    if kept == "none":
        flip(place / "log.txt", 0)
    (place / "of-old").touch()
    child = killed_between_the_renames(fresh, place)
    fresh.rename(store.cells / f".{CELL.folder}.{platform.node()}.{child}")
    assert not place.exists() and len(list(store.cells.iterdir())) == 2
    # What is found again is nothing that gc shows or deletes.
    assert len(leftovers(store, [store.record(CELL, made(CELL), None)])) == (2 if kept == "none" else 0)
    lease = Leases(store.unfinished).take(CELL.folder, os.getpid())
    assert lease is not None
    sweep_up(store.cells, Leases(store.unfinished))
    assert not place.exists()  # somebody runs the cell: it is his
    lease.release()
    sweep_up(store.cells, Leases(store.unfinished))
    states = {"new": "done", "old": "done", "old of another version": "stale", "none": "to do"}
    assert state(store) == states[kept] and (place / "of-old").exists() == kept.startswith("old")
    assert [path.name for path in store.cells.iterdir()] == [CELL.folder] * (kept != "none")
    assert [path.name for path in store.unfinished.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        replace_folder(store.cells / "missing", store.path(CELL))
    assert state(store) == "done" and len(list(store.cells.iterdir())) == 1


def old_of(store: Store) -> Path:
    """The folder in which an older result steps aside for this process."""
    return store.cells / f".{CELL.folder}.old.{platform.node()}.{os.getpid()}"


@pytest.mark.parametrize("in_place", [True, False])
def test_what_an_earlier_process_of_the_same_number_left_is_no_hindrance(store: Store, in_place: bool) -> None:
    """Processes of a container that is started again have the same numbers."""
    shutil.copytree(store.path(CELL), old_of(store))
    if not in_place:
        shutil.rmtree(store.path(CELL))
    run_cell(CELL, store=store)
    assert state(store) == "done" and [path.name for path in store.cells.iterdir()] == [CELL.folder]


def test_what_may_be_the_only_copy_is_put_back(store: Store) -> None:
    store.path(CELL).rename(old_of(store))
    with pytest.raises(FileNotFoundError):
        replace_folder(store.cells / "missing", store.path(CELL))
    assert state(store) == "done" and [path.name for path in store.cells.iterdir()] == [CELL.folder]


def test_a_cell_that_another_process_put_in_place_meanwhile_is_lost(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other is quicker by one rename, whether there was an older folder or not."""
    theirs = shutil.copytree(store.path(CELL), tmp_path / "theirs")
    files = {path.name: path.read_bytes() for path in theirs.iterdir()}
    rename = Path.rename

    def late(path: Path, to: Path) -> Path:
        if to == store.path(CELL) and not to.exists():
            (shutil.copytree(theirs, to) / "of-theirs").touch()
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", late)
    for act in (lambda: run_cell(CELL, store=store), lambda: store.adopt(CELL, files)):
        with pytest.raises(LeaseLost, match="another process"):
            act()
        assert (store.path(CELL) / "of-theirs").exists() and len(list(store.cells.iterdir())) == 1
        shutil.rmtree(store.path(CELL))


def test_a_lease_that_is_lost_while_the_folder_is_written_puts_nothing_in_place(store: Store) -> None:
    def lost() -> None:
        raise LeaseLost("another process has taken it over")

    before = store.stamp(CELL)
    content = {path.name: path.read_bytes() for path in store.path(CELL).iterdir()}
    nothing: Any = {"tables": {}, "facts": {}, "environment": {}, "log": []}
    for act in (
        lambda: store.write(CELL, status="failed", reason="", **nothing, guard=lost),
        lambda: store.adopt(CELL, content, guard=lost),
    ):
        with pytest.raises(LeaseLost):
            act()
    assert store.stamp(CELL) == before and [path.name for path in store.cells.iterdir()] == [CELL.folder]


def test_every_state_is_known(store: Store) -> None:
    assert {"done", "stale", "damaged", "to do", "failed"} < set(STATES)
    assert store.record(cell_of("orthdrop", keep=0.2), made(CELL), None).state == "to do"
