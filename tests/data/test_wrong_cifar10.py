"""Files that are not CIFAR-10, or not whole: a sentence each, and no code of theirs is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from cifar import LABELS, encode, generated, pickled, write_parquet
from pyarrow import parquet

from bench.data import cifar10, images, tables
from bench.data.cifar10_classes import OBJECTS
from bench.errors import BenchError


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return generated()


@pytest.fixture
def batches(tmp_path: Path, pictures: np.ndarray) -> Path:
    return pickled(tmp_path, pictures)


def test_batches_that_are_not_the_published_ones_are_refused(batches: Path) -> None:
    with pytest.raises(BenchError, match=r"'data_batch_1' does not have the published MD5 c99cafc1"):
        cifar10.read(batches)


def test_a_missing_batch_is_named(batches: Path) -> None:
    (batches / "data_batch_4").unlink()
    with pytest.raises(BenchError, match="'data_batch_4' is missing"):
        cifar10.read(batches, published=False)


def test_wrong_counts_are_refused(tmp_path: Path, pictures: np.ndarray) -> None:
    encoded: list[bytes | None] = [encode(picture) for picture in pictures[:20]]
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}-0.parquet", encoded, LABELS[:20])
    with pytest.raises(BenchError, match=r"20 train samples .* 50000 with 5000 in each expected"):
        cifar10.read(tmp_path)


def test_a_folder_with_nothing_of_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no CIFAR-10 found, allowed"):
        cifar10.read(tmp_path)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('broken-in').touch()",)


@pytest.mark.parametrize("where", ["whole", "object array"])
def test_a_batch_cannot_run_code(where: str, batches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(batches)
    hostile: object = Hostile() if where == "whole" else {b"data": np.array([Hostile()]), b"labels": [1]}
    (batches / "data_batch_2").write_bytes(pickle.dumps(hostile, protocol=2))
    with pytest.raises(BenchError, match=r"data_batch_2: not a batch .* names '\w+.eval', only NumPy arrays allowed"):
        cifar10.read(batches, published=False)
    assert not (batches / "broken-in").exists()


@pytest.mark.parametrize("damage", [b"", b"\x80", b"no pickle", pickle.dumps([1, 2]), pickle.dumps({b"data": [1]})])
def test_a_damaged_batch_is_named(damage: bytes, batches: Path) -> None:
    (batches / "test_batch").write_bytes(damage)
    with pytest.raises(BenchError, match="test_batch: not a batch of CIFAR-10"):
        cifar10.read(batches, published=False)


def read_small(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    return images.read_images([(str(path), path)], label="label", classes=OBJECTS, mode="RGB", size=32)


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (None, "no picture"),
        (b"", "it is no picture, the file is empty$"),
        (b"not a picture", "it is no picture$"),
        (encode(np.zeros((3, 32, 32), np.uint8))[:60], "cannot be decoded"),
        (encode(np.zeros((3, 31, 32), np.uint8)), "31 x 32 pixels, 32 x 32 expected"),
    ],
)
def test_bad_pictures_are_named_by_their_row(
    cell: bytes | None, problem: str, tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_BATCH_ROWS", 8)
    cells: list[bytes | None] = [encode(picture) for picture in pictures[:30]]
    cells[21] = cell
    write_parquet(tmp_path / "x.parquet", cells, LABELS[:30])
    with pytest.raises(BenchError, match=f"x.parquet, row 21: .*{problem}"):
        read_small(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("labels", "problem"),
    [([1.5, 2.0], "holds double"), ([1, None], "holds int64 with 1 empty rows"), ([[1], [2]], "holds list")],
)
def test_bad_labels_are_refused(labels: list[object], problem: str, tmp_path: Path, pictures: np.ndarray) -> None:
    write_parquet(tmp_path / "x.parquet", [encode(picture) for picture in pictures[:2]], labels)
    with pytest.raises(BenchError, match=f"column 'label' {problem}.*, whole numbers without gaps expected"):
        read_small(tmp_path / "x.parquet")


def test_other_tables_give_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    parquet.write_table(pyarrow.table({"picture": [1], "label": [1]}), path)
    with pytest.raises(BenchError, match=r"column 'image' is missing, allowed: 'picture', 'label'"):
        read_small(path)
    whole = path.read_bytes()
    for content in (b"", b"not parquet at all", whole[:-30], whole[:40]):
        path.write_bytes(content)
        with pytest.raises(BenchError, match="cannot be read as parquet") as caught:
            read_small(path)
        assert "\n" not in str(caught.value)
    write_parquet(path, [], pyarrow.array([], pyarrow.int64()), "image")
    with pytest.raises(BenchError, match="no rows, at least one picture expected"):
        read_small(path)


def test_damaged_pages_give_one_sentence(tmp_path: Path, pictures: np.ndarray) -> None:
    path = tmp_path / "x.parquet"
    write_parquet(path, [encode(picture) for picture in pictures], LABELS)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"x\.parquet: cannot be read as parquet"):
        read_small(path)
