"""The manifest of a folder of results: what its files were made of, and whether they still are what was written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from compared import finish
from tiny import cell_of

from bench.errors import BenchError
from bench.report.manifest import NAME, differences, include, read_manifest, write_manifest
from bench.store.cells import Store
from bench.store.made import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder with one finished cell, one table, one figure and their manifest."""
    store, cell = Store(tmp_path / "results"), cell_of("fedavg", training={"rounds": 1})
    finish([cell], store, lambda cell: 0.5)
    files = [store.folder / "tables" / "rounds.parquet", store.folder / "figures" / "accuracy.png"]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(file.name.encode())
    write_manifest(store, "A test", [store.record(cell, made(cell), None)], files)
    return store


def test_it_ties_files_to_cells_revisions_data_and_machines(store: Store) -> None:
    cell = cell_of("fedavg", training={"rounds": 1})
    found = json.loads((store.folder / NAME).read_text())
    assert found["files"] == {
        name: hashlib.sha256(name.split("/")[1].encode()).hexdigest()
        for name in ("figures/accuracy.png", "tables/rounds.parquet")
    }
    facts = json.loads((store.path(cell) / "cell.json").read_text())
    known = found["cells"][cell.folder]
    assert known["revisions"] == dict(made(cell).revisions) and known["data"] == facts["data"]
    environment = json.loads((store.path(cell) / "environment.json").read_text())
    lock = found["environments"][known["environment"]]
    assert lock["packages"] == environment["packages"] and lock["git_commit"] == environment["git_commit"]
    assert str(store.folder.parent) not in (store.folder / NAME).read_text()


def test_what_changed_since_is_named(store: Store) -> None:
    assert differences(store.folder) == []
    (store.folder / "tables" / "rounds.parquet").write_bytes(b"other")
    (store.folder / "figures" / "accuracy.png").unlink()
    (store.folder / "figures" / "mine.png").write_bytes(b"mine")
    assert differences(store.folder) == [
        "figures/accuracy.png: it cannot be read (No such file or directory)",
        "tables/rounds.parquet: it was changed since it was written",
        "figures/mine.png: it is not of the last writing",
    ]
    include(store.folder, [store.folder / "figures" / "mine.png"])
    assert len(differences(store.folder)) == 2


BROKEN = (
    '"cells": {"a": 5}, "files": {}, "environments": []',
    '"cells": {}, "files": [["a", "b"]], "environments": []',
    '"cells": {}, "files": {}, "environments": {"a": 1}',
    '"cells": {"a": {"revisions": [1]}}, "files": {}, "environments": []',
    '"cells": {}, "files": {"a": 3}, "environments": []',
)


@pytest.mark.parametrize("inside", BROKEN)
def test_a_manifest_of_other_parts_is_one_sentence(inside: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(f'{{"format": 1, {inside}}}')
    with pytest.raises(BenchError, match="not a whole manifest"):
        differences(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9, "cells": {}, "files": {}, "environments": []}'])
def test_what_is_no_manifest_is_one_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="there is no manifest here"):
        read_manifest(tmp_path)
    (tmp_path / NAME).write_text(text)
    with pytest.raises(BenchError, match=r"not a whole manifest|the format 9"):
        read_manifest(tmp_path)
