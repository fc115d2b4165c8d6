"""Data sets of the user's own: images by class or a NumPy archive, under a name that no published set has."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from bench.data import cache, image_arrays, image_folders
from bench.data.imported import Imported
from bench.errors import BenchError, choices

KINDS = ("images", "npz")
"""What ``data import --as`` takes."""
RESERVED = ("standin", "downloads", "kernels")
"""Folders of the data cache that hold something else."""
LONGEST_NAME = 64
NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,{LONGEST_NAME - 1}}}")
ALLOWED_NAME = f"allowed: letters, digits, '_', '-', '.' and '+', at most {LONGEST_NAME}, the first no sign"

Report = Callable[[str], None]


def check_name(name: str, published: Collection[str]) -> None:
    """Refuse a name that cannot be a data set of the user's own.

    Raises:
        BenchError: it is a published set's (in any letters), the cache needs it, or no folder can be called so.
    """
    if name.casefold() in published:
        raise BenchError(
            f"data set {name!r}: a published one is called so, and is imported without --as; allowed: any other name"
        )
    if not NAME.fullmatch(name) or name.casefold() in RESERVED:
        why = "the data cache has something else of that name" if name.casefold() in RESERVED else ALLOWED_NAME
        raise BenchError(f"data set {name[:LONGEST_NAME]!r} cannot be called so; {why}")


def is_possible(name: str) -> bool:
    """Tell whether a data set of the user's own may be called so."""
    return NAME.fullmatch(name) is not None and name.casefold() not in RESERVED


def names(published: Collection[str]) -> list[str]:
    """Return the data sets of the user's own that are here, damaged ones too; none where nothing can be read."""
    try:
        folders = [path for path in cache.root().iterdir() if is_possible(path.name) and path.name not in published]
        return sorted(path.name for path in folders if any(path.glob("*.npy")) or (path / "manifest.json").exists())
    except OSError:
        return []


def read(name: str, path: Path, kind: str, report: Report, test_share: float | None = None) -> Imported:
    """Decode a file or folder of the user's own.

    Args:
        name: what the data set is to be called, in results too.
        path: a folder or archive of images by class, or a ``.npz``.
        kind: one of ``KINDS``.
        report: called with lines for people.
        test_share: of images without a test split, the share of each class that becomes one; by default a tenth.

    Raises:
        BenchError: see :mod:`bench.data.image_folders` and :mod:`bench.data.image_arrays`.
    """
    if kind not in KINDS:
        raise BenchError(f"import of {name!r}: --as {kind!r} is unknown; {choices(kind, KINDS)}")
    if test_share is not None and kind != "images":
        raise BenchError(f"import of {name!r}: --test-share has no meaning for --as {kind}, which names its test split")
    if test_share is not None and not 0 < test_share < 1:
        raise BenchError(
            f"import of {name!r}: --test-share {test_share:g} is not possible; allowed: above 0 and below 1"
        )
    data = image_arrays.read(path, report) if kind == "npz" else image_folders.read(path, report, test_share)
    if copies := copies_in_training(data):
        report(f"{copies:,} of {len(data.test):,} test samples have the pixels of a training sample")
    _describe(data, report)
    return data


def copies_in_training(data: Imported) -> int:
    """Return how many test samples have the very pixels of a training sample."""
    trained = {image.tobytes() for image in data.train.inputs}
    return sum(image.tobytes() in trained for image in data.test.inputs)


def _describe(data: Imported, report: Report) -> None:
    """Say what a task of the data has to know."""
    _, channels, height, width = data.train.inputs.shape
    assert data.statistics is not None
    mean, deviation = (
        ", ".join(f"{value:.4f}" for value in values) for values in (data.statistics.mean, data.statistics.deviation)
    )
    report(f"mean {mean} and deviation {deviation} of the training images, in [0, 1], are stored with them")
    users = "" if data.train.users is None else f", users={len(np.unique(data.train.users))}"
    report(f"a task of it says: images = Images({data.classes}, {channels}, {height}, {width}{users})")
