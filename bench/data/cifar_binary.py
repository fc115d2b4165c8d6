"""The binary version of CIFAR-10 and CIFAR-100: records of a label, or of coarse and fine label, and 3,072 pixels.

Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from bench.data.cifar_batches import batch_files, known_labels
from bench.data.cifar_set import CifarSet
from bench.data.dataset import Split
from bench.data.tree import Tree
from bench.errors import BenchError, at

_PIXELS = 3 * 32 * 32


def files(of: CifarSet, tree: Tree) -> list[str]:
    """Return the names of the binary files in the official order and, where it is there, of the list of classes.

    Raises:
        BenchError: some files are missing, or there are several of a name.
    """
    batches = batch_files(tree, list(of.records))
    return [*batches, *(batch_files(tree, [of.record_names]) if batches else ())]


def read(of: CifarSet, tree: Tree, names: list[str], per_file: Sequence[int] | None) -> tuple[Split, Split]:
    """Decode the files; the list of classes, where there is one, says what the labels mean.

    Args:
        of: the set.
        tree: where they are.
        names: as :func:`files` returns them.
        per_file: the number of records that each must have; None for any.

    Raises:
        BenchError: a file is cut off, or holds a label that is no class.
    """
    contents = dict(tree.read(names))
    renumbering = np.arange(of.classes)
    if PurePosixPath(names[-1]).name == of.record_names:
        own = contents.pop(names[-1]).decode("ascii", errors="replace").split()
        with at(tree.place(names[-1])):
            renumbering = of.objects.renumbering(own)
    sizes = per_file or (None,) * len(contents)
    splits = [
        _unpack(of, contents[name], tree.place(name), size, renumbering)
        for name, size in zip((name for name in names if name in contents), sizes, strict=True)
    ]
    *train, test = splits
    return Split(np.concatenate([s.inputs for s in train]), np.concatenate([s.labels for s in train])), test


def _unpack(of: CifarSet, batch: bytes, place: str, expected_rows: int | None, renumbering: np.ndarray) -> Split:
    record = of.label_bytes + _PIXELS
    rows, rest = divmod(len(batch), record)
    if rest or not rows or (expected_rows is not None and rows != expected_rows):
        expected = f"{expected_rows:,} records" if expected_rows else "whole records"
        raise BenchError(f"{place}: {len(batch):,} bytes, {expected} of {record:,} bytes expected")
    table = np.frombuffer(batch, dtype=np.uint8).reshape(rows, record)
    coarse = table[:, 0].astype(np.int64) if of.coarse else None
    labels = known_labels(of, table[:, of.label_bytes - 1].astype(np.int64), coarse, renumbering, place)
    return Split(table[:, of.label_bytes :].reshape(-1, 3, 32, 32), labels)


def records(of: CifarSet, split: Split) -> bytes:
    """Return samples, uint8 ``[n, 3, 32, 32]`` with labels, as the bytes of a binary file."""
    pixels = split.inputs.reshape(len(split), _PIXELS)
    coarse = [np.array(of.coarse, dtype=np.uint8)[split.labels][:, None]] if of.coarse else []
    return np.concatenate([*coarse, split.labels.astype(np.uint8)[:, None], pixels], axis=1).tobytes()
