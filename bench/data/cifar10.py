"""CIFAR-10 in any of its published forms: pickled or binary batches, parquet files, or folders of pictures.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. What is read is compared with the publisher's by its content: every form
becomes the records of the binary version, whose checksums are known, whatever the files are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import cifar10_batches, cifar10_binary, cifar10_pictures, images
from bench.data.cifar10_classes import CLASSES, OBJECTS
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.shards import parquet_splits
from bench.data.tree import Tree
from bench.errors import BenchError

URL = cifar10_batches.URL
ARCHIVE_MD5 = cifar10_batches.ARCHIVE_MD5
TRAIN_SAMPLES, TEST_SAMPLES = 50_000, 10_000
# SHA-1 of data_batch_1.bin to data_batch_5.bin and of test_batch.bin, as in Apache MXNet's gluon.data.vision.CIFAR10.
RECORDS_SHA1 = (
    "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "26e2849e66a845b7f1e4614ae70f4889ae604628",
    "67eb016db431130d61cd03c7ad570b013799c88c",
)


def read(path: Path, progress: Callable[[str], None] | None = None, published: bool = True) -> Imported:
    """Decode CIFAR-10 into uint8 ``[n, 3, 32, 32]`` in the official order.

    Args:
        path: a folder, an archive or a file with the python version (``data_batch_1`` ...), the binary version
            (``data_batch_1.bin`` ...), ``train-*.parquet`` and ``test-*.parquet`` with the columns ``img`` (or
            ``image``) and ``label``, or PNG files by class (``train/frog/1.png``); the first of these that is there.
        progress: called with lines for people.
        published: insist on the published checksums of pickled batches and on 50,000 + 10,000 samples, as many of
            each class, no picture twice; say where the samples or their order are not the publisher's.

    Raises:
        BenchError: the path holds none of these layouts, or files of it are missing, damaged or not the published ones.
    """
    report = progress or (lambda line: None)
    tree = Tree(path)
    train, test, layout, names = _read_any(tree, report, published)
    report(f"read from {path}: {tree.few(names)}")
    if published:
        _check_counts(train, "train", TRAIN_SAMPLES, path)
        _check_counts(test, "test", TEST_SAMPLES, path)
        _compare(train, test, path, report)
    return Imported(train, test, "CIFAR-10", CLASSES, f"{layout}, {path}")


def _read_any(tree: Tree, report: Callable[[str], None], published: bool) -> tuple[Split, Split, str, list[str]]:
    if names := cifar10_batches.files(tree):
        return (*cifar10_batches.read(tree, names, published), "published batches", names)
    if names := cifar10_binary.files(tree):
        return (*cifar10_binary.read(tree, names, per_batch=10_000 if published else None), "binary batches", names)
    shards = parquet_splits(tree, report)
    if shards["train"] and shards["test"]:
        train, test = (_from_parquet(tree, shards[split], report) for split in ("train", "test"))
        return train, test, "parquet", [*shards["train"], *shards["test"]]
    if shards["train"] or shards["test"]:
        missing, here = ("test", "train") if shards["train"] else ("train", "test")
        raise BenchError(
            f"{tree.path}: {tree.few(shards[here])} alone, without the {missing} split; name the folder that holds both"
        )
    if names := cifar10_pictures.files(tree):
        return (*cifar10_pictures.read(tree, names, report), "pictures by class", names)
    raise BenchError(
        f"{tree.path}: no CIFAR-10 found, allowed: cifar-10-python.tar.gz, cifar-10-binary.tar.gz, a folder of either,"
        f" train-*.parquet and test-*.parquet, or train/CLASS/*.png and test/CLASS/*.png; {tree.holds()}"
    )


def _from_parquet(tree: Tree, names: list[str], report: Callable[[str], None]) -> Split:
    pictures, labels, _ = images.read_images(
        tree.tables(names), label="label", classes=OBJECTS, mode="RGB", size=32, progress=report
    )
    return Split(pictures, labels)


def _check_counts(split: Split, half: str, samples: int, path: Path) -> None:
    counts = np.bincount(np.clip(split.labels, 0, CLASSES), minlength=CLASSES + 1)
    expected = np.array([samples // CLASSES] * CLASSES + [0])
    if not np.array_equal(counts, expected):
        raise BenchError(
            f"{path}: {len(split)} {half} samples with {counts[:CLASSES].tolist()} in the classes,"
            f" {samples} with {samples // CLASSES} in each expected"
        )


def _compare(train: Split, test: Split, path: Path, report: Callable[[str], None]) -> None:
    """Say whether the samples are the publisher's, bit by bit and in the official order."""
    batches = [Split(train.inputs[rows], train.labels[rows]) for rows in np.split(np.arange(len(train)), 5)]
    sha1s = [hashlib.sha1(cifar10_binary.records(part)).hexdigest() for part in (*batches, test)]
    names = [*(f"training batch {number}" for number in range(1, 6)), "test set"]
    if sha1s == list(RECORDS_SHA1):
        report("all samples are the published ones in the official order")
        return
    other = [name for name, sha1, known in zip(names, sha1s, RECORDS_SHA1, strict=True) if sha1 != known]
    report(f"not the published pixels, or not in the official order: {', '.join(other)}")
    for half, split in (("training", train), ("test", test)):
        distinct = len({hashlib.sha256(picture.tobytes()).digest() for picture in split.inputs})
        if distinct < len(split):
            raise BenchError(
                f"{path}: {distinct:,} distinct pictures among {len(split):,} {half} samples, one each expected"
            )
