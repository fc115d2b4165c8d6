"""Cells of the bundles that lie in a folder of results: below those that were finished there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from noisy import cells, finish
from tiny import CommandLine, sweep_of

from bench.bundle.pack import pack
from bench.cell import Cell
from bench.config.cells import read_sweep
from bench.errors import BenchError
from bench.launch.sweep import counts, records, to_run, write_tables
from bench.store.cells import Record, Store
from bench.store.leftovers import leftovers
from bench.store.made import made

CELL, OTHER = cells(2)
GRID = '[[cells]]\nmethod = "orthdrop"\nkeep = 0.5\nseed = [0, 1]\n'


def bundle_of(
    folder: Path, name: str, *, of: tuple[Cell, ...] = (CELL, OTHER), every: int = 1, **facts: object
) -> Store:
    """Put a bundle of finished cells into a folder, and return the store that they were finished in."""
    store = Store(folder / f"of-{name}")
    for cell in of:
        finish(store, cell, **facts)
    pack(store, folder / f"{name}.bench", every)
    return store


def record(store: Store, cell: Cell = CELL, data: str | None = None) -> Record:
    return store.record(cell, made(cell), data)


def numbers(store: Store, found: Record) -> list[float]:
    return store.table(found, "rounds").column("test_loss").to_pylist()


def test_a_cell_of_a_bundle_is_done(tmp_path: Path) -> None:
    source, store = bundle_of(tmp_path, "quick"), Store(tmp_path)
    found = record(store)
    assert (found.state, found.facts["claimed_by"], found.reason) == ("done", "quick.bench", "")
    for name in ("rounds", "ranks", "levels", "clients"):
        assert store.read(CELL, name).equals(source.read(CELL, name))
        assert store.table(found, name).equals(source.read(CELL, name))
    assert store.read(CELL, "rounds").schema.equals(source.read(CELL, "rounds").schema)
    assert record(store, cells(3)[2]).state == "to do" and not store.cells.exists()
    with pytest.raises(BenchError):
        store.read(cells(3)[2], "rounds")


def test_what_a_bundle_claims_is_held_against_the_present_revisions_and_data(tmp_path: Path) -> None:
    bundle_of(tmp_path, "quick", data="a" * 64, revisions={**made(CELL).facts()["revisions"], "harness": 99})
    found = record(Store(tmp_path))
    assert found.state == "stale" and "harness" in found.reason and found.facts["claimed_by"] == "quick.bench"
    bundle_of(tmp_path, "quick", data="a" * 64)
    assert record(Store(tmp_path), data="a" * 64).state == "done"
    found = record(Store(tmp_path), data="b" * 64)
    assert (found.state, found.reason) == ("stale", "it was made from other data")


def test_a_cell_that_was_finished_here_wins(tmp_path: Path) -> None:
    bundle_of(tmp_path, "quick")
    store = Store(tmp_path)
    finish(store, CELL, numbers="1")
    found = record(store)
    assert found.state == "done" and "claimed_by" not in found.facts and found.bundle is None
    here = store.read(CELL, "rounds").column("test_loss").to_pylist()
    assert numbers(store, found) == here
    assert numbers(store, record(store, OTHER)) != here


@pytest.mark.parametrize("state", ["failed", "damaged", "stale"])
def test_a_cell_that_is_of_no_use_here_gives_way(tmp_path: Path, state: str) -> None:
    source, store = bundle_of(tmp_path, "quick"), Store(tmp_path)
    finish(store, CELL, numbers="1", **{"status": "failed"} if state == "failed" else {})
    if state == "damaged":
        (store.path(CELL) / "log.txt").write_text("damaged")
    if state == "stale":
        finish(store, CELL, numbers="1", own_code="of another file")
    found = record(store)
    assert (found.state, found.facts["claimed_by"]) == ("done", "quick.bench")
    assert numbers(store, found) == numbers(source, record(source))
    (tmp_path / "quick.bench").unlink()
    assert record(Store(tmp_path)).state == state


def test_two_bundles_of_one_cell(tmp_path: Path) -> None:
    """They may say the same, or be of different revisions; other numbers of the same revisions are a contradiction."""
    source = bundle_of(tmp_path, "b", of=(CELL,))
    bundle_of(tmp_path, "a", of=(CELL,), every=2)
    assert record(Store(tmp_path)).facts["claimed_by"] == "a.bench"
    bundle_of(tmp_path, "a", of=(CELL,), numbers="1", revisions={"harness": 0})
    found = record(Store(tmp_path))
    assert (found.state, found.facts["claimed_by"]) == ("done", "b.bench")
    assert numbers(Store(tmp_path), found) == numbers(source, record(source))
    bundle_of(tmp_path, "a", of=(CELL,), numbers="1")
    with pytest.raises(BenchError) as refused:
        record(Store(tmp_path))
    words = f"{tmp_path}/a.bench and {tmp_path}/b.bench disagree on the cell {CELL.folder}: the two have other rounds"
    assert str(refused.value) == f"{words}; move one of them elsewhere"


def test_bundles_are_read_once_and_not_at_all_where_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.store import bundle

    opened = []
    read = bundle._read
    monkeypatch.setattr(bundle, "_read", lambda path: (opened.append(path.name), read(path))[1])
    bundle_of(tmp_path, "quick")
    (tmp_path / ".quick.bench.123").write_text("of a process that was killed")
    store = Store(tmp_path)
    store.prepare()
    assert opened == []
    for cell in (CELL, OTHER, CELL):
        assert record(store, cell).state == "done"
    assert opened == ["quick.bench"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line beside a sweep whose cells lie in a bundle alone, as in a fresh clone."""
    monkeypatch.chdir(tmp_path)
    sweep_of(tmp_path, GRID, "figures = []\n")
    bundle_of(tmp_path, "tiny")
    Path("results/tiny").mkdir(parents=True)
    shutil.move("tiny.bench", "results/tiny/tiny.bench")
    return CommandLine(monkeypatch, capsys)


def test_a_fresh_clone_has_nothing_to_run_and_all_to_draw(bench: CommandLine) -> None:
    sweep, store = read_sweep(Path("tiny.toml")), Store(Path("results/tiny"))
    known = records(sweep, store)
    assert counts(known) == {"done": 2} and to_run(known) == [] and leftovers(store, known) == []
    local = Store(Path("of-tiny"))
    expected = {name: table.to_pylist() for name, table in write_tables(sweep, local, records(sweep, local)).items()}
    assert bench("sweep", "tiny.toml", "--dry-run").out == "tiny: 2 cells: 2 done\n"
    assert {name: table.to_pylist() for name, table in write_tables(sweep, store, known).items()} == expected


def test_status_says_what_is_claimed(bench: CommandLine) -> None:
    shown = bench("status", "tiny.toml").out
    assert (
        "2 cells come from tiny.bench, which claims: revision 1 of harness; " in shown
        and "; torch 2.11.0; AMD EPYC\n" in shown
    )
    finish(Store(Path("results/tiny")), CELL)
    assert "1 cell comes from tiny.bench" in bench("status", "tiny.toml").out
    assert bench("results", "merge", "results/tiny", "results/tiny/tiny.bench").code == 0  # OTHER is unpacked
    Path("results/tiny/tiny.bench").unlink()
    assert "1 cell comes from tiny.bench, which claims: revision 1 of harness; " in bench("status", "tiny.toml").out


def test_a_bundle_that_cannot_be_used_is_one_sentence(bench: CommandLine) -> None:
    path = Path("results/tiny/tiny.bench")
    path.write_bytes(path.read_bytes()[:-1])
    for words in (
        ("status", "tiny.toml"),
        ("sweep", "tiny.toml", "--dry-run"),
        ("plot", "tiny.toml"),
        ("gc", "tiny.toml"),
    ):
        assert bench.refused(*words) == f"{path}: it is not whole; get the bundle anew, or move it elsewhere"
