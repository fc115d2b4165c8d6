"""Looking at results, tidying them up, and joining those of two machines."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import CELLS, CommandLine, plugin, sweep_of, timeless

from bench import revisions
from bench.config.cells import read_sweep
from bench.launch import running
from bench.launch.running import Hooks, run_cell
from bench.launch.sweep import counts, records, write_tables
from bench.store import checkpoint
from bench.store.cells import Store
from bench.store.leases import Leases
from bench.store.origin import remember
from bench.store.wholeness import sealed, whole

HEAD = 'title = "Tiny"\nfigures = []\n'
ROUNDS = CELLS + "[cells.training]\nrounds = 3\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny sweep of three cells, all done."""
    folder = tmp_path_factory.mktemp("finished")
    for cell in read_sweep(sweep_of(folder, ROUNDS, HEAD)).cells:
        assert run_cell(cell, store=Store(folder / "results" / "tiny")).status == "done"
    return folder


@pytest.fixture
def bench(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> CommandLine:
    """The command line in a copy of that folder."""
    monkeypatch.chdir(shutil.copytree(finished, tmp_path / "work"))
    monkeypatch.setattr(checkpoint, "EVERY_ROUNDS", 1)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", 1e9)
    return CommandLine(monkeypatch, capsys)


def store() -> Store:
    return Store(Path("results/tiny"))


def interrupt(method: str) -> str:
    """Replace a finished cell by one that was interrupted after round 1 and return its folder."""
    cell = next(cell for cell in read_sweep(Path("tiny.toml")).cells if cell.method == method)
    shutil.rmtree(store().path(cell), ignore_errors=True)
    asked = iter((False, True))
    with pytest.raises(checkpoint.Stopped):
        run_cell(cell, store=store(), hooks=Hooks(stop=lambda: next(asked)))
    return cell.folder


def set_seconds(folder: Path, seconds: float) -> None:
    """Change how long a finished cell took, and its checksum."""
    facts = whole(folder) | {"seconds": seconds}
    (folder / "cell.json").write_bytes(sealed(facts))
    assert whole(folder)["seconds"] == seconds


def test_status_of_a_running_an_interrupted_and_a_failed_cell(bench: CommandLine) -> None:
    assert bench("status", "tiny.toml").out == "Tiny: 3 cells: 3 done\n"
    waiting = interrupt("fedavg")
    shown = bench("status", "tiny.toml").out
    assert "2 done, 1 to do" in shown and f"to do: {waiting}: checkpoint after round 1/3" in shown
    assert "no estimate for 1 cell: none of the same task and family is done" in shown
    lease = Leases(store().unfinished).take(waiting, os.getpid())
    assert lease is not None
    shown = bench("status", "tiny.toml").out
    assert "2 done, 1 running\n" in shown
    assert f"running: {waiting}: process {os.getpid()}, checkpoint after round 1/3" in shown
    lease.release()
    assert bench("status", "tiny.toml").out.count("to do") == 2


def test_the_time_left_comes_from_done_cells_of_the_same_family(bench: CommandLine) -> None:
    cells = {(cell.method, cell.keep): cell for cell in read_sweep(Path("tiny.toml")).cells}
    set_seconds(store().path(cells["orthdrop", 0.2]), 3 * 3600.0)
    shutil.rmtree(store().path(cells["orthdrop", 0.5]))
    # An hour a round, three rounds to go: no number of processes makes one cell quicker.
    assert "about 3 h 0 min left with 2 at once" in with_two(bench)
    # One of the three rounds is done.
    asked = iter((False, True))
    with pytest.raises(checkpoint.Stopped):
        run_cell(cells["orthdrop", 0.5], store=store(), hooks=Hooks(stop=lambda: next(asked)))
    assert "about 2 h 0 min left with 2 at once" in with_two(bench)


def with_two(bench: CommandLine) -> str:
    from bench.numerics import runtime

    bench.monkeypatch.setattr(runtime, "cores", lambda: 2)
    return bench("status", "tiny.toml").out


def test_failed_cells_are_tried_again_or_left(bench: CommandLine) -> None:
    path = plugin(Path(), "bad", aggregate="raise ValueError('no')")
    file = sweep_of(Path(), '[[cells]]\nmethod = ["bad", "orthdrop"]\nkeep = 0.5\n', HEAD, "mixed")
    for cell in read_sweep(file, [path]).cells:
        run_cell(cell, store=Store(Path("results/mixed")), plugins=[path])
    words = ("sweep", file, "--plugin", path, "--device", "cpu")
    assert bench(*words, "--dry-run").out.count("would run") == 1
    assert bench(*words, "--dry-run", "--retry-failed").out.count("would run") == 1
    left = bench(*words, "--leave-failed")
    assert left.code == 1 and "nothing to run" in left.out and "failed cells: 1" in left.out
    shown = bench("status", file, "--plugin", path)
    assert "1 done, 1 failed" in shown.out and "ValueError: no" in shown.out
    assert "the next sweep runs again: 1 failed (--leave-failed leaves them)\n" in shown.out


@pytest.mark.slow
def test_two_sweep_files_of_one_name_are_named(bench: CommandLine) -> None:
    files = []
    for folder in (Path("a"), Path("b")):
        folder.mkdir()
        files.append(sweep_of(folder, '[[cells]]\nmethod = "fedavg"\n', HEAD, "twin"))
    assert bench("sweep", files[0], "--device", "cpu", "--jobs", 1).code == 0
    for words in (("status", files[0]), ("gc", files[0]), ("sweep", files[0])):
        assert "sweep files" not in bench(*words).out
    both = " and ".join(("results/twin", "results/other"))
    line = f"note: 2 sweep files share results/twin: {files[1].resolve()}, {files[0].resolve()}\n"
    for words in (("status", files[1]), ("gc", files[1]), ("sweep", files[1], "--dry-run")):
        assert line in bench(*words).out
    for folder, file in (("twin", files[0]), ("other", files[1])):
        Path("results", folder, "cells").mkdir(parents=True, exist_ok=True)
        remember(Path("results", folder), file)
        remember(Path("results", folder), file)
    joined = bench("results", "merge", "results/twin", "results/other")
    assert joined.code == 0 and f"note: 2 sweep files share {both}: " in joined.out
    files[0].unlink()  # moved or deleted: it shares nothing any more
    assert "note" not in bench("status", files[1]).out
    Path("results/twin/sweep.json").write_text("damaged")
    assert bench("status", files[1]).code == 0


def test_merge_leaves_cells_of_another_version(bench: CommandLine) -> None:
    shutil.copytree("results", "other")
    first = min(store().cells.iterdir())
    (first / "cell.json").write_bytes(sealed(whole(first) | {"schema": 1}))
    joined = bench("results", "merge", "results/tiny", "other/tiny")
    assert joined.code == 1 and joined.out.startswith(
        f"conflict: {first.name}: the one in results/tiny is kept: it was written by another version\n"
    )
    joined = bench("results", "merge", "other/tiny", "results/tiny")
    assert f"damaged in results/tiny: {first.name}: it was written by another version" in joined.out


def test_gc_shows_and_deletes_what_is_of_no_use(bench: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench("gc", "tiny.toml").out == "nothing to delete in results/tiny\n"
    waiting = interrupt("fedavg")
    place = store().unfinished / waiting
    shutil.copy(place / "checkpoint.pt", place / "checkpoint.pt.set-aside")
    done = next(store().cells.glob("*orthdrop*"))
    shutil.copytree(done, store().cells / "an-old-cell")
    shutil.copytree(place, store().unfinished / "an-old-cell")
    shutil.copytree(place, store().unfinished / done.name)
    gone = {
        f"{store().cells}/an-old-cell": "it is no cell of the sweep",
        f"{store().unfinished}/an-old-cell": "checkpoint of no cell of the sweep",
        f"{place}/checkpoint.pt.set-aside": "a checkpoint that could not be used",
        f"{store().unfinished}/{done.name}": "the cell is finished",
    }
    before = sorted(Path().rglob("*"))
    shown = bench("gc", "tiny.toml")
    assert [line for line in shown.out.splitlines() if "would delete" in line] == [
        f"would delete {path}: {reason}" for path, reason in gone.items()
    ]
    assert "4 in all" in shown.out and "--yes" in shown.out and sorted(Path().rglob("*")) == before
    lease = Leases(store().unfinished).take("an-old-cell", os.getpid())
    assert lease is not None
    assert bench("gc", "tiny.toml", "--yes").out.count("its cell is being run now") == 2
    lease.release()
    assert bench("gc", "tiny.toml", "--yes").code == 0
    assert not [path for path in gone if Path(path).exists()] and (place / "checkpoint.pt").exists()
    assert bench("gc", "tiny.toml").out == "nothing to delete in results/tiny\n"
    monkeypatch.setattr(revisions, "HARNESS", 2)
    assert bench("gc", "tiny.toml", "--yes").out.count("stale: made under another revision") == 2
    assert list(store().cells.iterdir()) == []


def test_merge_takes_what_is_lacking_and_gives_the_same_tables(bench: CommandLine, finished: Path) -> None:
    """Each of two folders lacks a cell; joined they are the whole sweep."""
    sweep = read_sweep(Path("tiny.toml"))
    expected = write_tables(sweep, store(), records(sweep, store()))
    shutil.copytree("results", "other")
    first, second, third = sorted(store().cells.iterdir())
    shutil.rmtree(first)
    (second / "log.txt").write_text("damaged")
    shutil.rmtree(Path("other/tiny/cells") / third.name)
    joined = bench("results", "merge", "results/tiny", "other/tiny")
    assert joined.code == 0 and joined.out.startswith("2 taken over, 0 the same in both, 0 in conflict, 0 damaged")
    assert counts(records(sweep, store())) == {"done": 3}
    tables = write_tables(sweep, store(), records(sweep, store()))
    assert {name: timeless(table) for name, table in tables.items()} == {
        name: timeless(table) for name, table in expected.items()
    }
    assert not list(store().cells.glob(".*")) and [path.name for path in store().unfinished.iterdir()] == [".lock"]
    again = bench("results", "merge", "results/tiny", "other/tiny")
    assert again.code == 0 and again.out.startswith("0 taken over, 2 the same in both, 0 in conflict, 0 damaged")


def spoil_copy(other: Path) -> None:
    (other / "rounds.parquet").write_bytes(b"x")


def rename(other: Path) -> None:
    other.rename(other.with_name("another-name"))


@pytest.mark.parametrize(("spoil", "words"), [
    (spoil_copy, "rounds.parquet is not as it was written"), (rename, "it is the cell cnn-femnist"),
])  # fmt: skip
def test_merge_names_damage_and_copies_none_of_it(
    bench: CommandLine, spoil: Callable[[Path], None], words: str
) -> None:
    shutil.copytree("results", "other")
    victim = min(store().cells.iterdir())
    shutil.rmtree(victim)
    spoil(Path("other/tiny/cells") / victim.name)
    joined = bench("results", "merge", "results/tiny", "other/tiny")
    assert joined.code == 1 and f"damaged in other/tiny: {'' if spoil is rename else victim.name}" in joined.out
    assert words in joined.out and "0 taken over, 2 the same in both" in joined.out and not victim.exists()


def test_merge_names_conflicts_and_keeps_what_is_here(
    bench: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other, cells = Store(tmp_path / "other"), list(read_sweep(Path("tiny.toml")).cells)
    monkeypatch.setattr(revisions, "HARNESS", 2)
    run_cell(cells[0], store=other)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path / "work")
    rows = running.round_row
    with monkeypatch.context() as patch:
        patch.setattr(running, "round_row", lambda this: rows(this) | {"test_acc": 0.5})
        run_cell(cells[1], store=other)
    run_cell(cells[2], store=other)
    before = {path: path.read_bytes() for path in store().cells.rglob("*") if path.is_file()}
    lease = Leases(store().unfinished).take(cells[2].folder, os.getpid())
    assert lease is not None
    joined = bench("results", "merge", "results/tiny", other.folder)
    lease.release()
    assert joined.code == 1 and joined.out.count("conflict: ") == 3
    assert f"conflict: {cells[0].folder}: harness is at revision 1 and was at revision 2 (" in joined.out
    assert f"conflict: {cells[1].folder}: the two have other rounds; the one in results/tiny is kept" in joined.out
    assert f"conflict: {cells[2].folder}: process {os.getpid()} runs it now" in joined.out
    assert {path: path.read_bytes() for path in store().cells.rglob("*") if path.is_file()} == before


def test_merge_of_what_is_no_folder_of_results(bench: CommandLine) -> None:
    for words in (("results/tiny", "nowhere"), ("nowhere", "results/tiny")):
        assert "nowhere: there are no results here" in bench.refused("results", "merge", *words)
    assert not Path("nowhere").exists()


def test_run_refuses_a_cell_that_is_being_run(bench: CommandLine) -> None:
    words = ("run", "--task", "cnn-femnist", "--method", "fedavg", "--rounds", 1, "--set", "standin_test=20")
    words += ("--set", "clients=2", "--set", "cohort=1", "--workers", 1, "--device", "cpu")
    assert bench(*words).code == 0
    (folder,) = Path("results/runs/cells").iterdir()
    lease = Leases(Path("results/runs/unfinished")).take(folder.name, os.getpid())
    assert lease is not None
    assert f"{folder.name}: process {os.getpid()} runs this cell now" in bench.refused(*words)
    lease.release()
    assert bench(*words).code == 0
