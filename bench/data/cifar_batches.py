"""The python version of CIFAR-10 and CIFAR-100: files of pickled arrays.

Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from bench.data.cifar_set import CifarSet
from bench.data.dataset import Split
from bench.data.tree import Tree
from bench.errors import BenchError, at


def files(of: CifarSet, tree: Tree) -> list[str]:
    """Return the names of the pickled files in the official order and of the list of classes; none where none is there.

    Raises:
        BenchError: some of them are missing, or there are several of a name.
    """
    batches = batch_files(tree, list(of.batches))
    named = [] if of.names is None or not batches else batch_files(tree, [of.names[0]])
    return [*batches, *named]


def batch_files(tree: Tree, batches: list[str]) -> list[str]:
    """Return the names in the tree of files called ``batches``, in that order; none where none of them is there.

    Raises:
        BenchError: some of them are missing, or there are several of a name with other bytes.
    """
    found: dict[str, list[str]] = {batch: [] for batch in batches}
    for name in tree.sizes:
        if (batch := PurePosixPath(name).name) in found:
            found[batch].append(name)
    if not any(found.values()):
        return []
    for batch, names in found.items():
        if not names:
            raise BenchError(f"{tree.path}: {batch!r} is missing, {', '.join(batches)} expected")
        if any(not tree.same(names[:1], [other]) for other in names[1:]):
            raise BenchError(f"{tree.path}: {tree.few(names)} are different files of one name, name the folder of one")
    return [names[0] for names in found.values()]


def read(of: CifarSet, tree: Tree, names: list[str], published: bool) -> tuple[Split, Split]:
    """Decode the files; the list of classes, where there is one, says what the labels mean.

    Raises:
        BenchError: a file is damaged or, with ``published``, does not have its published checksum.
    """
    contents = dict(tree.read(names))
    renumbering = np.arange(of.classes)
    if of.names is not None and PurePosixPath(names[-1]).name == of.names[0]:
        own = contents.pop(names[-1])
        with at(tree.place(names[-1])):
            renumbering = of.objects.renumbering(_names(of, own))
    splits = []
    for name in (name for name in names if name in contents):
        batch = PurePosixPath(name).name
        if published and hashlib.md5(contents[name]).hexdigest() != of.batches[batch]:
            raise BenchError(
                f"{tree.path}: {batch!r} does not have the published MD5 {of.batches[batch]};"
                f" get the archive again from {of.url}"
            )
        splits.append(_unpack(of, contents[name], f"{tree.path}, {batch}", renumbering))
    *train, test = splits
    return Split(np.concatenate([s.inputs for s in train]), np.concatenate([s.labels for s in train])), test


def _names(of: CifarSet, content: bytes) -> list[str]:
    assert of.names is not None
    try:
        named = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()[of.names[1]]
        return [name.decode("ascii", errors="replace") for name in named]
    except Exception as error:  # damaged pickles raise almost anything
        raise BenchError(f"no list of classes of {of.title} ({type(error).__name__}: {error})") from error


def _unpack(of: CifarSet, batch: bytes, place: str, renumbering: np.ndarray) -> Split:
    try:
        content = _ArraysOnly(io.BytesIO(batch), encoding="bytes").load()
        # A row holds 1,024 red, then the green and the blue values.
        pictures = np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(content[of.labels], dtype=np.int64)
        coarse = None if of.coarse_labels is None else np.asarray(content[of.coarse_labels], dtype=np.int64)
    except Exception as error:  # damaged pickles raise almost anything
        raise BenchError(f"{place}: not a batch of {of.title} ({type(error).__name__}: {error})") from error
    return Split(pictures, known_labels(of, labels, coarse, renumbering, place))


def known_labels(
    of: CifarSet, labels: np.ndarray, coarse: np.ndarray | None, renumbering: np.ndarray, place: str
) -> np.ndarray:
    """Return a file's labels as class numbers, int64 ``[n]``.

    Args:
        of: the set.
        labels, coarse: as the file has them, integers ``[n]``.
        renumbering: the class number of each of the file's numbers.
        place: the file, for sentences.

    Raises:
        BenchError: a label is no class, or a coarse label is not that of its class.
    """
    outside = labels[(labels < 0) | (labels >= len(renumbering))]
    if len(outside):
        raise BenchError(f"{place}: label {outside[0]}, allowed: 0 to {len(renumbering) - 1}")
    known: np.ndarray = renumbering[labels]
    if coarse is not None and len(wrong := np.flatnonzero(np.array(of.coarse)[known] != coarse)):
        row = wrong[0]
        name, expected = of.objects.names[known[row]], of.coarse[known[row]]
        raise BenchError(f"{place}, row {row}: {name!r} is of coarse class {expected}, not {coarse[row]}")
    return known


class _ArraysOnly(pickle.Unpickler):
    """Loads arrays and built-in values only: a pickle that names anything else could run it."""

    _ALLOWED = frozenset({("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")})

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]  # its module moved in NumPy 2
        if (module, name) in self._ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names '{module}.{name}', only NumPy arrays allowed")
