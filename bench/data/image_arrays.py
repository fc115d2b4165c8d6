"""A user's own images as a NumPy archive: ``x_train y_train x_test y_test``, optionally ``users`` and ``users_test``.

Pixels are taken as the whole numbers 0 to 255 that they were once stored as, or refused: a value that is none of them
to the last bit was made by something that no file of pictures can hold (normalisation, resizing in floating point).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from bench.data import archives
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.own_classes import numbered, ordered
from bench.data.pixels import MOST_PIXELS
from bench.data.statistics import statistics_of
from bench.errors import BenchError, nearest
from bench.numerics.limits import check_memory

NEEDED, OPTIONAL = ("x_train", "y_train", "x_test", "y_test"), ("users", "users_test")
CHANNELS = (1, 3)
PIXELS = "uint8, whole numbers from 0 to 255, or fractions k / 255 from 0 to 1"
ROWS = 1024
"""Images whose floating point numbers are looked at at once."""

Report = Callable[[str], None]


def read(path: Path, report: Report) -> Imported:
    """Return the arrays of a ``.npz`` as a data set; the samples keep their order.

    Args:
        path: an archive that ``numpy.savez`` or ``numpy.savez_compressed`` wrote. Images are ``[n, height, width]``,
            with 1 or 3 channels in front or behind; labels whole numbers or strings ``[n]``; users likewise.
        report: called with lines for people.

    Raises:
        BenchError: it is no such archive, an array is missing, holds Python objects or other numbers, or the arrays do
            not go together.
    """
    arrays = _arrays(path, report)
    inputs = _images(path, arrays["x_train"], arrays["x_test"])
    words = {half: _words(path, f"y_{half}", arrays[f"y_{half}"], len(inputs[half])) for half in inputs}
    kinds = {_kind(arrays[f"y_{half}"]) for half in inputs}
    if len(kinds) > 1:
        raise BenchError(f"{path}: y_train and y_test hold {' and '.join(sorted(kinds))}, one kind of labels expected")
    train_labels, test_labels, names = numbered(words["train"], words["test"], str(path), report)
    users = _users(path, arrays, inputs)
    train = Split(inputs["train"], train_labels, users["train"])
    test = Split(inputs["test"], test_labels, users["test"])
    if len(test) > 1 and len(names) > 1 and np.all(np.diff(test_labels) >= 0):
        report(
            "the test samples are sorted by class: a model that normalises by the statistics of a batch is evaluated on"
            " batches of one class each; shuffle them before the import"
        )
    return Imported(train, test, "", len(names), f"NumPy archive, {path}", names, statistics_of(train.inputs))


def _arrays(path: Path, report: Report) -> dict[str, np.ndarray]:
    if not archives.is_archive(path):
        raise BenchError(f"{path}: it is no NumPy archive (.npz), as numpy.savez writes it, with {', '.join(NEEDED)}")
    sizes = archives.list_members(path)
    here = {name.removesuffix(".npy"): name for name in sizes if name.endswith(".npy")}
    for name in NEEDED:
        if name not in here:
            held = ", ".join(map(repr, here or sizes)) or "nothing"
            raise BenchError(
                f"{path}: {name!r} is missing{nearest(name, here)}; needed: {', '.join(NEEDED)}; it holds {held}"
            )
    wanted = {here[name]: name for name in (*NEEDED, *OPTIONAL) if name in here}
    if others := [name for name in sizes if name not in wanted]:
        report(f"not read: {', '.join(map(repr, others))}")
    check_memory(str(path), 2 * sum(sizes[name] for name in wanted))
    contents = archives.read_members(path, wanted.__contains__)
    return {wanted[name]: _array(f"{path}, {wanted[name]}", content) for name, content in contents}


def _array(place: str, content: bytes) -> np.ndarray:
    """Return an array of plain numbers or strings; objects are pickled, and what is pickled may run code."""
    try:
        array: np.ndarray = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # what is damaged raises almost anything
        if "Object arrays" in str(error):
            raise BenchError(
                f"{place}: it holds Python objects, which are never unpacked since that may run code; plain numbers or"
                " strings expected, as .astype(str) makes of words"
            ) from error
        raise BenchError(f"{place}: it cannot be read as an array ({' '.join(str(error).split())[:200]})") from error
    return array


def _images(path: Path, train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Return both splits as uint8 ``[n, channels, height, width]``."""
    given = {"train": train, "test": test}
    scaled = any(array.dtype.kind == "f" for array in given.values()) and all(
        not array.size or np.nanmax(array) <= 1 for array in given.values() if array.dtype.kind == "f"
    )
    inputs = {half: _channels_first(f"{path}, x_{half}", array) for half, array in given.items()}
    shapes = [array.shape[1:] for array in inputs.values()]
    if shapes[0] != shapes[1]:
        words = [" x ".join(map(str, shape)) for shape in shapes]
        raise BenchError(f"{path}: x_train and x_test hold images of {words[0]} and {words[1]}, the same expected")
    return {half: _whole(f"{path}, x_{half}", array, scaled) for half, array in inputs.items()}


def _channels_first(place: str, array: np.ndarray) -> np.ndarray:
    shape = " x ".join(map(str, array.shape))
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or not len(array):
        raise BenchError(
            f"{place}: an array of {shape or 'one number'}; images x height x width expected, with 1 or 3 channels in"
            " front of height or behind width"
        )
    first, last = array.shape[1] in CHANNELS, array.shape[3] in CHANNELS
    if first == last:
        found = "may have its channels in front or behind" if first else "has no axis of 1 or 3 channels"
        raise BenchError(f"{place}: an array of {shape} {found}; images x channels x height x width expected")
    if last:
        array = array.transpose(0, 3, 1, 2)
    if not 0 < array.shape[2] * array.shape[3] <= MOST_PIXELS:
        raise BenchError(
            f"{place}: images of {array.shape[2]} x {array.shape[3]} pixels, allowed: 1 to {MOST_PIXELS:,} in all"
        )
    return array


def _whole(place: str, array: np.ndarray, scaled: bool) -> np.ndarray:
    """Return pixels as uint8; ``scaled`` says that floating point numbers go from 0 to 1."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise BenchError(f"{place}: values of the type {array.dtype}; allowed: {PIXELS}")
    pixels = np.empty(array.shape, dtype=np.uint8)
    for start in range(0, len(array), ROWS):
        part = array[start : start + ROWS]
        if part.dtype.kind == "f" and np.isnan(part).any():
            raise BenchError(f"{place}: it holds nan, which is no pixel; allowed: {PIXELS}")
        low, high = part.min(), part.max()
        if low < 0 or high > 255:
            raise BenchError(f"{place}: values from {low} to {high}; allowed: {PIXELS}")
        whole = np.rint(part.astype(np.float64) * (255 if scaled else 1)).astype(np.uint8)
        unlike = (
            part != whole if not scaled else np.logical_and.reduce([part != one for one in _fractions(whole, part)])
        )
        if unlike.any():
            raise BenchError(f"{place}: the value {part[unlike][0]} is no pixel; allowed: {PIXELS}")
        pixels[start : start + ROWS] = whole
    return pixels


def _fractions(whole: np.ndarray, like: np.ndarray) -> Iterable[np.ndarray]:
    """Yield k / 255 as it comes out in the type of ``like``: divided there or in double, or multiplied by 1 / 255."""
    own = whole.astype(like.dtype)
    yield own / like.dtype.type(255)
    yield (whole / 255).astype(like.dtype)
    yield own * (like.dtype.type(1) / like.dtype.type(255))


def _kind(labels: np.ndarray) -> str:
    return "strings" if labels.dtype.kind in "US" else "whole numbers"


def _words(path: Path, name: str, array: np.ndarray, samples: int) -> np.ndarray:
    """Return labels or users as strings ``[n]``."""
    place = f"{path}, {name}"
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        shape = " x ".join(map(str, array.shape)) or "one number"
        hint = "; of one column for each class .argmax(1) makes numbers" if array.ndim == 2 else ""
        raise BenchError(f"{place}: an array of {shape}, one label for each of the {samples:,} images expected{hint}")
    if len(array) != samples:
        raise BenchError(f"{place}: {len(array):,} labels for {samples:,} images, one for each expected")
    if array.dtype.kind not in "iuUSb":
        raise BenchError(f"{place}: labels of the type {array.dtype}; allowed: whole numbers or strings")
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise BenchError(f"{place}: labels in another encoding than UTF-8 ({error})") from error
    return array.astype(np.int64).astype(str) if array.dtype == bool else array.astype(str)


def _users(path: Path, arrays: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray | None]:
    """Return the user of each sample as int32 where they are given: one person has one number in both splits."""
    names = {"train": "users", "test": "users_test"}
    if "users_test" in arrays and "users" not in arrays:
        raise BenchError(f"{path}: 'users_test' without 'users', the users of the training samples are missing")
    words = {
        half: _words(path, name, arrays[name], len(inputs[half])) for half, name in names.items() if name in arrays
    }
    if not words:
        return {"train": None, "test": None}
    known = ordered(np.concatenate(list(words.values())).tolist(), f"{path}, users")
    number_of = {user: number for number, user in enumerate(known)}
    numbers = {half: np.array([number_of[user] for user in given.tolist()], np.int32) for half, given in words.items()}
    return {half: numbers.get(half) for half in names}
