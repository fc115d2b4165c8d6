"""The table of sources: states, fetching, importing, loading, and the sentences for what is missing."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from click.testing import Result
from PIL import Image
from pyarrow import parquet
from tiny import CommandLine
from typer.testing import CliRunner

from bench.cli.main import app
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
    images, texts = ["cifar10", "cifar100", "femnist", "tinyimagenet"], ["imdb", "shakespeare", "shakespeare-tff"]
    assert sorted(row.name for row in rows) == sorted(images + texts)
    assert {row.state for row in rows} == {"not here"}
    assert all(row.origin.startswith(("https://", "http://cs231n.stanford.edu/")) for row in rows)
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


@pytest.mark.parametrize("place", ["loop", "x" * 300, "pipe", "closed"])
def test_import_of_what_cannot_be_read(place: str, published: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "closed").mkdir(mode=0)
    if place == "closed" and os.access(tmp_path / "closed", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(BenchError, match=r"cannot be read|is neither a file nor a folder"):
        sources.import_path("imdb" if place == "closed" else "bytes", tmp_path / place)


def png(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (28, 28), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def characters(path: Path, seed: int) -> Path:
    """A parquet file of 40 characters of four writers."""
    rng = np.random.default_rng(seed)
    cells = [{"bytes": png(rng), "path": None} for _ in range(40)]
    columns = {"image": cells, "writer_id": [f"w{row % 4}" for row in range(40)], "character": list(range(40))}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)
    return path


def run_import(path: Path) -> Result:
    return CliRunner().invoke(app, ["data", "import", "femnist", str(path)])


def test_the_command_says_what_it_read_and_what_not(tmp_path: Path) -> None:
    characters(tmp_path / "[b]d" / "train-00000-of-00001.parquet", 1)
    characters(tmp_path / "[b]d" / "train-00000-of-00001 (1).parquet", 1)
    done = run_import(tmp_path / "[b]d")
    assert done.exit_code == 0, done.output
    assert (
        "'train-00000-of-00001 (1).parquet': the same bytes as 'train-00000-of-00001.parquet', not read" in done.output
    )
    assert f"read from {tmp_path}/[b]d: 'train-00000-of-00001.parquet'" in done.output
    assert "FEMNIST: 36 training and 4 test samples are ready" in done.output


def test_names_that_are_no_text_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / os.fsdecode(b"d\xff")
    written = characters(tmp_path / "train-00000-of-00001.parquet", 1)
    (folder / os.fsdecode(b"\xff")).mkdir(parents=True)
    written.rename(folder / os.fsdecode(b"\xff") / written.name)
    bench = CommandLine(monkeypatch, capsys)
    done = bench("data", "import", "femnist", folder)
    assert done.code == 0, done
    assert "read from" in done.out
    assert bench("data", "list").code == 0
    broken = folder / "train\nx.parquet"
    broken.write_bytes(b"PAR1")
    assert "cannot be read as parquet" in bench.refused("data", "import", "femnist", broken)


def test_the_named_file_is_read_and_not_its_neighbour(tmp_path: Path) -> None:
    characters(tmp_path / "d" / "train-00000-of-00001.parquet", 1)
    other = characters(tmp_path / "d" / "other.parquet", 2)
    done = run_import(other)
    assert done.exit_code == 0, done.output
    assert f"read from {other}: 'other.parquet'" in done.output
    named = sources.load("femnist").fingerprint
    alone = characters(tmp_path / "alone" / "train-00000-of-00001.parquet", 2)
    assert sources.import_path("femnist", alone.parent).fingerprint == named
    assert sources.import_path("femnist", tmp_path / "d").fingerprint != named


def test_half_a_data_set_leaves_the_cache_as_it_was(
    tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = CommandLine(monkeypatch, capsys)
    command = ("data", "import", "femnist", tmp_path / "d")
    characters(tmp_path / "d" / "train-00000-of-00002.parquet", 1)
    refusal = bench.refused(*command)
    assert "'train-00001-of-00002.parquet' is missing beside 'train-00000-of-00002.parquet'" in refusal
    assert not cache_root.exists()
    characters(tmp_path / "d" / "train-00001-of-00002.parquet", 2)
    assert "FEMNIST: 72 training and 8 test samples are ready" in run_import(tmp_path / "d").output
    before = sources.load("femnist").fingerprint
    (tmp_path / "d" / "train-00001-of-00002.parquet").write_bytes(b"PAR1 cut off")
    assert "train-00001-of-00002.parquet: cannot be read as parquet" in bench.refused(*command)
    assert sources.verify("femnist").fingerprint == before
    assert [path.name for path in cache_root.iterdir() if not path.name.startswith(".lock")] == ["femnist"]


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
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
