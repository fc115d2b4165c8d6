"""The binary version of CIFAR-10: records of a label and 3,072 pixels, https://www.cs.toronto.edu/~kriz/cifar.html."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from bench.data.cifar10_batches import batch_files
from bench.data.cifar10_classes import CLASSES, OBJECTS
from bench.data.dataset import Split
from bench.data.tree import Tree
from bench.errors import BenchError, at

_BATCHES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
_NAMES = "batches.meta.txt"
_PIXELS = 3 * 32 * 32


def files(tree: Tree) -> list[str]:
    """Return the names of the six batches in the official order and, where it is there, of the list of classes.

    Raises:
        BenchError: some batches are missing, or there are several of a name.
    """
    batches = batch_files(tree, _BATCHES)
    return [*batches, *(batch_files(tree, [_NAMES]) if batches else ())]


def read(tree: Tree, names: list[str], per_batch: int | None) -> tuple[Split, Split]:
    """Decode the batches; the list of classes, where there is one, says what the labels mean.

    Args:
        tree: where they are.
        names: as :func:`files` returns them.
        per_batch: the number of records that each must have; None for any.

    Raises:
        BenchError: a batch is cut off, or holds a label that is no class.
    """
    contents = dict(tree.read(names))
    renumbering = np.arange(CLASSES)
    if PurePosixPath(names[-1]).name == _NAMES:
        own = contents.pop(names[-1]).decode("ascii", errors="replace").split()
        with at(tree.place(names[-1])):
            renumbering = OBJECTS.renumbering(own)
    splits = [_unpack(contents[name], tree.place(name), per_batch, renumbering) for name in names if name in contents]
    *train, test = splits
    return Split(np.concatenate([s.inputs for s in train]), np.concatenate([s.labels for s in train])), test


def _unpack(batch: bytes, place: str, per_batch: int | None, renumbering: np.ndarray) -> Split:
    rows, rest = divmod(len(batch), 1 + _PIXELS)
    if rest or not rows or (per_batch is not None and rows != per_batch):
        expected = f"{per_batch:,} records" if per_batch else "whole records"
        raise BenchError(f"{place}: {len(batch):,} bytes, {expected} of {1 + _PIXELS:,} bytes expected")
    table = np.frombuffer(batch, dtype=np.uint8).reshape(rows, 1 + _PIXELS)
    if (largest := table[:, 0].max()) >= len(renumbering):
        raise BenchError(f"{place}: label {largest}, allowed: 0 to {len(renumbering) - 1}")
    return Split(table[:, 1:].reshape(-1, 3, 32, 32), renumbering[table[:, 0]])


def records(split: Split) -> bytes:
    """Return samples, uint8 ``[n, 3, 32, 32]`` with labels, as the bytes of a binary batch."""
    pixels = split.inputs.reshape(len(split), _PIXELS)
    return np.concatenate([split.labels.astype(np.uint8)[:, None], pixels], axis=1).tobytes()
