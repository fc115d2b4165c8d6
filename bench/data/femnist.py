"""FEMNIST: handwritten characters with their writers, in the parquet layout of flwrlabs/femnist on Hugging Face.

Source: S. Caldas et al., LEAF: A Benchmark for Federated Settings, arXiv:1812.01097, from NIST Special Database 19.
The labels are the files' own character numbers, never positions in a list of the classes that happen to be present:
such lists shift the labels of writers who lack a class.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import images
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.errors import BenchError
from bench.seeding import stream

PAGE = "https://huggingface.co/datasets/flwrlabs/femnist"
CLASSES = 62
TEST_SHARE = 0.1


def read(path: Path, progress: Callable[[str], None] | None = None) -> Imported:
    """Decode pictures to uint8 ``[n, 1, 28, 28]``; ``users`` numbers the writers of a split in the order of their ids.

    With ``test-*.parquet`` beside ``train-*.parquet`` that is the test split, and its users are numbered on their own,
    as its writers need not be those of the training split. Without it a tenth of the pictures of every writer (at
    least one) is the test split, and both splits number the same writers.

    Args:
        path: a folder with the parquet files, columns ``image``, ``writer_id`` and ``character`` (0 to 61).
        progress: called with lines for people.

    Raises:
        BenchError: the files are missing or damaged, lack a column, or hold other pictures or labels.
    """
    files = images.parquet_files(path)
    if not files["train"]:
        raise BenchError(f"{path}: no train-*.parquet found, the parquet files of {PAGE} expected")
    train = _read_split(files["train"], progress)
    if files["test"]:
        test = _read_split(files["test"], progress)
    else:
        train, test = _divide(train)
    return Imported(train, test, title_of(train.labels), CLASSES, f"parquet, {path}")


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


def _read_split(files: list[Path], progress: Callable[[str], None] | None) -> Split:
    pictures, labels, texts = images.read_images(
        files, label="character", mode="L", size=28, text_columns=["writer_id"], progress=progress
    )
    users = np.unique(texts["writer_id"], return_inverse=True)[1].astype(np.int32)
    return Split(pictures, labels, users)


def _divide(split: Split) -> tuple[Split, Split]:
    assert split.users is not None
    mask = held_out(split.users)
    train, test = (Split(split.inputs[part], split.labels[part], split.users[part]) for part in (~mask, mask))
    return train, test
