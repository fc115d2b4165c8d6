"""IMDB from small archives and folders of reviews made here."""

from __future__ import annotations

import io
import random
import tarfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from bench.data import cache, imdb, imdb_reviews
from bench.errors import BenchError

PER_CLASS = 40


def own_word(sentiment: str, number: int) -> str:
    """A word that one review alone holds (digits would be removed)."""
    return f"{sentiment}{chr(ord('a') + number // 26)}{chr(ord('a') + number % 26)}"


def reviews() -> dict[str, bytes]:
    files = {"aclImdb/README": b"read me", "aclImdb/train/unsup/0_0.txt": b"unlabelled", "aclImdb/imdb.vocab": b"the"}
    for sentiment, rating in (("pos", 9), ("neg", 2)):
        for number in range(PER_CLASS):
            half = "train" if number < PER_CLASS // 2 else "test"
            text = f"The film film film {own_word(sentiment, number)}"
            files[f"aclImdb/{half}/{sentiment}/{number}_{rating}.txt"] = text.encode()
    return files


def make_archive(path: Path, files: dict[str, bytes], mode: Literal["w:gz", "w:xz"] = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_archives_and_folders_in_any_order_give_the_same_data(tmp_path: Path) -> None:
    files = reviews()
    shuffled = dict(random.Random(1).sample(sorted(files.items()), len(files)))
    for name, content in files.items():
        file = tmp_path / "unpacked" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    places = [
        make_archive(tmp_path / "a.tar.gz", files),
        make_archive(tmp_path / "b.tar.xz", shuffled, "w:xz"),
        tmp_path / "unpacked",
        tmp_path / "unpacked" / "aclImdb",
    ]
    data = [imdb.read(place, published=False) for place in places]
    assert len({cache.fingerprint(each.train, each.test) for each in data}) == 1


def test_shapes_labels_and_a_vocabulary_of_the_training_part(tmp_path: Path) -> None:
    data = imdb.read(make_archive(tmp_path / "a.tar.gz", reviews()), published=False)
    assert data.train.inputs.shape == (60, 500)
    assert data.test.inputs.shape == (20, 500)
    assert data.train.inputs.dtype == np.int16
    assert np.bincount(data.train.labels).tolist() == [30, 30]
    assert np.bincount(data.test.labels).tolist() == [10, 10]
    assert (data.title, data.classes, data.train.users) == ("IMDB", 2, None)
    # "film" is the most frequent word (id 1), "the" is a stop word, and each training review has a word of its own.
    np.testing.assert_array_equal(data.train.inputs[:, -4:-1], np.ones((60, 3)))
    assert sorted(data.train.inputs[:, -1]) == list(range(2, 62))
    # The words of the test reviews are unknown, so these hold "film" three times and nothing else.
    assert set(map(tuple, data.test.inputs[:, -4:].tolist())) == {(0, 1, 1, 1)}
    # Words of equal frequency are ordered alphabetically: those of negative reviews come first.
    assert data.train.inputs[data.train.labels == 0, -1].max() < data.train.inputs[data.train.labels == 1, -1].min()


def test_the_split_is_stratified_disjoint_and_fixed() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1], [400, 200]))
    train, test = imdb.stratified_split(labels)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(600))
    assert np.bincount(labels[train]).tolist() == [300, 150]
    assert np.bincount(labels[test]).tolist() == [100, 50]
    again = imdb.stratified_split(labels)
    assert np.array_equal(train, again[0])
    assert 0.4 < np.mean(test < 300) < 0.6  # the test rows come from the whole range


def test_wrong_numbers_of_reviews_are_refused(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "a.tar.gz", reviews())
    with pytest.raises(BenchError, match=r"20 in test/neg, .* 20 in train/pos reviews found, 12,500 in each expected"):
        imdb.read(archive)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match=r"0 negative and 0 positive reviews found as .*; it holds no files"):
        imdb.read(tmp_path / "empty", published=False)
    with pytest.raises(BenchError, match=r"it holds 'a.tar.gz', which is imported by its own path"):
        imdb.read(tmp_path, published=False)


def test_one_folder_of_four_that_is_short_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imdb_reviews, "PER_FOLDER", 20)
    files = reviews()
    del files["aclImdb/test/neg/39_2.txt"]
    with pytest.raises(BenchError, match=r"19 in test/neg, 20 in test/pos, 20 in train/neg, 20 in train/pos"):
        imdb.read(make_archive(tmp_path / "a.tar.gz", files))


@pytest.mark.parametrize("name", ["x_9.txt", "²_9.txt", "0_9 (1).txt", f"{'9' * 5000}_9.txt", "7.txt"])
def test_a_review_without_its_number_is_one_sentence(name: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "a.tar.gz", {**reviews(), f"aclImdb/test/pos/{name}": b"good"})
    with pytest.raises(BenchError, match=r"no review by its name, ID_RATING.txt with two numbers expected"):
        imdb.read(archive, published=False)


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("aclImdb/train/pos/0_8.txt", r"'aclImdb/train/pos/0_8.txt' and 'aclImdb/train/pos/0_9.txt' have one id"),
        ("copy/aclImdb/train/pos/0_9.txt", r"reviews are in 'aclImdb/', 'copy/aclImdb/', name the folder of one set"),
    ],
)
def test_reviews_that_are_there_twice(extra: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=problem):
        imdb.read(make_archive(tmp_path / "a.tar.gz", {**reviews(), extra: b"good"}), published=False)


def test_what_downloaders_leave_is_no_review(tmp_path: Path) -> None:
    files = reviews()
    extra = {"__MACOSX/aclImdb/train/pos/._0_9.txt": b"\0", "aclImdb/train/pos/._0_9.txt": b"\0"}
    data = [
        imdb.read(make_archive(tmp_path / name, content), published=False)
        for name, content in (("a.tar.gz", files), ("b.tar.gz", {**files, **extra}))
    ]
    assert cache.fingerprint(data[0].train, data[0].test) == cache.fingerprint(data[1].train, data[1].test)


def test_folders_reached_through_links(tmp_path: Path) -> None:
    for name, content in reviews().items():
        file = tmp_path / "real" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (tmp_path / "set").mkdir()
    for half in ("train", "test"):
        (tmp_path / "set" / half).symlink_to(tmp_path / "real" / "aclImdb" / half)
    (tmp_path / "set" / "train" / "loop").symlink_to(tmp_path / "set")
    linked, straight = (imdb.read(tmp_path / name, published=False) for name in ("set", "real"))
    assert cache.fingerprint(linked.train, linked.test) == cache.fingerprint(straight.train, straight.test)


def test_a_review_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    files = {**reviews(), "aclImdb/train/pos/7_9.txt": b"caf\xe9 film"}
    with pytest.raises(BenchError, match=r"aclImdb/train/pos/7_9.txt is not UTF-8 \(.* at byte 3\)"):
        imdb.read(make_archive(tmp_path / "a.tar.gz", files), published=False)


def test_a_cut_off_archive_is_refused(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "a.tar.gz", reviews())
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(BenchError, match="cut off or damaged"):
        imdb.read(archive, published=False)
