"""Bundles that are torn, edited, of a later version or meant to harm: one sentence each, and nothing is written."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from noisy import cells, finish
from resealed import Members, of_cells, of_facts, of_table, reseal
from tiny import CommandLine

from bench.bundle.pack import pack
from bench.cell import Cell
from bench.errors import BenchError
from bench.store import bundled_table
from bench.store.bundle import CELLS, FORMAT, Bundle
from bench.store.bundled_table import GROUP_ROWS
from bench.store.cells import Store
from bench.store.pages import page_sizes
from bench.store.schema import VERSION

TWO = cells(2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("made"))
    for cell in TWO:
        finish(store, cell)
    path = store.folder / "good.bench"
    pack(store, path)
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A good bundle, to be spoiled."""
    return Path(shutil.copy(made, tmp_path / "x.bench"))


def read(path: Path) -> None:
    """Open a bundle and read all of it."""
    bundle = Bundle(path)
    for claim in bundle.claims.values():
        for name in claim.rows:
            bundle.table(claim.cell, name)


def refusal(path: Path) -> str:
    """Return the sentence with which a bundle is refused, opened or read: of one line, and it names the file."""
    with pytest.raises(BenchError) as refused:
        read(path)
    words = str(refused.value)
    assert words.startswith(f"{path}: ") and words.isprintable() and len(words) < len(str(path)) + 300
    return words


def test_a_bundle_that_is_cut_anywhere_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for size in (0, 1, 3, 21, 100, *range(200, len(content), len(content) // 25), len(content) - 1):
        path.write_bytes(content[:size])
        assert "it is not whole" in refusal(path) or "it is no bundle" in refusal(path), size


def test_any_flipped_byte_of_a_member_is_noticed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        starts = [(member.header_offset + 30 + len(member.filename), member.file_size) for member in archive.infolist()]
    for start, size in starts:
        for place in range(start, start + size, max(size // 12, 1)):
            content[place] ^= 1
            path.write_bytes(content)
            refusal(path)
            content[place] ^= 1
    path.write_bytes(content)
    assert len(Bundle(path).claims) == 2


def archive_of(path: Path, names: Callable[[list[str]], list[str]], **how: Any) -> None:
    """Write the members of a bundle as an archive of other names, another order or another kind."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name in names(list(members)):
            archive.writestr(name, members.get(name, b"x"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("names", "words"), [
    (lambda names: ["../../evil.json", *names[1:]], "its members are not those of a bundle ('../../evil.json')"),
    (lambda names: ["/etc/passwd", *names[1:]], "its members are not those of a bundle ('/etc/passwd')"),
    (lambda names: [*names, "evil.py"], "it holds 7 files where a bundle has 6"),
    (lambda names: [*names, names[0]], "it holds 7 files where a bundle has 6"),
    (lambda names: [*names[:-1], names[1]], "one twice or in another order"),
    (lambda names: names[::-1], "one twice or in another order"),
    (lambda names: names[:-1], "it holds 5 files where a bundle has 6"),
    (lambda names: [], "it is no bundle"),
    (lambda names: [f"{number}" for number in range(3_000)], "it is no"),
])  # fmt: skip
def test_members_are_those_of_a_fixed_list(path: Path, names: Callable[[list[str]], list[str]], words: str) -> None:
    archive_of(path, names)
    assert words in refusal(path)


def test_members_are_not_compressed(path: Path) -> None:
    """A megabyte of nothing takes a kilobyte then, and a gigabyte a megabyte."""
    archive_of(path, lambda names: names, compression=zipfile.ZIP_DEFLATED)
    assert "its member manifest.json is compressed" in refusal(path)


def test_other_files_are_no_bundles(path: Path) -> None:
    for content in (b"", b"\x80\x04.", b"PAR1", b"not a bundle at all, but a text of some length"):
        path.write_bytes(content)
        assert "it is no bundle" in refusal(path)


def test_a_file_of_any_size_is_not_read_into_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.store import bundle

    monkeypatch.setattr(bundle, "LARGEST", path.stat().st_size - 1)
    assert "it is larger than " in refusal(path)


@pytest.mark.parametrize(("changes", "words"), [
    ({"format": FORMAT + 1}, f"it has the format '{FORMAT + 1}', and this version reads up to {FORMAT}"),
    ({"format": "1"}, "it has the format '1'"),
    ({"format": 0}, "it has the format '0'"),
    ({"schema": VERSION + 1}, f"its tables have the schema '{VERSION + 1}', and this version reads up to {VERSION}"),
    ({"schema": None}, "its tables have the schema 'None'"),
    ({"cells": 3}, "it has 2 cells where its manifest says 3"),
    ({"cells": "2"}, "manifest.json is not what it should be"),
    ({"members": []}, "manifest.json is not what it should be"),
    ({"members": {}}, "manifest.json is not what it should be"),
    ({"written_by": "\x1b[2J"}, "cannot be shown"),
    ({"written_by": 3}, "manifest.json is not what it should be"),
])  # fmt: skip
def test_what_a_manifest_may_not_say(path: Path, changes: dict[str, Any], words: str) -> None:
    reseal(path, id, lambda manifest: manifest.update(changes))
    assert words in refusal(path)


def test_rows_of_the_manifest_are_those_of_the_cells(path: Path) -> None:
    reseal(path, id, lambda manifest: manifest["members"]["ranks.parquet"].update(rows=7))
    assert "ranks has other rows by its manifest than by its cells (160)" in refusal(path)


def twice(content: dict[str, Any]) -> None:
    content["cells"][1] = content["cells"][0]


def deep(members: Members) -> None:
    members[CELLS] = b'{"environments": ' + b"[" * 100_000 + b"]" * 100_000 + b', "cells": []}'


def rows(count: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["cells"][0]["rows"].update(rounds=count)


@pytest.mark.parametrize(("change", "words"), [
    (of_cells(twice), f"it holds the cell {min(cell.folder for cell in TWO)} twice"),
    (of_cells(lambda content: content.update(cells=3)), "cells.json is not what it should be"),
    (of_cells(lambda content: content.update(environments=[3])), "cells.json is not what it should be"),
    (of_cells(lambda content: content["cells"][0].update(environment=9)), "cell 0 of it is not what it should be"),
    (of_cells(lambda content: content["cells"].__setitem__(1, [])), "cell 1 of it is not what it should be"),
    (of_cells(lambda content: content["cells"][0].update(facts=[])), "cell 0 of it: its facts are no table"),
    (of_cells(lambda content: content["cells"][0].update(rows={})), "cell 0 of it is not what it should be"),
    (of_cells(rows(-1)), "cell 0 of it has an impossible number of rows"),
    (of_cells(rows(True)), "cell 0 of it has an impossible number of rows"),
    (of_cells(rows(5)), "rounds has other rows by its manifest than by its cells (9)"),
    (lambda members: members.update({CELLS: b"[1, 2]"}), "cells.json is not what it should be"),
    (lambda members: members.update({CELLS: b"\x80\x04K\x01."}), "cells.json is not whole"),
    (deep, "cells.json is not whole"),
])  # fmt: skip
def test_what_the_list_of_cells_may_not_be(path: Path, change: Callable[[Members], None], words: str) -> None:
    reseal(path, change)
    assert words in refusal(path)


BUDGET_ROW: dict[str, Any] = {
    **{"level": 0, "share": 1.0, "quantity": "memory", "keep": 0.2},
    **{"allowed": 2.0, "taken": 1.5, "full": 10.0, "least": 0.5},
}


def configured(**changes: Any) -> dict[str, Any]:
    """Facts of a cell with a setting that no sweep gives it, under the identity of just that."""
    values = {**TWO[0].canonical(), **changes}
    return {"cell": values, "identity": Cell(**values).identity}


@pytest.mark.parametrize(("facts", "words"), [
    ({"identity": "0123456789"}, "its identity is not that of its configuration (0123456789, "),
    ({"cell": {**TWO[0].canonical(), "seed": 77}}, "its identity is not that of its configuration"),
    ({"cell": {**TWO[0].canonical(), "extra": 1}}, "its configuration has the unknown setting 'extra'"),
    (configured(task="../../../etc/cron.d/x"), "its configuration gives no name of a folder"),
    (configured(method="a\\b"), "its configuration gives no name of a folder"),
    (configured(task=".hidden"), "its configuration gives no name of a folder"),
    (configured(method="\x1b]0;owned\x07"), "cannot be shown"),
    (configured(keep="0.5"), "its setting 'keep' is of another type"),
    (configured(keep=2.0), "its configuration describes no cell"),
    (configured(seed=1.5), "its setting 'seed' is of another type"),
    (configured(budget="memory=a:b"), "its configuration describes no cell"),
    (configured(budget="memory=0.20"), "its configuration describes no cell"),
    (configured(budget=3), "its setting 'budget' is of another type"),
    ({"budget": [{"level": 0}]}, "a row of its budget lacks a number, or has one too many"),
    ({"budget": [3]}, "a row of its budget lacks a number, or has one too many"),
    ({"budget": [BUDGET_ROW | {"taken": "much"}]}, "'taken' is of another type"),
    ({"budget": [BUDGET_ROW | {"taken": float("nan")}]}, "a row of its budget has no possible number"),
    ({"budget": [BUDGET_ROW | {"full": 0.0}]}, "a row of its budget has no possible number"),
    ({"cell": {**TWO[0].canonical(), "alpha": "many"}}, "its configuration describes no cell"),
    ({"status": "failed"}, "its status is 'failed'"),
    ({"status": 3}, "its fact 'status' is of another type"),
    ({"classes": True}, "its fact 'classes' is of another type"),
    ({"classes": 2**40}, "its seconds or classes are no possible number"),
    ({"classes": None}, "its fact 'classes' is missing"),
    ({"seconds": -1.0}, "its seconds or classes are no possible number"),
    ({"seconds": float("nan")}, "its seconds or classes are no possible number"),
    ({"evaluated_samples": -3}, "its evaluated samples or commonest class are no possible number"),
    ({"commonest_class": float("nan")}, "its evaluated samples or commonest class are no possible number"),
    ({"revisions": {"harness": "new"}}, "its revision of 'harness' is no whole number"),
    ({"more": 10**30}, "more than 64 bits"),
    ({"more": [[[[[[[[[[1]]]]]]]]]]}, "its facts are nested too deeply"),
    ({"reason": "x" * 5000}, "cannot be shown"),
    ({"reason": "\x1b[31mred"}, "cannot be shown"),
])  # fmt: skip
def test_what_may_not_be_said_of_a_cell(path: Path, facts: dict[str, Any], words: str) -> None:
    reseal(path, of_facts(**facts))
    assert words in refusal(path) and "cell 0 of it: " in refusal(path)


def grown(count: int) -> Callable[[pa.Table], pa.Table]:
    """So many rows that are all alike: they take a few kilobytes."""
    return lambda table: table.take(pa.array([0] * count))


@pytest.mark.parametrize(("change", "words"), [
    (of_table(lambda table: table.drop_columns("layer")), "column 'layer'"),
    (of_table(lambda table: table.append_column("more", table["round"])), "column 'more'"),
    (of_table(lambda table: table.set_column(1, "round", table["round"].cast(pa.string()))), "column 'round'"),
    (of_table(lambda table: table.set_column(4, "required_kernels", [[[1.0]] * len(table)])), "other columns"),
    (of_table(lambda table: table, store_schema=True), "ranks has other columns than such a table"),
    (of_table(lambda table: table.slice(1)), "ranks has 159 rows where its cells have 160"),
    (of_table(lambda table: table, compression="gzip"), "ranks is compressed by GZIP"),
    (of_table(lambda table: table.set_column(0, "cell", pc.subtract(pa.scalar(1, pa.int32()), table["cell"]))),
     "its rows are another cell's"),
    (of_table(lambda table: table.set_column(1, "round", pa.array([None] * len(table), pa.int32()))),
     "column 'round' has empty values"),
    (of_table(lambda table: table.set_column(2, "layer", pa.array(["\x1b[2J"] * len(table)))), "cannot be shown"),
    (lambda members: members.update({"ranks.parquet": b"PAR1 and no more PAR1"}), "ranks is no whole table"),
    (lambda members: members.update({"ranks.parquet": b""}), "ranks is no whole table"),
])  # fmt: skip
def test_what_a_table_may_not_be(path: Path, change: Callable[[Members], None], words: str) -> None:
    reseal(path, change)
    assert words in refusal(path)


def with_rows(path: Path, count: int, **how: Any) -> None:
    """Have the table of layers so many rows, of which the list of cells knows."""

    def count_them(content: dict[str, Any]) -> None:
        content["cells"][0]["rows"]["ranks"], content["cells"][1]["rows"]["ranks"] = count, 0

    def both(members: Members) -> None:
        of_table(grown(count), **how)(members)
        of_cells(count_them)(members)

    reseal(path, both, lambda manifest: manifest["members"]["ranks.parquet"].update(rows=count))


def test_rows_that_unfold_from_nothing_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows may be; of more, so many as the file has bytes."""
    monkeypatch.setattr(bundled_table, "_ROWS_ALLOWED", 10_000)
    monkeypatch.setattr(bundled_table, "_ROWS_OF_BYTE", 1)
    with_rows(path, 100_000)
    assert "ranks would become 100000 rows from " in refusal(path)
    with_rows(path, 5_000)
    read(path)


def test_thousands_of_groups_are_refused(path: Path) -> None:
    reseal(path, of_table(lambda table: table, row_group_size=1))
    assert "ranks has 160 groups of rows, more than 160 rows need" in refusal(path)


def test_long_texts_are_not_read(path: Path) -> None:
    reseal(path, lambda members: members.update({CELLS: members[CELLS] + b" " * (1 << 25)}))
    assert "cells.json has " in refusal(path) and "more than the 33554432 that it may have" in refusal(path)


def test_groups_of_many_rows_are_refused(path: Path) -> None:
    with_rows(path, GROUP_ROWS + 1, row_group_size=GROUP_ROWS + 1)
    assert f"ranks has a group of {GROUP_ROWS + 1} rows" in refusal(path)


def test_pages_that_unfold_to_gigabytes_are_refused_before_they_do(path: Path) -> None:
    """The description of the file says nothing of it: what counts are the headers of the pages."""
    word = "a" * (1 << 24)

    def one_long_word(table: pa.Table) -> pa.Table:
        return table.set_column(2, "layer", pa.array(["b"] * (len(table) - 1) + [word]))

    reseal(path, of_table(one_long_word, write_statistics=False))
    assert path.stat().st_size < 1 << 17
    with pytest.raises(BenchError, match="ranks would become larger than 160 rows can be"):
        Bundle(path)  # which reads no page


@pytest.mark.parametrize("how", [
    {}, {"compression": "none"}, {"data_page_version": "2.0"}, {"use_dictionary": False}, {"data_page_size": 100},
    {"write_page_checksum": True}, {"use_byte_stream_split": ["x"], "use_dictionary": ["word"]},
])  # fmt: skip
def test_sizes_of_pages_are_those_that_parquet_writes(how: dict[str, Any]) -> None:
    content, count = io.BytesIO(), 3000
    table = pa.table({"x": pa.array(range(count), pa.float64()), "word": ["ab", None, "c"] * (count // 3)})
    pq.write_table(table, content, **{"compression": "zstd", "write_batch_size": 64, **how})
    group = pq.read_metadata(io.BytesIO(content.getvalue())).row_group(0)
    for number in range(2):
        chunk = group.column(number)
        start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
        pages = content.getvalue()[start : start + chunk.total_compressed_size]
        sizes = list(page_sizes(pages))
        # What is declared for the column counts the pages' headers too, which are some 20 to 100 bytes each.
        assert 0 < chunk.total_uncompressed_size - sum(sizes) < 110 * len(sizes)
        for spoiled in (pages[:-1], pages[3:], b"\x15" * 40, b"\x19\x01"):
            with pytest.raises(ValueError, match="a page"):
                list(page_sizes(spoiled))


def test_a_refused_bundle_is_one_sentence_and_nothing_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = CommandLine(monkeypatch, capsys)
    monkeypatch.chdir(path.parent)
    (path.parent / "here").mkdir()
    reseal(path, of_facts(**configured(task="../up")))
    for words in (("show", "x.bench"), ("unpack", "x.bench", "-o", "here"), ("merge", "here", "x.bench")):
        sentence = bench.refused("results", *words)
        assert sentence.startswith("x.bench: cell 0 of it: its configuration gives no name of a folder")
        assert sentence.endswith("; get the bundle anew, or move it elsewhere")
    assert sorted(path.parent.rglob("*")) == [path.parent / "here", path]


def test_what_a_reader_would_refuse_is_never_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finish(store, TWO[0], seconds=float("inf"))
    with pytest.raises(BenchError, match="its seconds or classes are no possible number"):
        pack(store, tmp_path / "x.bench")
    assert not list(tmp_path.glob("*.bench"))


def test_json_of_the_manifest_is_not_all_that_counts(path: Path) -> None:
    """A space more in it changes nothing of what it says, and is an edit."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]), indent=1).encode()
    from bench.store.container import packed

    path.write_bytes(packed(members))
    assert "manifest.json is not as it was written" in refusal(path)
