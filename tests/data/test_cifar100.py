"""CIFAR-100 from small files made here: fine labels in every form, coarse ones as the hierarchy."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from cifar import encode
from pyarrow import parquet

from bench.data import cache, cifar100, sources
from bench.data.cifar100_classes import COARSE, MEMBERS, OBJECTS
from bench.data.imported import Imported
from bench.errors import BenchError

LABELS = np.arange(30) * 37 % 100
OFFICIAL = {0: (4, 30, 55, 72, 95), 6: (5, 20, 25, 84, 94), 17: (47, 52, 56, 59, 96), 19: (41, 69, 81, 85, 89)}
"""Some rows of the publisher's table by number: coarse class and its fine classes."""


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)


def pickled(folder: Path, pictures: np.ndarray, names: tuple[str, ...] = OBJECTS.names) -> Path:
    place = folder / "cifar-100-python"
    place.mkdir(parents=True)
    for name, rows in (("train", slice(0, 24)), ("test", slice(24, 30))):
        content = {
            b"data": pictures[rows].reshape(-1, 3072),
            b"fine_labels": [names.index(OBJECTS.names[label]) for label in LABELS[rows]],
            b"coarse_labels": [COARSE[label] for label in LABELS[rows]],
        }
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
    (place / "meta").write_bytes(pickle.dumps({b"fine_label_names": [name.encode() for name in names]}, protocol=2))
    return place


def assert_is_the_set(data: Imported, pictures: np.ndarray) -> None:
    np.testing.assert_array_equal(np.concatenate([data.train.inputs, data.test.inputs]), pictures)
    np.testing.assert_array_equal(np.concatenate([data.train.labels, data.test.labels]), LABELS)
    assert (len(data.train), data.title, data.classes, data.coarse) == (24, "CIFAR-100", 100, COARSE)


def test_the_hierarchy_is_the_published_one() -> None:
    assert set(Counter(COARSE).values()) == {5} and list(MEMBERS) == sorted(MEMBERS)
    assert len(COARSE) == 100 and len(MEMBERS) == 20
    for number, members in OFFICIAL.items():
        assert tuple(np.flatnonzero(np.array(COARSE) == number)) == members
    assert [OBJECTS.number(name) for name in ("apple", "streetcar", "willow_tree", "worm")] == [0, 81, 96, 99]


def test_pickled_files_with_their_list_of_names(tmp_path: Path, pictures: np.ndarray) -> None:
    assert_is_the_set(cifar100.read(pickled(tmp_path / "one", pictures), published=False), pictures)
    others = OBJECTS.names[50:] + OBJECTS.names[:50]
    assert_is_the_set(cifar100.read(pickled(tmp_path / "other", pictures, others), published=False), pictures)


def test_binary_files(tmp_path: Path, pictures: np.ndarray) -> None:
    for name, rows in (("train.bin", range(24)), ("test.bin", range(24, 30))):
        records = [bytes([COARSE[LABELS[row]], LABELS[row]]) + pictures[row].tobytes() for row in rows]
        (tmp_path / name).write_bytes(b"".join(records))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(OBJECTS.names))
    (tmp_path / "coarse_label_names.txt").write_text("\n".join(MEMBERS))
    assert_is_the_set(cifar100.read(tmp_path, published=False), pictures)
    content = bytearray((tmp_path / "test.bin").read_bytes())
    content[3074] = 7
    (tmp_path / "test.bin").write_bytes(bytes(content))
    row = 25
    name, coarse = OBJECTS.names[LABELS[row]], COARSE[LABELS[row]]
    with pytest.raises(BenchError, match=rf"test.bin, row 1: '{name}' is of coarse class {coarse}, not 7$"):
        cifar100.read(tmp_path, published=False)


def test_parquet_and_pictures(tmp_path: Path, pictures: np.ndarray) -> None:
    for split, rows in (("train", range(24)), ("test", range(24, 30))):
        cells = [{"bytes": encode(pictures[row]), "path": None} for row in rows]
        labels = LABELS[list(rows)]
        columns = {"img": cells, "fine_label": labels, "coarse_label": np.array(COARSE)[labels]}
        (tmp_path / "a").mkdir(exist_ok=True)
        parquet.write_table(pyarrow.table(columns), tmp_path / "a" / f"{split}-00000-of-00001.parquet")
        for number, row in enumerate(rows):
            path = tmp_path / "b" / split / f"{number}_{OBJECTS.names[LABELS[row]]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(pictures[row]))
    assert_is_the_set(cifar100.read(tmp_path / "a", published=False), pictures)
    assert_is_the_set(cifar100.read(tmp_path / "b", published=False), pictures)


def test_published_pairs_of_copies_are_no_mistake(tmp_path: Path, pictures: np.ndarray) -> None:
    """Two of its pictures may be one and have two labels; their order then is that of the labels."""
    twice = [("train/apple/x.png", 0), ("train/bee/y.png", 0), ("train/worm/z.png", 1), ("test/bee/x.png", 2)]
    for name, row in twice:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pictures[row]))
    data = cifar100.read(tmp_path, published=False)
    assert sorted(data.train.labels.tolist()) == [0, 6, 99]
    for number in range(14):
        (tmp_path / "train" / "worm" / f"again{number}.png").write_bytes(encode(pictures[1]))
    with pytest.raises(BenchError, match=r"15 pictures are there again, 14 expected, such as .* are the same picture"):
        cifar100.read(tmp_path, published=False)


def test_damaged_and_foreign_files_are_named(tmp_path: Path, pictures: np.ndarray) -> None:
    place = pickled(tmp_path, pictures)
    with pytest.raises(BenchError, match=r"'train' does not have the published MD5 16019d7e.*cifar-100-python.tar.gz"):
        cifar100.read(place)
    (place / "meta").write_bytes(b"nothing")
    with pytest.raises(BenchError, match="meta: no list of classes of CIFAR-100"):
        cifar100.read(place, published=False)
    (place / "test").unlink()
    with pytest.raises(BenchError, match="'test' is missing, train, test expected"):
        cifar100.read(place, published=False)


def test_what_is_stored_has_its_coarse_classes(
    tmp_path: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    source = replace(sources.SOURCES["cifar100"], read=lambda path, report: cifar100.read(path, report, False))
    monkeypatch.setitem(sources.SOURCES, "cifar100", source)
    sources.import_path("cifar100", pickled(tmp_path, pictures))
    assert sources.load("cifar100").coarse == COARSE
    assert cache.read("cifar100", verify=True).coarse == COARSE
