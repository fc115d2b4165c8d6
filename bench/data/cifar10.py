"""CIFAR-10: the published archive of pickled batches, its unpacked folder, or Hugging Face parquet files.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import archives, images
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.errors import BenchError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
CLASSES = 10
TRAIN_SAMPLES, TEST_SAMPLES = 50_000, 10_000
_FOLDER = "cifar-10-batches-py"
# In the official order of the samples; the checksums are the ones that torchvision lists.
_BATCH_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def read(path: Path, progress: Callable[[str], None] | None = None, published: bool = True) -> Imported:
    """Decode CIFAR-10 into uint8 ``[n, 3, 32, 32]`` in the official order.

    Args:
        path: ``cifar-10-python.tar.gz``, the folder it unpacks to (or the one above), or a folder of
            ``train-*.parquet`` and ``test-*.parquet`` with the columns ``img`` (or ``image``) and ``label``.
        progress: called with lines for people.
        published: insist on the published checksums of the batches and on 50,000 + 10,000 samples.

    Raises:
        BenchError: the path holds none of these layouts, or files of it are missing, damaged or not the published ones.
    """
    if path.is_file() and archives.is_archive(path):
        train, test = _from_batches(_batches_of_archive(path), path, published)
        layout = "published batches"
    elif (folder := _batches_folder(path)) is not None:
        train, test = _from_batches(_batches_of_folder(folder), path, published)
        layout = "published batches"
    else:
        train, test = _from_parquet(path, progress)
        layout = "parquet"
    if published:
        _check_counts(train, "train", TRAIN_SAMPLES, path)
        _check_counts(test, "test", TEST_SAMPLES, path)
    return Imported(train, test, "CIFAR-10", CLASSES, f"{layout}, {path}")


def _batches_folder(path: Path) -> Path | None:
    return next((place for place in (path, path / _FOLDER) if (place / "test_batch").is_file()), None)


def _batches_of_archive(path: Path) -> dict[str, bytes]:
    members = archives.read_members(path, lambda name: name.split("/")[-1] in _BATCH_MD5)
    return {name.split("/")[-1]: content for name, content in members}


def _batches_of_folder(folder: Path) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in _BATCH_MD5 if (folder / name).exists()}
    except OSError as error:
        raise BenchError(f"{folder}: a batch file cannot be read ({error})") from error


def _from_batches(batches: dict[str, bytes], path: Path, published: bool) -> tuple[Split, Split]:
    splits = {}
    for name, md5 in _BATCH_MD5.items():
        if name not in batches:
            raise BenchError(f"{path}: {name!r} is missing, {', '.join(_BATCH_MD5)} expected")
        if published and hashlib.md5(batches[name]).hexdigest() != md5:
            raise BenchError(
                f"{path}: {name!r} does not have the published MD5 {md5}; get the archive again from {URL}"
            )
        splits[name] = _unpack(batches[name], f"{path}, {name}")
    *train, test = splits.values()
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


def _from_parquet(path: Path, progress: Callable[[str], None] | None) -> tuple[Split, Split]:
    files = images.parquet_files(path)
    if not files["train"] or not files["test"]:
        raise BenchError(
            f"{path}: no CIFAR-10 found, allowed: cifar-10-python.tar.gz, the folder {_FOLDER},"
            " or a folder with train-*.parquet and test-*.parquet"
        )
    splits = []
    for split in ("train", "test"):
        pictures, labels, _ = images.read_images(files[split], label="label", mode="RGB", size=32, progress=progress)
        splits.append(Split(pictures, labels))
    return splits[0], splits[1]


def _check_counts(split: Split, half: str, samples: int, path: Path) -> None:
    counts = np.bincount(np.clip(split.labels, 0, CLASSES), minlength=CLASSES + 1)
    expected = np.array([samples // CLASSES] * CLASSES + [0])
    if not np.array_equal(counts, expected):
        raise BenchError(
            f"{path}: {len(split)} {half} samples with {counts[:CLASSES].tolist()} in the classes,"
            f" {samples} with {samples // CLASSES} in each expected"
        )
