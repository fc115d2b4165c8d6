"""LEAF's own JSON of FEMNIST: ``users``, ``num_samples`` and ``user_data`` with 784 grey values a picture.

Source: S. Caldas et al., LEAF: A Benchmark for Federated Settings, arXiv:1812.01097, and the files that the scripts of
github.com/TalwalkarLab/leaf write: ``train/all_data_0_niid_0_keep_0_train_9.json`` and so on, up to a hundred writers
a file, or ``all_data/all_data_0.json`` before they are split.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from bench.data.dataset import Split
from bench.data.tree import Tree
from bench.errors import BenchError

PIXELS = 28 * 28
CLASSES = 62
_FILE = re.compile(
    r"all_data(?:_(?P<index>[0-9]{1,6}))?(?P<sampling>_.*?)??(?:_(?P<split>train|test)_[0-9]{1,3})?\.json"
)


def files(tree: Tree, report: Callable[[str], None]) -> dict[str, list[str]]:
    """Return the JSON files of the splits "train" and "test"; all of them are "train" where LEAF has not split yet.

    Raises:
        BenchError: a file is missing between the numbers, or is in one split only, or two sets are there.
    """
    if tree.one_file:
        return {"train": [name for name in tree.sizes if name.lower().endswith(".json")], "test": []}
    found: dict[str, dict[int, list[str]]] = {"train": {}, "test": {}, "": {}}
    for name in tree.sizes:
        path = PurePosixPath(name)
        if match := _FILE.fullmatch(path.name):
            split, number = match["split"] or "", int(match["index"] or 0)
        elif path.suffix.lower() == ".json" and path.parent.name in ("train", "test"):
            split, number = path.parent.name, 0
        else:
            continue
        found[split].setdefault(number, []).append(name)
    if not found["train"] and not found["test"]:
        found["train"], found[""] = found[""], {}
    elif found[""]:  # LEAF keeps what it split
        report(f"{tree.few([name for names in found[''].values() for name in names])}: before LEAF's split, not read")
    chosen = {split: _whole(tree, found[split]) for split in ("train", "test")}
    if found["test"] and (odd := sorted(found["train"].keys() ^ found["test"].keys())):
        raise BenchError(f"{tree.path}: file {odd[0]} of LEAF's all_data is in one of train and test only")
    return chosen


def _whole(tree: Tree, by_number: dict[int, list[str]]) -> list[str]:
    for names in by_number.values():
        if len(names) > 1:
            raise BenchError(f"{tree.path}: {tree.few(names)} are one part of LEAF's data, name the folder of one")
    if missing := sorted(set(range(max(by_number, default=-1) + 1)) - by_number.keys()):
        raise BenchError(f"{tree.path}: all_data_{missing[0]} is missing, numbers from 0 to {max(by_number)} expected")
    return [by_number[number][0] for number in sorted(by_number)]


def read_split(tree: Tree, names: list[str], report: Callable[[str], None]) -> Split:
    """Decode files to uint8 ``[n, 1, 28, 28]``; users are numbered in the order of their ids, samples as they come.

    Grey values from 0 to 1 become 0 to 255 (LEAF divides by 255), labels are the files' own.

    Raises:
        BenchError: a file is no such JSON or is cut off, two files hold one writer, or a writer's data are not 784
            values from 0 to 1 a picture, with labels from 0 to 61.
    """
    found: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for name, content in tree.read(names):
        found[name] = list(_writers(content, tree.place(name)))
        report(f"{PurePosixPath(name).name} decoded")
    file_of: dict[str, str] = {}
    for name in names:
        for writer, *_ in found[name]:
            if file_of.setdefault(writer, name) != name:
                raise BenchError(
                    f"{tree.path}: writer {writer!r} is in {file_of[writer]!r} and in {name!r}, each one once expected"
                )
    if not file_of:
        raise BenchError(f"{tree.path}: no writers in {tree.few(names)}")
    writers = [each for name in names for each in found[name]]
    ids = np.unique([writer for writer, *_ in writers], return_inverse=True)[1].astype(np.int32)
    pictures, labels = (np.concatenate([each[part] for each in writers]) for part in (1, 2))
    return Split(pictures, labels, np.repeat(ids, [len(labels) for *_, labels in writers]))


def _writers(content: bytes, place: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield id, pictures and labels of the writers of one file who have any."""
    try:
        data = json.loads(content)
        users, counts = data["users"], data.get("num_samples")
        user_data: dict[str, Any] = data["user_data"]
        if sorted(users) != sorted(user_data):
            raise ValueError("'users' and 'user_data' are not of the same writers")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise BenchError(f"{place}: no JSON of LEAF ({reason}), 'users' and 'user_data' expected") from error
    for number, user in enumerate(users):
        inputs, labels = _pictures(user_data[user], f"{place}, writer {user!r}")
        if counts is not None and (number >= len(counts) or counts[number] != len(labels)):
            raise BenchError(f"{place}, writer {user!r}: {len(labels)} pictures, not as many as 'num_samples' says")
        if len(labels):
            yield user, inputs, labels


def _pictures(data: Any, place: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        values = np.asarray(data["x"], dtype=np.float64).reshape(-1, PIXELS)
        labels = np.asarray(data["y"])
        if len(values) != len(labels) or labels.ndim != 1 or (len(labels) and labels.dtype.kind not in "iu"):
            raise ValueError(f"{len(values)} pictures and labels of {labels.dtype} {list(labels.shape)}")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BenchError(f"{place}: not {PIXELS} numbers a picture in 'x' and whole labels in 'y' ({error})") from error
    if np.isnan(values).any():
        raise BenchError(f"{place}: nan among the grey values, 0 to 1 expected")
    if not np.all((values >= 0) & (values <= 1)):
        raise BenchError(f"{place}: grey values from {values.min()} to {values.max()}, 0 to 1 expected")
    if len(labels) and not 0 <= labels.min() <= labels.max() < CLASSES:
        raise BenchError(f"{place}: labels from {labels.min()} to {labels.max()}, 0 to {CLASSES - 1} expected")
    return np.rint(values * 255).astype(np.uint8).reshape(-1, 1, 28, 28), labels.astype(np.int64)
