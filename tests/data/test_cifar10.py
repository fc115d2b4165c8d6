"""CIFAR-10 from small batches and small parquet files made here, and image tables in general."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from cifar import LABELS, NAMES, PER_BATCH, encode, generated, pickled, write_parquet
from pyarrow import parquet

from bench.data import cache, cifar10
from bench.data.cifar10_classes import OBJECTS
from bench.data.imported import Imported
from bench.errors import BenchError


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return generated()


@pytest.fixture
def batches(tmp_path: Path, pictures: np.ndarray) -> Path:
    return pickled(tmp_path, pictures)


def assert_is_the_set(data: Imported, pictures: np.ndarray) -> None:
    np.testing.assert_array_equal(data.train.inputs, pictures[:100])
    np.testing.assert_array_equal(data.train.labels, LABELS[:100])
    np.testing.assert_array_equal(data.test.inputs, pictures[100:])
    np.testing.assert_array_equal(data.test.labels, LABELS[100:])
    assert data.train.inputs.dtype == np.uint8
    assert data.train.labels.dtype == np.int64
    assert data.train.users is None
    assert (data.title, data.classes) == ("CIFAR-10", 10)


def test_folder_of_batches(batches: Path, pictures: np.ndarray) -> None:
    assert_is_the_set(cifar10.read(batches, published=False), pictures)
    assert_is_the_set(cifar10.read(batches.parent, published=False), pictures)


def test_archive_of_batches(batches: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in reversed(NAMES):
            tar.add(batches / name, f"cifar-10-batches-py/{name}")
    assert_is_the_set(cifar10.read(archive, published=False), pictures)


@pytest.mark.parametrize("kind", ["PNG", "WebP"])
def test_parquet_files(kind: str, tmp_path: Path, pictures: np.ndarray) -> None:
    encoded: list[bytes | None] = [encode(picture, kind) for picture in pictures]
    write_parquet(tmp_path / "plain_text" / "train-00000-of-00002.parquet", encoded[:70], LABELS[:70])
    write_parquet(tmp_path / "plain_text" / "train-00001-of-00002.parquet", encoded[70:100], LABELS[70:100], "image")
    write_parquet(tmp_path / "plain_text" / "test-00000-of-00001.parquet", encoded[100:], LABELS[100:])
    lines: list[str] = []
    assert_is_the_set(cifar10.read(tmp_path, progress=lines.append, published=False), pictures)
    assert lines[0] == "train-00000-of-00002.parquet decoded"
    one_file = tmp_path / "plain_text" / "test-00000-of-00001.parquet"
    with pytest.raises(
        BenchError, match=r"test-00000-of-00001.parquet' alone, without the test split; name the folder"
    ):
        cifar10.read(one_file, published=False)


@pytest.fixture
def binary(tmp_path: Path, pictures: np.ndarray) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        rows = range(number * PER_BATCH, (number + 1) * PER_BATCH)
        records = [bytes([LABELS[row]]) + pictures[row].tobytes() for row in rows]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("\n".join([*OBJECTS.names, ""]))
    return folder


def test_binary_batches(binary: Path, pictures: np.ndarray) -> None:
    assert_is_the_set(cifar10.read(binary, published=False), pictures)
    archive = binary.parent / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(binary, binary.name)
    assert_is_the_set(cifar10.read(archive, published=False), pictures)
    (binary / "batches.meta.txt").unlink()
    assert_is_the_set(cifar10.read(binary, published=False), pictures)


def test_binary_batches_by_their_own_list_of_classes(binary: Path, pictures: np.ndarray) -> None:
    own = [OBJECTS.names[(number + 3) % 10] for number in range(10)]
    (binary / "batches.meta.txt").write_text("\n".join(own))
    data = cifar10.read(binary, published=False)
    np.testing.assert_array_equal(data.train.labels, (LABELS[:100] + 3) % 10)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-1], r"data_batch_3.bin: 61,459 bytes, whole records of 3,073 bytes expected"),
        (lambda content: b"", r"data_batch_3.bin: 0 bytes, whole records"),
        (lambda content: b"\x0a" + content[1:], r"data_batch_3.bin: label 10, allowed: 0 to 9"),
    ],
)
def test_damaged_binary_batches(damage: Callable[[bytes], bytes], problem: str, binary: Path) -> None:
    path = binary / "data_batch_3.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BenchError, match=problem):
        cifar10.read(binary, published=False)
    path.unlink()
    with pytest.raises(BenchError, match=r"'data_batch_3.bin' is missing"):
        cifar10.read(binary, published=False)


def test_published_binary_batches_have_ten_thousand_records(binary: Path) -> None:
    with pytest.raises(BenchError, match=r"data_batch_1.bin: 61,460 bytes, 10,000 records of 3,073 bytes expected"):
        cifar10.read(binary)


def write_pictures(folder: Path, pictures: np.ndarray, name: str, kind: str = "PNG", first: int = 0) -> Path:
    """Write files by a pattern of split, class and number in the split, in an order that is not theirs."""
    for row in reversed(range(len(pictures))):
        split, number = ("train", row) if row < 100 else ("test", row - 100)
        path = folder / name.format(split=split, label=OBJECTS.names[LABELS[row]], number=number + first, row=row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pictures[row], kind))
    return folder


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("cifar10/{split}/{label}/{number}_{label}.png", 0),
        ("{split}/{label}/{number:05}.png", 1),
        ("{split}/{number}_{label}.png", 0),
    ],
)
def test_pictures_by_class(name: str, first: int, tmp_path: Path, pictures: np.ndarray) -> None:
    folder = write_pictures(tmp_path / "set", pictures, name, first=first)
    assert_is_the_set(cifar10.read(folder, published=False), pictures)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in folder.rglob("*.png"):
            packed.write(path, path.relative_to(folder))
    assert_is_the_set(cifar10.read(tmp_path / "set.zip", published=False), pictures)


def test_pictures_without_official_numbers(tmp_path: Path, pictures: np.ndarray) -> None:
    """Whatever the files are called, the order is the same and mixes the classes, and each has its own label."""
    lines: list[str] = []
    one, other = (
        cifar10.read(write_pictures(tmp_path / str(k), pictures, name), lines.append, published=False)
        for k, name in enumerate(["{split}/{label}/a_{row}.png", "x/{split}/{label}/{label}_s_{row:06}.png"])
    )
    assert cache.fingerprint(one.train, one.test) == cache.fingerprint(other.train, other.test)
    assert (
        "train: the files' names do not number the whole split, so the pictures are ordered by their SHA-256" in lines
    )
    label_of = {picture.tobytes(): label for picture, label in zip(pictures, LABELS, strict=True)}
    for split, rows in ((one.train, 100), (one.test, 20)):
        assert [label_of[picture.tobytes()] for picture in split.inputs] == split.labels.tolist()
        assert len(split) == rows
    assert np.count_nonzero(np.diff(one.train.labels)) > 70


def test_labels_do_not_follow_the_order_of_folders(tmp_path: Path, pictures: np.ndarray) -> None:
    """With classes missing and further names in use, a position in the list of folders would be another class."""
    few = np.isin(LABELS, [0, 1, 9])
    for row in np.flatnonzero(few):
        own = {0: "plane", 1: "Car", 9: "truck"}[LABELS[row]]
        path = tmp_path / ("train" if row < 100 else "test") / own / f"x{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pictures[row]))
    data = cifar10.read(tmp_path, published=False)
    label_of = {picture.tobytes(): label for picture, label in zip(pictures, LABELS, strict=True)}
    assert [label_of[picture.tobytes()] for picture in data.train.inputs] == data.train.labels.tolist()
    assert set(data.train.labels) == {0, 1, 9}


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("train/frogs/1.png", r"class 'frogs' is unknown, allowed: .*did you mean 'frog'"),
        ("train/frog/x.jpg", r"x.jpg: JPEG changes the pixels, lossless pictures \(PNG\) expected"),
        ("copy/train/frog/1.png", r"pictures of train are in 'copy/train', 'train', name the folder of one set"),
        ("train/frog/again.png", r"are the same picture, each one once expected"),
        ("train/frog/empty.png", r"empty.png: it is no picture, the file is empty"),
    ],
)
def test_pictures_that_are_not_the_set(extra: str, problem: str, tmp_path: Path, pictures: np.ndarray) -> None:
    write_pictures(tmp_path, pictures, "{split}/{label}/{number}.png")
    path = tmp_path / extra
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"" if "empty" in extra else encode(pictures[0]))
    with pytest.raises(BenchError, match=problem):
        cifar10.read(tmp_path, published=False)


def test_pictures_of_one_split_alone(tmp_path: Path, pictures: np.ndarray) -> None:
    write_pictures(tmp_path, pictures[:100], "{split}/{label}/{number}.png")
    with pytest.raises(BenchError, match=r"pictures of train alone, train/CLASS and test/CLASS expected"):
        cifar10.read(tmp_path, published=False)


@pytest.mark.parametrize("kind", ["numbers of another list", "names", "dictionary"])
def test_parquet_labels_are_what_the_file_says(kind: str, tmp_path: Path, pictures: np.ndarray) -> None:
    own = [OBJECTS.names[(number + 3) % 10] for number in range(10)]
    for split, rows in (("train", slice(0, 100)), ("test", slice(100, 120))):
        cells = [{"bytes": encode(picture), "path": None} for picture in pictures[rows]]
        if kind == "numbers of another list":
            table = pyarrow.table({"img": cells, "label": (LABELS[rows] - 3) % 10})
            features = {"info": {"features": {"label": {"names": own, "_type": "ClassLabel"}}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        else:
            names = pyarrow.array([OBJECTS.names[label] for label in LABELS[rows]])
            table = pyarrow.table({"img": cells, "label": names.dictionary_encode() if kind != "names" else names})
        parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    assert_is_the_set(cifar10.read(tmp_path, published=False), pictures)


def test_published_samples_are_told_from_others_by_content(
    batches: Path, binary: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every form is compared as binary records, here with those of the small set."""
    sha1s = [hashlib.sha1((binary / f"{name}.bin").read_bytes()).hexdigest() for name in NAMES]
    small = replace(cifar10.PUBLISHED, records_sha1=tuple(sha1s), train_samples=100, test_samples=20)
    monkeypatch.setattr(cifar10, "PUBLISHED", small)
    folder = write_pictures(binary.parent / "set", pictures, "{split}/{label}/{number}.png")
    lines: list[str] = []
    cifar10.read(folder, lines.append)
    assert lines[-1] == "all samples are the published ones in the official order"
    (folder / "test" / "deer" / "100.png").unlink(missing_ok=True)
    changed = folder / "test" / OBJECTS.names[LABELS[105]] / "5.png"
    changed.write_bytes(encode(255 - pictures[105]))
    cifar10.read(folder, lines.append)
    assert lines[-1] == "not the published pixels, or not in the official order: test set"


def test_batches_of_one_name(batches: Path, pictures: np.ndarray) -> None:
    again = batches / "copy"
    again.mkdir()
    (again / "data_batch_2").write_bytes((batches / "data_batch_2").read_bytes())
    assert_is_the_set(cifar10.read(batches, published=False), pictures)
    (again / "data_batch_2").write_bytes((batches / "data_batch_3").read_bytes())
    with pytest.raises(BenchError, match=r"'copy/data_batch_2', 'data_batch_2' are different files of one name"):
        cifar10.read(batches, published=False)
