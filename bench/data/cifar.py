"""CIFAR-10 and CIFAR-100 in any of their published forms.

What is read is compared with the publisher's by its content: every form becomes the records of the binary version,
whose checksums are known, whatever the files are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import cifar_batches, cifar_binary, cifar_pictures, images
from bench.data.cifar_set import CifarSet
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.shards import parquet_splits
from bench.data.tree import Tree
from bench.errors import BenchError

Report = Callable[[str], None]


def read(of: CifarSet, path: Path, progress: Report | None = None, published: bool = True) -> Imported:
    """Decode one of the sets into uint8 ``[n, 3, 32, 32]`` in the official order.

    Args:
        of: which one.
        path: a folder, an archive or a file with the python version (``data_batch_1`` ..., or ``train`` and ``test``),
            the binary version (the same names with ``.bin``), ``train-*.parquet`` and ``test-*.parquet`` with the
            columns ``img`` (or ``image``) and ``label`` (``fine_label``), or PNG files by class
            (``train/frog/1.png``); the first of these that is there.
        progress: called with lines for people.
        published: insist on the published checksums of pickled files and on 50,000 + 10,000 samples, as many of each
            class, and no picture twice but the published ones; say where the samples or their order are not the
            publisher's.

    Raises:
        BenchError: the path holds none of these layouts, or files of it are missing, damaged or not the published ones.
    """
    report = progress or (lambda line: None)
    tree = Tree(path)
    train, test, layout, names = _read_any(of, tree, report, published)
    report(f"read from {path}: {tree.few(names)}")
    if published:
        _check_counts(of, train, "train", of.train_samples, path)
        _check_counts(of, test, "test", of.test_samples, path)
        _compare(of, train, test, path, report)
    return Imported(train, test, of.title, of.classes, f"{layout}, {path}", coarse=of.coarse)


def _read_any(of: CifarSet, tree: Tree, report: Report, published: bool) -> tuple[Split, Split, str, list[str]]:
    if names := cifar_batches.files(of, tree):
        return (*cifar_batches.read(of, tree, names, published), "published batches", names)
    if names := cifar_binary.files(of, tree):
        return (*cifar_binary.read(of, tree, names, of.per_file if published else None), "binary batches", names)
    shards = parquet_splits(tree, report)
    if shards["train"] and shards["test"]:
        train, test = (_from_parquet(of, tree, shards[split], report) for split in ("train", "test"))
        return train, test, "parquet", [*shards["train"], *shards["test"]]
    if shards["train"] or shards["test"]:
        missing, here = ("test", "train") if shards["train"] else ("train", "test")
        raise BenchError(
            f"{tree.path}: {tree.few(shards[here])} alone, without the {missing} split; name the folder that holds both"
        )
    if names := cifar_pictures.files(of, tree):
        return (*cifar_pictures.read(of, tree, names, report), "pictures by class", names)
    raise BenchError(
        f"{tree.path}: no {of.title} found, allowed: {of.stem}-python.tar.gz, {of.stem}-binary.tar.gz, a folder of"
        f" either, train-*.parquet and test-*.parquet, or train/CLASS/*.png and test/CLASS/*.png; {tree.holds()}"
    )


def _from_parquet(of: CifarSet, tree: Tree, names: list[str], report: Report) -> Split:
    pictures, labels, _ = images.read_images(
        tree.tables(names), label=of.column, classes=of.objects, mode="RGB", size=32, progress=report
    )
    return Split(pictures, labels)


def _check_counts(of: CifarSet, split: Split, half: str, samples: int, path: Path) -> None:
    counts = np.bincount(np.clip(split.labels, 0, of.classes), minlength=of.classes + 1)
    expected = np.array([samples // of.classes] * of.classes + [0])
    if not np.array_equal(counts, expected):
        held = counts[: of.classes].tolist()
        few = held if len(held) <= 10 else f"{min(held)} to {max(held)}"
        raise BenchError(
            f"{path}: {len(split)} {half} samples with {few} in the classes,"
            f" {samples} with {samples // of.classes} in each expected"
        )


def _compare(of: CifarSet, train: Split, test: Split, path: Path, report: Report) -> None:
    """Say whether the samples are the publisher's, bit by bit and in the official order."""
    parts = len(of.records) - 1
    batches = [Split(train.inputs[rows], train.labels[rows]) for rows in np.split(np.arange(len(train)), parts)]
    sha1s = [hashlib.sha1(cifar_binary.records(of, part)).hexdigest() for part in (*batches, test)]
    numbered = [f"training batch {number}" for number in range(1, parts + 1)] if parts > 1 else ["training set"]
    if sha1s == list(of.records_sha1):
        report("all samples are the published ones in the official order")
        return
    names = zip([*numbered, "test set"], sha1s, of.records_sha1, strict=True)
    report(
        "not the published pixels, or not in the official order: "
        + ", ".join(name for name, sha1, known in names if sha1 != known)
    )
    for half, split, copies in (("training", train, of.train_copies), ("test", test, of.test_copies)):
        distinct = len({hashlib.sha256(picture.tobytes()).digest() for picture in split.inputs})
        if distinct < len(split) - copies:
            allowed = f"{len(split) - copies:,} at least" if copies else "one each"
            raise BenchError(
                f"{path}: {distinct:,} distinct pictures among {len(split):,} {half} samples, {allowed} expected"
            )
