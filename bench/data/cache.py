"""The decoded cache: every data set as plain ``.npy`` arrays that are memory-mapped, so that a start costs nothing.

A data set is one folder below :func:`root`::

    cifar10/  manifest.json  train_inputs.npy  train_labels.npy  [train_users.npy]  test_inputs.npy  ...

A folder appears by one rename once it is complete, so a reader sees a whole data set or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.dataset import Dataset, Split, Statistics
from bench.data.statistics import statistics_of
from bench.errors import BenchError, at
from bench.files import expanded, write_synced

FORMAT = 1
_NAME = re.compile(r"\w[\w.=,+-]*(/\w[\w.=,+-]*)?", re.ASCII)


def root() -> Path:
    """Return the folder of all cached data sets: ``$BENCH_DATA``, else ``~/.cache/submodel-bench``."""
    with at("BENCH_DATA, the folder of data"):
        return expanded(os.environ.get("BENCH_DATA") or "~/.cache/submodel-bench")


def folder(name: str) -> Path:
    """Return where the data set ``name`` lies, whether it is there or not; ``name`` may hold one slash."""
    if not _NAME.fullmatch(name):
        raise BenchError(f"data set name {name!r}: allowed: letters, digits and '_.=,+-', with at most one '/' between")
    return root() / name


def exists(name: str) -> bool:
    """Tell whether a data set of this name was cached; it may still be damaged."""
    with _sentence_for_damage(folder(name)):
        return folder(name).exists()


def fingerprint(train: Split, test: Split) -> str:
    """Return the SHA-256 of the names, types, shapes and bytes of the arrays, in a fixed order."""
    digest = hashlib.sha256()
    for name, array in _arrays(train, test).items():
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def write(
    name: str,
    train: Split,
    test: Split,
    *,
    title: str,
    classes: int,
    stand_in: bool = False,
    source: str = "",
    dataset_name: str | None = None,
    class_names: tuple[str, ...] = (),
    statistics: Statistics | None = None,
    coarse: tuple[int, ...] = (),
) -> Dataset:
    """Store a data set and return it memory-mapped.

    The same data already in place is kept (where two processes write at once, the later one keeps the earlier one's
    files); other or damaged data is replaced. Processes that still map replaced files keep a valid view of them.

    Args:
        name: the folder below :func:`root`, such as "cifar10" or "standin/cifar10-2000-500".
        train, test: the splits; shapes and types as :class:`Split` says.
        title, classes, stand_in, class_names, statistics, coarse: see :class:`Dataset`.
        source: where the data came from, for people.
        dataset_name: the ``Dataset.name`` where it differs from ``name``, as it does for a stand-in.

    Raises:
        BenchError: a label is outside ``0..classes-1``, or the folder cannot be written.
    """
    target = folder(name)
    _check(name, train, test, classes)
    manifest = {
        "format": FORMAT,
        "name": dataset_name or name,
        "title": title,
        "classes": classes,
        "stand_in": stand_in,
        "fingerprint": fingerprint(train, test),
        "source": source,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **({"class_names": class_names} if class_names else {}),
        **({"statistics": asdict(statistics)} if statistics else {}),
        **({"coarse": coarse} if coarse else {}),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent, ignore_cleanup_errors=True) as temporary:
            fresh = Path(temporary) / "data"
            _fill(fresh, manifest, _arrays(train, test))
            from filelock import FileLock  # not needed where data is only read

            with FileLock(target.parent / ".lock"):
                _put_in_place(fresh, name)
                return read(name)
    except OSError as error:
        raise BenchError(f"data cache {target}: cannot be written ({error.strerror or error})") from error


def read(name: str, verify: bool = False) -> Dataset:
    """Return the cached data set ``name``, memory-mapped read-only.

    Sizes, shapes and types are always compared with the manifest, which costs no more than opening the files.

    Args:
        name: the folder below :func:`root`.
        verify: also hash every byte, about a second for each GB.

    Raises:
        BenchError: the data set is not there, is damaged or may not be read.
    """
    if not exists(name):
        raise BenchError(f"data set {name!r} is not in the data cache {root()}")
    return _read(folder(name), verify)


def adopt(name: str, files: Mapping[str, bytes], fingerprint: str) -> Dataset:
    """Store a data set as it lies in the cache of another machine, and return it memory-mapped.

    Args:
        name: the folder below :func:`root`.
        files: all files of the other machine's folder, by name.
        fingerprint: what it must have.

    Raises:
        BenchError: the files are not whole or make another data set, or the folder cannot be written.
    """
    target = folder(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent, ignore_cleanup_errors=True) as temporary:
            fresh = Path(temporary) / "data"
            fresh.mkdir()
            for file, content in files.items():
                write_synced(fresh / Path(file).name, content)
            if _read(fresh, verify=True).fingerprint != fingerprint:
                raise BenchError(f"data set {name!r}: what came from the other machine is another data set")
            from filelock import FileLock

            with FileLock(target.parent / ".lock"):
                _put_in_place(fresh, name)
                return read(name)
    except OSError as error:
        raise BenchError(f"data cache {target}: cannot be written ({error.strerror or error})") from error


def _read(place: Path, verify: bool) -> Dataset:
    with _sentence_for_damage(place):
        text = (place / "manifest.json").read_text(encoding="utf-8")
        manifest = json.loads(text)
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r} in manifest.json, {FORMAT} expected")
        arrays = {array: _map(place / f"{array}.npy", facts) for array, facts in manifest["arrays"].items()}
        dataset = Dataset(
            name=str(manifest["name"]),
            title=str(manifest["title"]),
            train=_split(arrays, "train"),
            test=_split(arrays, "test"),
            classes=int(manifest["classes"]),
            stand_in=bool(manifest["stand_in"]),
            fingerprint=str(manifest["fingerprint"]),
            class_names=tuple(manifest.get("class_names", ())),
            statistics=_statistics(manifest),
            coarse=tuple(map(int, manifest.get("coarse", ()))),
        )
        if verify:
            _verify(dataset, arrays, manifest)
        replaced_meanwhile = (place / "manifest.json").read_text(encoding="utf-8") != text
    return _read(place, verify) if replaced_meanwhile else dataset


def describe(name: str) -> dict[str, Any]:
    """Return the manifest of a cached data set that :func:`read` accepts: title, source, date, arrays with bytes."""
    with _sentence_for_damage(folder(name)):
        manifest: dict[str, Any] = json.loads((folder(name) / "manifest.json").read_text(encoding="utf-8"))
        return manifest


def _arrays(train: Split, test: Split) -> dict[str, np.ndarray]:
    fields = ("inputs", "labels", "users")
    named = {f"train_{field}": getattr(train, field) for field in fields}
    named |= {f"test_{field}": getattr(test, field) for field in fields}
    return {name: array for name, array in named.items() if array is not None}


def _statistics(manifest: Mapping[str, Any]) -> Statistics | None:
    found = manifest.get("statistics")
    return found and Statistics(tuple(found["mean"]), tuple(found["deviation"]))


def _split(arrays: dict[str, np.ndarray], half: str) -> Split:
    return Split(arrays[f"{half}_inputs"], arrays[f"{half}_labels"], arrays.get(f"{half}_users"))


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _check(name: str, train: Split, test: Split, classes: int) -> None:
    for half, split in (("train", train), ("test", test)):
        rows = {len(array) for array in (split.inputs, split.labels, split.users) if array is not None}
        if len(rows) != 1 or rows == {0}:
            raise BenchError(f"data set {name!r}: the {half} arrays have {sorted(rows)} rows, the same number expected")
        outside = split.labels[(split.labels < 0) | (split.labels >= classes)]
        if len(outside):
            raise BenchError(f"data set {name!r}: label {outside[0]} in {half}, allowed: 0 to {classes - 1}")


def _fill(place: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays and, last, the manifest into the new folder ``place``, and flush all of it to the disk."""
    place.mkdir()
    facts = {}
    for name, array in arrays.items():
        path = place / f"{name}.npy"
        np.save(path, np.ascontiguousarray(array), allow_pickle=False)
        facts[name] = {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "file_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(_bytes(array)).hexdigest(),
        }
    (place / "manifest.json").write_text(json.dumps({**manifest, "arrays": facts}, indent=1), encoding="utf-8")
    for path in (*place.iterdir(), place):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _put_in_place(fresh: Path, name: str) -> None:
    """Rename ``fresh`` to the place of ``name``; what lies there gives way unless it is the same data, unharmed."""
    target = folder(name)
    if target.exists():
        ours = json.loads((fresh / "manifest.json").read_text(encoding="utf-8"))
        with contextlib.suppress(BenchError):
            theirs = read(name, verify=True)
            said = theirs.fingerprint, theirs.title, theirs.class_names, theirs.coarse, theirs.statistics
            names, coarse = (tuple(ours.get(key, ())) for key in ("class_names", "coarse"))
            if said == (ours["fingerprint"], ours["title"], names, coarse, _statistics(ours)):
                return
        target.rename(fresh.with_name("replaced"))
    fresh.rename(target)


@contextlib.contextmanager
def _sentence_for_damage(place: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise BenchError(f"data cache {place}: may not be read (permission denied)") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = str(error)
        if isinstance(error, KeyError):
            problem = f"{error} is missing in manifest.json"
        elif isinstance(error, FileNotFoundError):
            problem = f"{Path(error.filename).name} is missing"
        advice = "fetch or import the data set again (generated data: delete the folder)"
        raise BenchError(f"data cache {place} is damaged: {problem}; {advice}") from error


def _map(path: Path, facts: dict[str, Any]) -> np.ndarray:
    size = path.stat().st_size
    if size != facts["file_bytes"]:
        raise ValueError(f"{path.name} has {size} bytes, {facts['file_bytes']} expected")
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.str != facts["dtype"] or list(array.shape) != facts["shape"]:
        holds, expected = f"{array.dtype.str} {list(array.shape)}", f"{facts['dtype']} {facts['shape']}"
        raise ValueError(f"{path.name} holds {holds}, {expected} expected")
    return array


def _verify(dataset: Dataset, arrays: dict[str, np.ndarray], manifest: dict[str, Any]) -> None:
    for name, array in arrays.items():
        if hashlib.sha256(_bytes(array)).hexdigest() != manifest["arrays"][name]["sha256"]:
            raise ValueError(f"{name}.npy does not have the SHA-256 of the manifest")
    if fingerprint(dataset.train, dataset.test) != dataset.fingerprint:
        raise ValueError("the arrays do not have the fingerprint of the manifest")
    if dataset.statistics is not None and dataset.statistics != statistics_of(dataset.train.inputs):
        raise ValueError("the mean and deviation of the manifest are not those of the training images")
