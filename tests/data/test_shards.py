"""Which files of a folder are the data set: every promised shard, none twice, and what was named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.shards import parquet_splits
from bench.data.tree import Tree
from bench.errors import BenchError


def fill(folder: Path, *names: str) -> Path:
    """Write files that hold the name up to a mark of a copy; "name=content" says another content."""
    for entry in names:
        name, _, content = entry.partition("=")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content or path.name.split(" (")[0].split(".")[0])
    return folder


def splits(folder: Path, *names: str) -> tuple[dict[str, list[str]], list[str]]:
    lines: list[str] = []
    return parquet_splits(Tree(fill(folder, *names)), lines.append), lines


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"],
        ["data/train-0-of-2-0123456789abcdef.parquet", "data/train-1-of-2-fedcba9876543210.parquet"],
        ["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"],
        ["plain_text/train/0000.parquet", "plain_text/test/0000.parquet", "plain_text/unsupervised/0000.parquet=u"],
        ["imdb-train-00000-of-00001.parquet", "imdb-test-00000-of-00001.parquet"],
        ["train.parquet", "test.parquet"],
        ["train_1.parquet", "train_2.parquet", "other.parquet=o"],
    ],
)
def test_known_names(names: list[str], tmp_path: Path) -> None:
    found, lines = splits(tmp_path, *reversed(names))
    wanted = [name.partition("=")[0] for name in names]
    assert found["train"] == [name for name in wanted if "train" in name]
    assert found["test"] == [name for name in wanted if "test" in name]
    unread = [name for name in wanted if "train" not in name and "test" not in name]
    said = f"not of the splits train and test by their names, not read: {', '.join(map(repr, unread))}"
    assert lines == ([said] if unread else [])


def test_shards_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found, _ = splits(tmp_path, *(f"train-{number}.parquet" for number in range(12)))
    assert found["train"] == [f"train-{number}.parquet" for number in range(12)]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["train-00000-of-00002.parquet"], "'train-00001-of-00002.parquet' is missing beside 'train-00000-of-00002"),
        (
            ["train-00001-of-00003.parquet"],
            "'train-00000-of-00003.parquet', 'train-00002-of-00003.parquet' are missing",
        ),
        (["a/test-0-of-2.parquet", "a/train-0-of-1.parquet"], "'a/test-1-of-2.parquet' is missing"),
        (["x/train/0000.parquet", "x/train/0002.parquet"], "'x/train/0001.parquet' is missing"),
        (["train_1.parquet", "train_3.parquet"], "'train_2.parquet' is missing"),
        (["train-0-of-2.parquet", "train-1-of-3.parquet"], r"shards of two different sets \(2 and 3 files\)"),
        (["train-0-of-1.parquet", "train-0-of-2.parquet", "train-1-of-2.parquet"], "shards of two different sets"),
        (["train-0-of-1.parquet", "train-7-of-1.parquet"], "'train-7-of-1.parquet' cannot be"),
        (["train-0-of-2.parquet=x", "train-1-of-2.parquet=x"], "hold the same bytes, one of them is not itself"),
        (["train-0-of-1.parquet", "train-0-of-1 (1).parquet=other"], "different files for one part of the data"),
        (["a/train-0-of-1.parquet=1", "b/train-0-of-1.parquet=2"], "two different sets of train files, 'a/.* 'b/"),
        (["train.parquet=1", "train-0-of-1.parquet=2"], "two different sets of train files"),
    ],
)
def test_missing_doubled_and_foreign_shards(names: list[str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=problem) as caught:
        splits(tmp_path, *names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("copy", [" (1)", "(2)", " copy", " - Copy"])
def test_a_second_download_is_left_out_and_said(copy: str, tmp_path: Path) -> None:
    found, lines = splits(tmp_path, "train-0-of-1.parquet=x", f"train-0-of-1{copy}.parquet=x")
    assert found["train"] == ["train-0-of-1.parquet"]
    assert lines == [f"'train-0-of-1{copy}.parquet': the same bytes as 'train-0-of-1.parquet', not read"]


def test_a_copy_alone_is_the_file(tmp_path: Path) -> None:
    found, _ = splits(tmp_path, "train-00000-of-00001 (1).parquet")
    assert found["train"] == ["train-00000-of-00001 (1).parquet"]


def test_two_snapshots_of_a_hub_cache(tmp_path: Path) -> None:
    """Snapshots are folders of links to blobs; two with the same bytes are one, as are two with one blob."""
    blob = fill(tmp_path, "blobs/0123=content") / "blobs" / "0123"
    for revision in ("aaa", "bbb"):
        data = tmp_path / "snapshots" / revision / "data"
        data.mkdir(parents=True)
        (data / "train-00000-of-00001.parquet").symlink_to(blob)
    found, lines = splits(tmp_path)
    assert found["train"] == ["snapshots/aaa/data/train-00000-of-00001.parquet"]
    assert "'snapshots/bbb/data/train-00000-of-00001.parquet': the same bytes as" in lines[0]


def test_a_part_says_that_it_is_one(tmp_path: Path) -> None:
    found, lines = splits(tmp_path, "default/partial-train/0000.parquet")
    assert found["train"] == ["default/partial-train/0000.parquet"]
    assert lines == ["train: the folder's name says that this is a part of the split only"]


def test_what_is_named_is_what_is_read(tmp_path: Path) -> None:
    fill(tmp_path, "train-00000-of-00001.parquet", "other.parquet", "train-00000-of-00002.parquet")
    for name in ("other.parquet", "train-00000-of-00001.parquet"):
        tree = Tree(tmp_path / name)
        assert parquet_splits(tree, print) == {"train": [name], "test": []}
        assert [place for place, _ in tree.tables([name])] == [str(tmp_path / name)]
    with pytest.raises(BenchError, match=r"is one of 2 shards, name the folder that holds all of them"):
        parquet_splits(Tree(tmp_path / "train-00000-of-00002.parquet"), print)


def test_a_folder_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    fill(tmp_path, "train-00000-of-00001.parquet=outside", "d.parquet/train-00000-of-00001.parquet", "d.zip/a.csv")
    tree = Tree(tmp_path / "d.parquet")
    assert parquet_splits(tree, print)["train"] == ["train-00000-of-00001.parquet"]
    assert list(Tree(tmp_path / "d.zip").sizes) == ["a.csv"]
    # Nor is a folder a file of the folder above it.
    assert list(Tree(tmp_path).sizes) == [
        "d.parquet/train-00000-of-00001.parquet",
        "d.zip/a.csv",
        "train-00000-of-00001.parquet",
    ]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    fill(tmp_path, "real/train-00000-of-00001.parquet", "set/.cache/train-00000-of-00001.parquet=metadata")
    (tmp_path / "set" / "data").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "nowhere.parquet").symlink_to(tmp_path / "gone")
    (tmp_path / "set" / "self.parquet").symlink_to(tmp_path / "set" / "self.parquet")
    assert list(Tree(tmp_path / "set").sizes) == ["data/train-00000-of-00001.parquet"]
    (tmp_path / "link").symlink_to(tmp_path / "set")
    assert list(Tree(tmp_path / "link").sizes) == ["data/train-00000-of-00001.parquet"]
