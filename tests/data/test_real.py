"""The real data sets, where they are here: known facts about them hold after the import."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from bench.data import (
    archives,
    cache,
    cifar10,
    cifar100,
    cifar_binary,
    femnist,
    images,
    imdb_reviews,
    imdb_tables,
    shakespeare_tff,
    sources,
    text,
)
from bench.data.cifar10_classes import OBJECTS
from bench.data.dataset import Split
from bench.data.tree import Tree

REAL_DATA = Path(os.environ.get("BENCH_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def real(relative: str) -> Path:
    path = REAL_DATA / relative
    if not path.exists():
        pytest.skip(f"no real data at {path} (set BENCH_REAL_DATA to its folder)")
    return path


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))


def test_cifar10_test_files() -> None:
    file = real("cifar10") / "test-00000-of-00001.parquet"
    pictures, labels, _ = images.read_images([(str(file), file)], label="label", classes=OBJECTS, mode="RGB", size=32)
    assert pictures.shape == (10_000, 3, 32, 32)
    assert np.bincount(labels).tolist() == [1000] * 10
    assert labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]


@pytest.mark.slow
def test_cifar10() -> None:
    data = sources.import_path("cifar10", real("cifar10"))
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    # The first labels and the first pixels (red, green, blue) of the published files.
    assert data.train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert data.train.inputs[0, :, 0, 0].tolist() == [59, 62, 63]
    per_picture = data.train.inputs.reshape(50_000, 3, -1)
    means = per_picture.mean(axis=(0, 2)) / 255
    deviations = np.array([per_picture[:, channel].std() for channel in range(3)]) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(deviations, [0.2470, 0.2435, 0.2616], atol=5e-5)
    assert sources.verify("cifar10").fingerprint == data.fingerprint


@pytest.mark.slow
def test_cifar100_in_two_forms(tmp_path: Path) -> None:
    """Every sample, both labels and the order are the publisher's, and binary files made of them are the same."""
    lines: list[str] = []
    data = cifar100.read(real("cifar100"), lines.append)
    assert lines[-1] == "all samples are the published ones in the official order"
    assert np.bincount(data.train.labels).tolist() == [500] * 100
    assert data.train.labels[:10].tolist() == [19, 29, 0, 11, 1, 86, 90, 28, 23, 31]
    per_picture = data.train.inputs.reshape(50_000, 3, -1)
    np.testing.assert_allclose(per_picture.mean(axis=(0, 2)) / 255, [0.5071, 0.4865, 0.4409], atol=5e-5)
    expected = cache.fingerprint(data.train, data.test)
    halves = {"train": data.train, "test": data.test}
    for half, split in halves.items():
        (tmp_path / f"{half}.bin").write_bytes(cifar_binary.records(cifar100.PUBLISHED, split))
    read = cifar100.read(tmp_path)
    assert cache.fingerprint(read.train, read.test) == expected


def test_shakespeare_of_tensorflow_federated() -> None:
    lines: list[str] = []
    data = shakespeare_tff.read(real("shakespeare_tff"), lines.append)
    assert "all snippets are the published ones" in lines
    assert data.train.inputs.shape == (37_784, 80) and data.test.inputs.shape == (5_490, 80)
    assert data.train.users is not None and data.test.users is not None
    assert set(data.train.users) == set(data.test.users) == set(range(715))
    known = data.train.labels[(data.train.labels > 0) & (data.train.labels < 87)]
    # All characters but the first of each piece of 81, which is never to be told, and two unknown ones.
    assert (data.train.labels == 87).sum() == 2 and len(known) < 2_359_315 - 2
    assert (
        (data.train.inputs[:, 0] == 88).sum()
        == 16_068
        == (data.train.labels == 89).sum() + (data.train.inputs[:, 0] == 89).sum()
    )


@pytest.mark.slow
def test_digits_by_writer() -> None:
    data = sources.import_path("femnist", real("mnist_by_writer"))
    assert data.title == "digits by NIST writer"
    assert data.classes == 62
    assert data.train.inputs.shape == (60_000, 1, 28, 28)
    assert data.test.inputs.shape == (10_000, 1, 28, 28)
    assert data.train.users is not None
    assert data.test.users is not None
    images_per_writer = np.bincount(data.train.users)
    assert len(images_per_writer) == 539
    assert (images_per_writer.min(), images_per_writer.max()) == (19, 131)
    assert np.median(images_per_writer) == 116
    images_per_test_writer = np.bincount(data.test.users)
    assert (len(images_per_test_writer), images_per_test_writer.min(), images_per_test_writer.max()) == (297, 8, 130)
    # MNIST's numbers of digits and its mean pixel value.
    assert np.bincount(data.train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.train.inputs.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


@pytest.mark.slow
def test_imdb() -> None:
    archive = real("imdb/aclImdb_v1-labelled.tar.xz")
    data = sources.import_path("imdb", archive)
    assert data.train.inputs.shape == (37_500, 500)
    assert data.test.inputs.shape == (12_500, 500)
    assert np.bincount(data.train.labels).tolist() == [18_750] * 2
    assert np.bincount(data.test.labels).tolist() == [6250] * 2
    ids = np.concatenate([data.train.inputs, data.test.inputs])
    assert (ids.min(), ids.max()) == (0, 1000)
    # Padding is on the left only, and ids follow the frequency of their words in the training part.
    assert not np.any((ids[:, :-1] > 0) & (ids[:, 1:] == 0))
    counts = np.bincount(data.train.inputs.ravel(), minlength=1001)[1:]
    assert np.corrcoef(np.arange(1000), np.log(counts))[0, 1] < -0.9


@pytest.mark.slow
def test_imdb_reviews_against_a_reading_of_their_own() -> None:
    archive = real("imdb/aclImdb_v1-labelled.tar.xz")
    reviews = [
        (name, content.decode())
        for name, content in archives.read_members(archive, lambda name: "/pos/" in name or "/neg/" in name)
    ]
    assert len(reviews) == 50_000
    assert len({review for _, review in reviews}) == 49_582
    for _, review in reviews[::500]:
        cleaned = ["".join(c for c in word if (c.isalnum() or c == "_") and not c.isdecimal())
                   for word in review.lower().split()]  # fmt: skip
        assert text.tokens(review) == [word for word in cleaned if word]


@pytest.mark.slow
def test_cifar10_in_all_its_forms(tmp_path: Path) -> None:
    """Binary batches and folders of pictures, made of the real samples, are what the parquet files are."""
    lines: list[str] = []
    data = cifar10.read(real("cifar10"), lines.append)
    # The training batches have the publisher's checksums; a copy of the test set may hold a few approximate pictures.
    assert lines[-1] in (
        "all samples are the published ones in the official order",
        "not the published pixels, or not in the official order: test set",
    )
    batches = [Split(data.train.inputs[rows], data.train.labels[rows]) for rows in np.split(np.arange(50_000), 5)]
    binary = tmp_path / "cifar-10-batches-bin"
    binary.mkdir()
    for number, batch in enumerate(batches, start=1):
        (binary / f"data_batch_{number}.bin").write_bytes(cifar_binary.records(cifar10.PUBLISHED, batch))
    (binary / "test_batch.bin").write_bytes(cifar_binary.records(cifar10.PUBLISHED, data.test))
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(binary, binary.name)
    expected = cache.fingerprint(data.train, data.test)
    for place in (binary, tmp_path / "cifar-10-binary.tar.gz"):
        read = cifar10.read(place)
        assert cache.fingerprint(read.train, read.test) == expected
    pictures = tmp_path / "pictures"  # of a tenth: all 60,000 files take minutes
    halves = {
        half: Split(split.inputs[: len(split) // 10], split.labels[: len(split) // 10])
        for half, split in (("train", data.train), ("test", data.test))
    }
    for half, split in halves.items():
        for label in OBJECTS.names:
            (pictures / half / label).mkdir(parents=True)
        for row, (pixels, label) in enumerate(zip(split.inputs, split.labels, strict=True)):
            path = pictures / half / OBJECTS.names[label] / f"{row}.png"
            Image.fromarray(pixels.transpose(1, 2, 0)).save(path, compress_level=1)
    read = cifar10.read(pictures, published=False)
    assert cache.fingerprint(read.train, read.test) == cache.fingerprint(halves["train"], halves["test"])


@pytest.mark.slow
def test_imdb_as_tables(tmp_path: Path) -> None:
    """Kaggle's CSV and Hugging Face's parquet files, made of the real reviews, are one and the same rows."""
    tree = Tree(real("imdb/aclImdb_v1-labelled.tar.xz"))
    names = imdb_reviews.files(tree)
    texts, labels = imdb_reviews.read(tree, names, published=True)
    order = np.random.default_rng(0).permutation(len(texts))
    with (tmp_path / "IMDB Dataset.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment"])
        writer.writerows([texts[row], imdb_tables.CLASSES.names[labels[row]]] for row in order)
    for split in ("train", "test"):
        rows = [row for row, name in enumerate(names) if f"/{split}/" in name]
        table = pyarrow.table({"text": [texts[row] for row in rows], "label": labels[rows]})
        (tmp_path / "plain_text" / split).mkdir(parents=True)
        parquet.write_table(table, tmp_path / "plain_text" / split / "0000.parquet")
    one, other = (imdb_tables.read(Tree(tmp_path / name), print) for name in ("IMDB Dataset.csv", "plain_text"))
    assert one[0] == other[0]
    assert one[1].tolist() == other[1].tolist()
    assert sorted(zip(one[0], one[1].tolist(), strict=True)) == sorted(zip(texts, labels.tolist(), strict=True))
    assert len(set(one[0])) == 49_582


@pytest.mark.slow
def test_digits_as_leaf_json(tmp_path: Path) -> None:
    """Some real writers, written as LEAF writes them, are what their parquet file is."""
    place = real("mnist_by_writer") / "test-00000-of-00001.parquet"
    table = parquet.read_table(place).sort_by([("writer_id", "ascending")]).slice(0, 1000)
    (tmp_path / "p").mkdir()
    parquet.write_table(table, tmp_path / "p" / "train-00000-of-00001.parquet")
    pictures, labels, texts = images.read_images(
        [("x", tmp_path / "p" / "train-00000-of-00001.parquet")],
        label="character",
        classes=femnist.CHARACTERS,
        mode="L",
        size=28,
        text_columns=["writer_id"],
    )
    writers = texts["writer_id"]
    user_data = {
        writer: {
            "x": (pictures[writers == writer].reshape(-1, 784) / 255).tolist(),
            "y": labels[writers == writer].tolist(),
        }
        for writer in dict.fromkeys(writers.tolist())
    }
    content = {
        "users": list(user_data),
        "num_samples": [len(samples["y"]) for samples in user_data.values()],
        "user_data": user_data,
    }
    (tmp_path / "all_data_0.json").write_text(json.dumps(content))
    one, other = femnist.read(tmp_path / "p"), femnist.read(tmp_path / "all_data_0.json")
    assert cache.fingerprint(one.train, one.test) == cache.fingerprint(other.train, other.test)
