"""The table of sources: states, fetching, importing, loading, and the sentences for what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import cache, sources
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.errors import BenchError


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def split_of(content: bytes) -> Split:
    inputs = np.frombuffer(content, np.uint8).reshape(-1, 1, 2, 2)
    return Split(inputs, np.zeros(len(inputs), np.int64))


def read_bytes(path: Path, progress: sources.Progress | None) -> Imported:
    """An importer that takes every 4 bytes of a file for a picture."""
    content = path.read_bytes()
    return Imported(split_of(content), split_of(content[:4]), "Bytes", 2, f"bytes, {path}")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a source "bytes" publishes at a file address."""
    path = tmp_path / "published" / "bytes.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(range(80)))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    source = sources.Source("bytes", "Bytes", "", "", "", read_bytes, (path.as_uri(), md5))
    monkeypatch.setitem(sources.SOURCES, "bytes", source)
    return path


def state(name: str) -> sources.Availability:
    return next(row for row in sources.available() if row.name == name)


def test_the_sources_of_the_benchmark() -> None:
    rows = sources.available()
    assert [row.name for row in rows] == ["cifar10", "femnist", "imdb", "shakespeare"]
    assert {row.state for row in rows} == {"not here"}
    assert all(row.origin.startswith("https://") for row in rows)
    for source in sources.SOURCES.values():
        assert source.citation
        assert source.licence.endswith(".")


def test_missing_data_names_the_commands() -> None:
    with pytest.raises(BenchError) as caught:
        sources.load("cifar10")
    assert str(caught.value) == (
        "data set 'cifar10' is not here: run 'python -m bench data fetch cifar10'"
        " or 'python -m bench data import cifar10 PATH'"
    )
    with pytest.raises(BenchError, match=r"not here: run 'python -m bench data import femnist PATH'"):
        sources.verify("femnist")


def test_femnist_cannot_be_fetched_but_says_how_to_get_it() -> None:
    with pytest.raises(BenchError, match=r"huggingface.co/datasets/flwrlabs/femnist.* data import femnist PATH"):
        sources.fetch("femnist")


@pytest.mark.parametrize("verb", [sources.load, sources.verify, sources.fetch])
def test_unknown_names_get_the_nearest(verb: Callable[[str], object]) -> None:
    with pytest.raises(BenchError, match=r"data set 'cifar-10' is unknown, allowed: .*did you mean 'cifar10'\?"):
        verb("cifar-10")


def test_fetch_load_and_verify(published: Path, cache_root: Path) -> None:
    lines: list[str] = []
    fetched = sources.fetch("bytes", lines.append)
    np.testing.assert_array_equal(fetched.train.inputs.reshape(-1), np.arange(80))
    assert (fetched.name, fetched.title, fetched.classes, fetched.stand_in) == ("bytes", "Bytes", 2, False)
    assert lines
    assert list((cache_root / "downloads").iterdir()) == []
    published.unlink()
    assert sources.load("bytes").fingerprint == sources.verify("bytes").fingerprint == fetched.fingerprint
    row = state("bytes")
    assert (row.state, row.samples) == ("ready", 21)
    files = (cache_root / "bytes").glob("*.npy")
    assert row.size_mb == pytest.approx(sum(file.stat().st_size for file in files) / 1e6)
    assert row.origin == f"downloaded from {published.as_uri()}"


def test_a_published_file_that_changed_is_refused(published: Path) -> None:
    published.write_bytes(b"other")
    with pytest.raises(BenchError, match="do not have the published checksum"):
        sources.fetch("bytes")
    assert state("bytes").state == "not here"


def test_import_of_a_path(published: Path, tmp_path: Path) -> None:
    dataset = sources.import_path("bytes", published)
    assert dataset.fingerprint == sources.load("bytes").fingerprint
    assert state("bytes").origin == f"bytes, {published}"
    with pytest.raises(BenchError, match=r"import of 'bytes': .*nowhere does not exist"):
        sources.import_path("bytes", tmp_path / "nowhere")


def test_corrupt_data_is_a_state_and_importing_again_mends_it(published: Path) -> None:
    sources.import_path("bytes", published)
    path = cache.folder("bytes") / "train_labels.npy"
    path.write_bytes(path.read_bytes()[:50])
    row = state("bytes")
    assert row.state == "corrupt"
    assert "train_labels.npy has 50 bytes" in row.origin
    with pytest.raises(BenchError, match="fetch or import the data set again"):
        sources.load("bytes")
    sources.import_path("bytes", published)
    assert state("bytes").state == "ready"


def test_labels_of_an_importer_are_checked(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_wrong(path: Path, progress: sources.Progress | None) -> Imported:
        return dataclasses.replace(read_bytes(path, progress), classes=0)

    monkeypatch.setitem(sources.SOURCES, "bytes", dataclasses.replace(sources.SOURCES["bytes"], read=read_wrong))
    with pytest.raises(BenchError, match="label 0 in train"):
        sources.import_path("bytes", published)


def test_importing_the_package_stays_light() -> None:
    code = "import bench.data, sys; print([m for m in ('torch', 'pyarrow', 'PIL', 'pandas') if m in sys.modules])"
    repository = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
