"""Finished cells in one file: the same after packing and unpacking, the same bytes from the same cells."""

from __future__ import annotations

import os
import platform
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest
from noisy import ENVIRONMENT, FACTS, cells, finish, tables_of
from tiny import CommandLine, write

import bench as package
from bench.bundle.cleaned import without_places
from bench.bundle.pack import pack
from bench.bundle.show import described
from bench.bundle.unpack import unpack
from bench.errors import BenchError
from bench.launch import tables as launch_tables
from bench.store.bundle import MEMBERS, Bundle
from bench.store.cells import Store
from bench.store.made import made
from bench.store.wholeness import whole

CELLS = cells(3)
HOST = "pc-of-anna.example.org"
REASON = "round 2: ValueError: '/home/anna smith/a b.npz' is no array (/home/anna/my_method.py, line 3, in select)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three finished cells and a failed one."""
    store = Store(tmp_path_factory.mktemp("finished") / "quick")
    finish(store, CELLS[0])
    finish(store, CELLS[1], status="diverged", reason=REASON, environment={"host": HOST, "kernels": "/opt/k/x.so"})
    finish(store, CELLS[2], environment={"git_commit": "a" * 40, "git_changes": True})
    finish(store, cells(4)[3], status="failed", reason="no")
    return store.folder


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    path = folder.parent / "quick.bench"
    pack(Store(folder), path)
    return path


def test_a_bundle_has_all_of_the_finished_cells(folder: Path, path: Path) -> None:
    bundle, store = Bundle(path), Store(folder)
    assert [claim.cell for claim in bundle.claims.values()] == sorted(CELLS, key=lambda cell: cell.folder)
    for claim in bundle.claims.values():
        facts = whole(store.path(claim.cell))
        del facts["files"]
        expected = {**facts, "claimed_by": "quick.bench"}
        if facts["reason"]:
            expected["reason"] = "round 2: ValueError: 'a b.npz' is no array (my_method.py, line 3, in select)"
        assert claim.facts == expected
        tables = {name: bundle.table(claim.cell, name).to_pylist() for name in claim.rows}
        assert tables == tables_of(store, claim.cell) and len(tables["rounds"]) == 4 and len(tables["ranks"]) == 80
    assert bundle.claims[CELLS[0].identity].environment == ENVIRONMENT
    assert bundle.claims[CELLS[1].identity].environment == {**ENVIRONMENT, "kernels": "x.so"}


def test_it_is_an_archive_that_others_can_open(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == list(MEMBERS) and archive.testzip() is None
        with archive.open("rounds.parquet") as file:
            rounds = pd.read_parquet(file)
    assert len(rounds) == 12 and sorted(set(rounds["cell"])) == [0, 1, 2]


def test_nothing_in_it_names_a_machine_a_user_or_a_place(path: Path) -> None:
    content = path.read_bytes()
    for word in (b"anna", HOST.encode(), b"/home", b"/opt", str(path.parent).encode(), platform.node().encode()):
        assert word not in content, word


def test_the_same_cells_give_the_same_bytes(path: Path, folder: Path, tmp_path: Path) -> None:
    """In another folder, written in another order and at another time, and once unpacked."""
    other = Store(tmp_path / "elsewhere")
    other.prepare()
    for place in sorted(Store(folder).cells.iterdir(), reverse=True):
        shutil.copytree(place, other.cells / place.name)
        for file in (other.cells / place.name).iterdir():
            os.utime(file, (0, 0))
    pack(other, tmp_path / "again.bench")
    assert (tmp_path / "again.bench").read_bytes() == path.read_bytes()
    unpack(Bundle(path), Store(tmp_path / "unpacked"))
    pack(Store(tmp_path / "unpacked"), tmp_path / "third.bench")
    assert (tmp_path / "third.bench").read_bytes() == path.read_bytes()


def test_unpacked_cells_are_ordinary_ones(path: Path, folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "unpacked")
    merged = unpack(Bundle(path), store)
    assert sorted(merged.taken) == sorted(cell.folder for cell in CELLS)
    for cell in CELLS:
        record = store.record(cell, made(cell), None)
        assert record.state == whole(Store(folder).path(cell))["status"] and record.bundle is None
        assert record.facts["claimed_by"] == "quick.bench"
        assert tables_of(store, cell) == tables_of(Store(folder), cell)
    assert unpack(Bundle(path), store).same == merged.taken
    (store.path(CELLS[0]) / "log.txt").write_text("damaged")
    finish(store, CELLS[1], numbers="1", status="diverged")
    finish(store, CELLS[2], data="f" * 64)
    again = unpack(Bundle(path), store)
    assert again.taken == [CELLS[0].folder] and set(again.conflicts) == {CELLS[1].folder, CELLS[2].folder}
    assert "the two have other rounds" in again.conflicts[CELLS[1].folder]
    assert "other data" in again.conflicts[CELLS[2].folder]


def test_a_hundred_cells_of_300_rounds_take_less_than_10_mb(tmp_path: Path) -> None:
    """Ten of them a tenth; each round evaluated, and seven numbers of 20 layers of which no two are alike."""
    store = Store(tmp_path)
    for cell in cells(10):
        finish(store, cell, rounds=300)
    assert pack(store, tmp_path / "all.bench").size < 3_500_000
    assert pack(store, tmp_path / "fifth.bench", layers_every=5).size < 1_000_000


def test_tables_by_layer_at_fewer_rounds(tmp_path: Path) -> None:
    store = Store(tmp_path / "full")
    cell = finish(store, CELLS[0], rounds=7)
    pack(store, tmp_path / "thin.bench", layers_every=3)
    bundle = Bundle(tmp_path / "thin.bench")
    thin, full = bundle.table(cell, "ranks"), store.read(cell, "ranks")
    assert sorted(set(thin["round"].to_pylist())) == [0, 3, 6, 7] and bundle.table(cell, "rounds").num_rows == 8
    kept = full.filter(pc.is_in(full["round"], thin["round"].unique()))
    assert thin.to_pylist() == kept.to_pylist() and bundle.claims[cell.identity].facts["layers_every"] == 3
    assert "of every 3. evaluated round" in "\n".join(described(bundle))
    # The same numbers as the whole table: nothing is in conflict, and the whole one is kept.
    assert unpack(bundle, store).same == [cell.folder] and store.read(cell, "ranks").num_rows == 160
    unpack(bundle, Store(tmp_path / "thin"))
    pack(Store(tmp_path / "thin"), tmp_path / "thinner.bench", layers_every=2)
    assert Bundle(tmp_path / "thinner.bench").claims[cell.identity].facts["layers_every"] == 6
    pack(store, tmp_path / "same.bench", layers_every=1)
    assert "layers_every" not in Bundle(tmp_path / "same.bench").claims[cell.identity].facts


def test_rows_of_many_groups_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.store import bundled_table

    monkeypatch.setattr(bundled_table, "GROUP_ROWS", 50)
    store = Store(tmp_path)
    for cell in CELLS:
        finish(store, cell, rounds=4, layers=["a", "b"] if cell is CELLS[1] else ["c", "a", "d", *"efghijklm"])
    pack(store, tmp_path / "all.bench")
    bundle = Bundle(tmp_path / "all.bench")
    for cell in CELLS:
        assert bundle.table(cell, "ranks").to_pylist() == store.read(cell, "ranks").to_pylist()


def test_cells_of_a_bundle_that_lies_in_the_folder_are_packed_too(tmp_path: Path) -> None:
    """Packing under its name would lose them else; what was finished here counts, unless it is of earlier revisions."""
    theirs, here = Store(tmp_path / "theirs"), Store(tmp_path / "here")
    for cell in CELLS:
        finish(theirs, cell)
    pack(theirs, here.folder / "here.bench")
    finish(here, cells(4)[3])
    finish(here, CELLS[0], numbers="1")
    finish(here, CELLS[1], numbers="2", revisions={**dict(made(CELLS[1]).revisions), "harness": 0})
    finish(here, CELLS[2], status="failed")
    done = pack(here, here.folder / "here.bench")
    assert len(done.cells) == 4 and not done.left_out
    bundle = Bundle(here.folder / "here.bench")
    for cell, source in ((CELLS[0], here), (CELLS[1], theirs), (CELLS[2], theirs), (cells(4)[3], here)):
        assert bundle.table(cell, "rounds").to_pylist() == source.read(cell, "rounds").to_pylist()


def test_of_two_results_of_which_none_is_later_none_is_dropped(tmp_path: Path) -> None:
    """A file of the user's was edited: which of the two results is of use now, packing cannot know."""
    theirs, here = Store(tmp_path / "theirs"), Store(tmp_path / "here")
    finish(theirs, CELLS[0])
    pack(theirs, here.folder / "here.bench")
    before = (here.folder / "here.bench").read_bytes()
    finish(here, CELLS[0], numbers="1", own_code="other")
    with pytest.raises(BenchError, match=f"{CELLS[0].folder}: two results of it are here"):
        pack(here, here.folder / "here.bench")
    assert (here.folder / "here.bench").read_bytes() == before


def test_a_bundle_is_not_thinned_in_its_own_place(tmp_path: Path) -> None:
    theirs, here = Store(tmp_path / "theirs"), Store(tmp_path / "here")
    finish(theirs, CELLS[0])
    pack(theirs, here.folder / "here.bench")
    with pytest.raises(BenchError, match=r"--layers-every 5: .*would lose rows for good"):
        pack(Store(here.folder), here.folder / "here.bench", layers_every=5)
    assert pack(Store(here.folder), tmp_path / "other.bench", layers_every=5).cells == [CELLS[0].folder]


def test_load_gives_the_tables_of_the_folder(path: Path, folder: Path) -> None:
    store = Store(folder)
    records = [store.record(cell, made(cell), None) for cell in sorted(CELLS, key=lambda cell: cell.folder)]
    expected = launch_tables.tables_of(records, store.table, 2, store.environment)
    loaded = package.load(path, last=2)
    assert set(loaded) == set(expected) == {"cells", "rounds", "ranks"}
    expected_cells = expected["cells"].to_pandas()
    expected_cells.loc[expected_cells["reason"] != "", "reason"] = without_places(REASON)
    pd.testing.assert_frame_equal(loaded["cells"], expected_cells)
    for name in ("rounds", "ranks"):
        pd.testing.assert_frame_equal(loaded[name], expected[name].to_pandas())
    with pytest.raises(BenchError, match="last = 0 is not possible"):
        package.load(path, last=0)


def test_show_says_what_is_claimed(path: Path) -> None:
    lines = described(Bundle(path))
    assert "3 cells" in lines[0] and "rows: 12 rounds, 240 ranks" in lines[0] and "what it claims" in lines[0]
    assert lines[1] == "cnn-femnist, orthdrop: 3 cells, seeds 0 to 2, keep 0.5"
    for line in (
        "states: done (2 cells); diverged (1 cell)",
        "data: FEMNIST, stand-in (3 cells)",
        "commits: aaaaaaaaaa with changes (1 cell)",
        "processors: AMD EPYC (3 cells)",
    ):
        assert line in lines
    assert any(line.startswith("revisions: harness ") for line in lines)


def test_the_commands(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bench = CommandLine(monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "results/quick")
    packed = bench("results", "pack", "results/quick")
    assert packed.code == 0 and "3 cells in results/quick/quick.bench, 0.0" in packed.out
    assert f"left out: {cells(4)[3].folder}: failed" in packed.out
    assert bench("results", "pack", "results/quick", "-o", "q.bench", "--layers-every", 2).code == 0
    assert bench("results", "show", "q.bench").out.startswith("q.bench: 3 cells")
    unpacked = bench("results", "unpack", "q.bench")
    assert unpacked.code == 0 and unpacked.out.startswith("3 taken over") and ", in results/q;" in unpacked.out
    assert bench("results", "merge", "results/quick", "q.bench").out.startswith("0 taken over, 3 the same in both")
    finish(Store(Path("results/q")), CELLS[0], numbers="1")
    joined = bench("results", "merge", "results/q", "results/quick/quick.bench")
    assert joined.code == 1 and "conflict: " in joined.out and "the two have other rounds" in joined.out
    for name in ("notes.txt", "notes.bench"):
        write(Path(name), "What I thought of it, which is more than a bundle's end.")
    for words, sentence in (
        (("merge", "q.bench", "results/quick"), "q.bench: A takes cells in and must be a folder"),
        (("merge", "nowhere", "q.bench"), "nowhere: there are no results here; 'results unpack q.bench -o nowhere'"),
        (("pack", "nowhere"), "nowhere: there is no finished cell to pack"),
        (("pack", "results/quick", "-o", "x.zip"), "-o x.zip: a bundle is called NAME.bench"),
        (("pack", "results/quick", "--layers-every", "0"), "--layers-every '0': it is not possible"),
        (("show", "nowhere.bench"), "nowhere.bench: the bundle cannot be read: No such file or directory"),
        (("unpack", "results"), "results: the bundle cannot be read: Is a directory"),
        (
            ("show", "notes.txt"),
            "notes.txt: it is no bundle; allowed: a file NAME.bench that 'results pack' has written",
        ),
        (("show", "notes.bench"), "notes.bench: it is no bundle; allowed: a file NAME.bench that"),
    ):
        assert sentence in bench.refused("results", *words)


def test_a_folder_that_has_bundles_is_merged_with_their_cells(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = CommandLine(monkeypatch, capsys)
    for name in ("theirs", "here"):
        (tmp_path / name).mkdir()
    pack(Store(folder), tmp_path / "theirs" / "quick.bench")
    finish(Store(tmp_path / "here"), CELLS[0], numbers="1")
    merged = bench("results", "merge", tmp_path / "here", tmp_path / "theirs")
    assert merged.code == 1 and "2 taken over, 0 the same in both, 1 in conflict" in merged.out
    shutil.copytree(Store(folder).path(CELLS[1]), Store(tmp_path / "theirs").path(CELLS[1]))
    again = bench("results", "merge", tmp_path / "here", tmp_path / "theirs")
    assert "0 taken over, 2 the same in both, 1 in conflict" in again.out


def test_facts_of_a_bundle_are_what_runs_write() -> None:
    """Those that are checked by their types are those that a cell has, and the other way round."""
    from bench.store.claimed import KINDS

    written = {"schema", "status", "reason", "cell", "identity", *FACTS, *made(CELLS[0]).facts()}
    assert written - set(KINDS) == set() and set(KINDS) - written == {"budget", "layers_every"}
