"""FEMNIST: handwritten characters with their writers, as parquet of flwrlabs/femnist or as LEAF's own JSON.

Source: S. Caldas et al., LEAF: A Benchmark for Federated Settings, arXiv:1812.01097, from NIST Special Database 19.
The labels are the files' own character numbers, never positions in a list of the classes that happen to be present:
such lists shift the labels of writers who lack a class. LEAF, TensorFlow Federated and flwrlabs/femnist number alike
(digits, capitals, small letters) and show dark strokes on a white ground.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import femnist_leaf, images
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.labels import ClassNames
from bench.data.shards import parquet_splits
from bench.data.tree import Tree
from bench.errors import BenchError
from bench.seeding import stream

PAGE = "https://huggingface.co/datasets/flwrlabs/femnist"
CHARACTERS = ClassNames(tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase), exact=True)
CLASSES = len(CHARACTERS.names)
TEST_SHARE = 0.1
_GREY = 128


def read(path: Path, progress: Callable[[str], None] | None = None) -> Imported:
    """Decode pictures to uint8 ``[n, 1, 28, 28]``; ``users`` numbers the writers of a split in the order of their ids.

    Files of a test split are the test split, and its users are numbered on their own, as its writers need not be those
    of the training split. Without them a tenth of the pictures of every writer (at least one) is the test split, and
    both splits number the same writers.

    Pictures of all characters are turned to dark strokes on a white ground where they are the other way round (as
    EMNIST's are); digits alone stay as they are.

    Args:
        path: a folder or archive with parquet files (columns ``image``, ``writer_id`` and ``character``: 0 to 61 or
            the characters), one such file, or LEAF's JSON files (``users``, ``user_data``).
        progress: called with lines for people.

    Raises:
        BenchError: the files are missing or damaged, lack a column, or hold other pictures or labels.
    """
    report = progress or (lambda line: None)
    tree = Tree(path)
    files = parquet_splits(tree, report)
    if files["train"]:
        layout, reading = "parquet", _read_parquet
    elif any((files := femnist_leaf.files(tree, report)).values()):
        layout, reading = "LEAF JSON", femnist_leaf.read_split
    else:
        raise BenchError(
            f"{path}: no train-*.parquet found, the parquet files of {PAGE} or the JSON files of LEAF expected;"
            f" {tree.holds()}"
        )
    report(f"read from {path}: {tree.few([*files['train'], *files['test']])}")
    train = reading(tree, files["train"], report)
    train, test = (train, reading(tree, files["test"], report)) if files["test"] else _divide(train, path)
    title = title_of(train.labels)
    if title == "FEMNIST":
        train, test = (_on_white(split, half, report) for split, half in ((train, "training"), (test, "test")))
    return Imported(train, test, title, CLASSES, f"{layout}, {path}")


def title_of(labels: np.ndarray) -> str:
    """Return what results may call the data: only a set with letters is FEMNIST."""
    return "FEMNIST" if len(np.unique(labels)) > 10 else "digits by NIST writer"


def held_out(users: np.ndarray) -> np.ndarray:
    """Return a mask of the test samples: a tenth of each user's, rounded, at least one, always the same ones.

    A user with one sample keeps it for training.
    """
    rng = stream(0, "femnist split")
    mask = np.zeros(len(users), dtype=bool)
    order = np.argsort(users, kind="stable")
    starts = np.flatnonzero(np.diff(users[order])) + 1
    for rows in np.split(order, starts):
        count = min(max(round(TEST_SHARE * len(rows)), 1), len(rows) - 1)
        mask[rng.permutation(rows)[:count]] = True
    return mask


def _read_parquet(tree: Tree, names: list[str], report: Callable[[str], None]) -> Split:
    pictures, labels, texts = images.read_images(
        tree.tables(names),
        label="character",
        classes=CHARACTERS,
        mode="L",
        size=28,
        text_columns=["writer_id"],
        progress=report,
    )
    users = np.unique(texts["writer_id"], return_inverse=True)[1].astype(np.int32)
    return Split(pictures, labels, users)


def _divide(split: Split, path: Path) -> tuple[Split, Split]:
    assert split.users is not None
    mask = held_out(split.users)
    if not mask.any():
        raise BenchError(f"{path}: no writer has two pictures, so that none can be held out for testing")
    train, test = (Split(split.inputs[part], split.labels[part], split.users[part]) for part in (~mask, mask))
    return train, test


def _on_white(split: Split, half: str, report: Callable[[str], None]) -> Split:
    """Return the split with a white ground: strokes seldom reach the four corners, so that these show the ground."""
    corners = split.inputs[:, 0][:, [0, 0, -1, -1], [0, -1, 0, -1]]
    if np.median(corners) >= _GREY / 2:  # noise and grey say nothing
        return split
    report(f"{half} pictures turned from light strokes on black to dark ones on white, as LEAF has them")
    return Split(255 - split.inputs, split.labels, split.users)
