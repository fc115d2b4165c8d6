"""FEMNIST from small parquet files made here: true labels, writers, and the split within writers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from bench.data import cache, femnist
from bench.errors import BenchError


def picture_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (28, 28), dtype=np.uint8)


def encode(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def write(path: Path, writers: list[str], characters: list[int], first: int = 0) -> None:
    cells = [{"bytes": encode(picture_of(first + row)), "path": None} for row in range(len(writers))]
    columns = {"image": cells, "writer_id": writers, "hsf_id": [4] * len(writers), "character": characters}
    parquet.write_table(pyarrow.table(columns), path)


def test_the_files_own_test_split(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00001.parquet", ["w7", "w10", "w7", "w2"], [61, 0, 12, 9])
    write(tmp_path / "test-00000-of-00001.parquet", ["w9", "w2"], [35, 9], first=100)
    data = femnist.read(tmp_path)
    assert data.train.inputs.shape == (4, 1, 28, 28)
    np.testing.assert_array_equal(data.train.inputs[:, 0], [picture_of(row) for row in range(4)])
    np.testing.assert_array_equal(data.test.inputs[:, 0], [picture_of(100), picture_of(101)])
    # The labels are the true characters although most classes are absent: none is shifted.
    assert data.train.labels.tolist() == [61, 0, 12, 9]
    assert data.test.labels.tolist() == [35, 9]
    assert data.classes == 62
    # Users follow the sorted ids "w10" < "w2" < "w7"; the test split has its own table "w2" < "w9".
    assert data.train.users is not None
    assert data.test.users is not None
    assert data.train.users.tolist() == [2, 0, 2, 1]
    assert data.test.users.tolist() == [1, 0]
    assert data.train.users.dtype == np.int32


def test_without_a_test_file_every_writer_gives_a_tenth(tmp_path: Path) -> None:
    writers = ["a"] * 40 + ["b"] * 3 + ["c"] * 17
    characters = [row % 62 for row in range(60)]
    write(tmp_path / "train-00000-of-00001.parquet", writers, characters)
    data = femnist.read(tmp_path)
    assert data.train.users is not None
    assert data.test.users is not None
    assert np.bincount(data.test.users).tolist() == [4, 1, 2]
    assert np.bincount(data.train.users).tolist() == [36, 2, 15]
    # Each picture is in one split, still with its own label and writer.
    number_of = {picture_of(row).tobytes(): row for row in range(60)}
    seen = []
    for split in (data.train, data.test):
        assert split.users is not None
        for picture, label, user in zip(split.inputs, split.labels, split.users, strict=True):
            row = number_of[picture.tobytes()]
            seen.append(row)
            assert (label, "abc"[user]) == (characters[row], writers[row])
    assert sorted(seen) == list(range(60))
    again = femnist.read(tmp_path)
    assert cache.fingerprint(again.train, again.test) == cache.fingerprint(data.train, data.test)


@settings(max_examples=60)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_held_out_counts(sizes: list[int], shuffler: object) -> None:
    users = np.repeat(np.arange(len(sizes)), sizes)
    shuffler.shuffle(users)  # type: ignore[attr-defined]
    mask = femnist.held_out(users)
    for user, size in enumerate(sizes):
        held = int(mask[users == user].sum())
        assert 0 <= held < size
        assert held == 0 if size == 1 else abs(held - size / 10) <= 0.5 or held == 1


def test_only_a_set_with_letters_is_called_femnist() -> None:
    assert femnist.title_of(np.arange(62)) == "FEMNIST"
    assert femnist.title_of(np.arange(10)) == "digits by NIST writer"
    assert femnist.title_of(np.array([3, 61])) == "digits by NIST writer"


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no train-.*parquet found, the parquet files of https://huggingface.co"):
        femnist.read(tmp_path)
    cells = [{"bytes": encode(picture_of(0)), "path": None}]
    parquet.write_table(pyarrow.table({"image": cells, "character": [1]}), tmp_path / "train-0.parquet")
    with pytest.raises(BenchError, match="column 'writer_id' is missing"):
        femnist.read(tmp_path)
