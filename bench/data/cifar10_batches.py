"""The python version of CIFAR-10: batches of pickled arrays.

Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from bench.data.dataset import Split
from bench.data.tree import Tree
from bench.errors import BenchError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
# In the official order of the samples; the checksums are the ones that torchvision lists.
_BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def files(tree: Tree) -> list[str]:
    """Return the names of the six batches in the official order; none where no batch is there.

    Raises:
        BenchError: some of them are missing, or there are several of a name.
    """
    return batch_files(tree, list(_BATCH_MD5))


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


def read(tree: Tree, names: list[str], published: bool) -> tuple[Split, Split]:
    """Decode the batches.

    Raises:
        BenchError: a batch is damaged or, with ``published``, does not have its published checksum.
    """
    contents = dict(tree.read(names))
    splits = []
    for name in names:
        batch = PurePosixPath(name).name
        if published and hashlib.md5(contents[name]).hexdigest() != _BATCH_MD5[batch]:
            raise BenchError(
                f"{tree.path}: {batch!r} does not have the published MD5 {_BATCH_MD5[batch]};"
                f" get the archive again from {URL}"
            )
        splits.append(_unpack(contents[name], f"{tree.path}, {batch}"))
    *train, test = splits
    return Split(np.concatenate([s.inputs for s in train]), np.concatenate([s.labels for s in train])), test


def _unpack(batch: bytes, place: str) -> Split:
    try:
        content = _ArraysOnly(io.BytesIO(batch), encoding="bytes").load()
        # A row holds 1,024 red, then the green and the blue values.
        pictures = np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        return Split(pictures, np.asarray(content[b"labels"], dtype=np.int64))
    except Exception as error:  # damaged pickles raise almost anything
        raise BenchError(f"{place}: not a batch of CIFAR-10 ({type(error).__name__}: {error})") from error


class _ArraysOnly(pickle.Unpickler):
    """Loads arrays and built-in values only: a pickle that names anything else could run it."""

    _ALLOWED = frozenset({("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")})

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]  # its module moved in NumPy 2
        if (module, name) in self._ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names '{module}.{name}', only NumPy arrays allowed")
