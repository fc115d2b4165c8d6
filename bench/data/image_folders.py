"""A user's own images by class: ``train/CLASS/*.png`` and ``test/CLASS/*.png``, or ``CLASS/*.png`` to be split.

The label of a picture is the name of the folder that it lies in. What a picture is called says nothing: the order of
the samples is that of the SHA-256 of their pixels, so that the same pictures are the same data in any folder or archive
and the classes are mixed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.own_classes import numbered
from bench.data.pixels import pixels_of
from bench.data.statistics import statistics_of
from bench.data.tree import Tree
from bench.errors import BenchError
from bench.numerics.limits import check_memory

LOSSY = (".jpg", ".jpeg")
ENDINGS = (".png", ".bmp", ".webp", *LOSSY)
SPLITS = ("train", "test")
LEFT_OUT = ("val", "valid", "validation", "dev")
"""Folders beside train and test that are no mistake: what is held out here is held out of the clients' samples."""
TEST_SHARE = 0.1
LAYOUTS = "train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png"

Report = Callable[[str], None]


@dataclass(frozen=True)
class _Place:
    """Where a picture lies.

    Attributes:
        root: the folder of the splits, or of the classes where there are no splits.
        split: "train" or "test", one of ``LEFT_OUT``, or "" where it is to be split.
        label: the name of its class.
    """

    root: str
    split: str
    label: str


def read(path: Path, report: Report, test_share: float | None = None) -> Imported:
    """Decode pictures to uint8 ``[n, channels, height, width]``: one channel where all of them are grey, else three.

    Of pictures without a split, ``test_share`` of each class (rounded, at least one and never all) are the test split:
    those whose pixels have the smallest SHA-256. Copies of one picture in a class are all on one side.

    Args:
        path: a folder or an archive; files in it that are no pictures by their names are left out.
        report: called with lines for people.
        test_share: in (0, 1); by default a tenth.

    Raises:
        BenchError: the pictures are of no layout, of different sizes, damaged or too large, a class has none, or a
            share is given where there is a test split.
    """
    tree = Tree(path)
    places = _places(tree, report)
    splits = {place.split for place in places.values()}
    if "" not in splits and test_share is not None:
        raise BenchError(f"{path}: there are pictures of test, so that --test-share {test_share:g} has no meaning")
    _check_folders(tree, places)
    inputs, labels = _decoded(tree, places, report)
    digests = np.array([hashlib.sha256(picture.tobytes()).hexdigest() for picture in inputs])
    if "" in splits:
        tested = _held_out(digests, labels, TEST_SHARE if test_share is None else test_share, tree)
        words = "a tenth" if test_share is None else f"{test_share:g}"
        report(f"no train and test folders: {words} of each class, by the SHA-256 of the pixels, is the test split")
    else:
        tested = np.array([place.split == "test" for place in places.values()])
    order = np.lexsort((labels, digests))
    rows = {"train": order[~tested[order]], "test": order[tested[order]]}
    train_numbers, test_numbers, names = numbered(labels[rows["train"]], labels[rows["test"]], str(path), report)
    train, test = Split(inputs[rows["train"]], train_numbers), Split(inputs[rows["test"]], test_numbers)
    return Imported(train, test, "", len(names), f"pictures by class, {path}", names, statistics_of(train.inputs))


def _places(tree: Tree, report: Report) -> dict[str, _Place]:
    """Return where each picture of both splits lies, by its name in the tree."""
    pictures = [name for name in tree.sizes if PurePosixPath(name).suffix.lower() in ENDINGS]
    if tree.one_file or not pictures:
        raise BenchError(f"{tree.path}: no pictures ({', '.join(ENDINGS)}) found, {LAYOUTS} expected; {tree.holds()}")
    places = {name: _place_of(name, tree) for name in pictures}
    if "train" in {place.split for place in places.values()}:
        places = {name: place for name, place in places.items() if place.split not in LEFT_OUT}
    _check_layout(tree, places)
    if others := [name for name in tree.sizes if name not in places]:
        report(f"not pictures of train and test by their names, not read: {tree.few(others)}")
    if any(PurePosixPath(name).suffix.lower() in LOSSY for name in places):
        report("JPEG files are decoded by this machine's library: where another gives other pixels, it is other data")
    return places


def _place_of(name: str, tree: Tree) -> _Place:
    *above, label = PurePosixPath(name).parent.parts or ("",)
    if not label.isprintable():
        raise BenchError(f"{tree.place(name)}: the name of its folder is no text, the name of a class expected")
    split = above[-1].lower() if above else ""
    if split in (*SPLITS, *LEFT_OUT):
        return _Place("/".join(above[:-1]), split, label)
    return _Place("/".join(above), "", label)


def _check_layout(tree: Tree, places: dict[str, _Place]) -> None:
    splits = {place.split for place in places.values()}
    labels = {place.label for place in places.values()}
    for name, place in places.items():
        alone = splits == {""} and {label.lower() for label in labels} <= {*SPLITS, *LEFT_OUT}
        if not place.label or alone or (place.split == "" and len(splits) > 1):
            raise BenchError(f"{tree.place(name)}: a picture in no folder of its class; {LAYOUTS} expected")
    if "" not in splits and splits != set(SPLITS):
        raise BenchError(
            f"{tree.path}: pictures of {' and '.join(sorted(splits))} alone; {LAYOUTS} expected: name the folder of"
            " the classes itself to have it split"
        )
    if len(roots := {place.root or "." for place in places.values()}) > 1:
        raise BenchError(f"{tree.path}: the classes lie in {tree.few(roots)}, name the folder of one data set")


def _check_folders(tree: Tree, places: dict[str, _Place]) -> None:
    """Refuse folders of classes without a picture, and pictures that are no files; archives have neither."""
    if not tree.path.is_dir():
        return
    folders = {PurePosixPath(name).parent for name in places}
    for parent in sorted({folder.parent for folder in folders}):
        for entry in sorted(os.scandir(tree.path / parent), key=lambda entry: entry.name):
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            if parent / entry.name not in folders:
                empty = f"{Path(entry.path)}: no pictures ({', '.join(ENDINGS)}) of the class {entry.name!r} in it"
                linked = _is_linked(Path(entry.path), (tree.path / folder for folder in folders))
                raise BenchError(empty + ("; a folder that several links name is read once" if linked else ""))
    for folder in sorted(folders):
        for entry in os.scandir(tree.path / folder):
            name = str(folder / entry.name)
            if (
                PurePosixPath(name).suffix.lower() in ENDINGS
                and name not in tree.sizes
                and not entry.name.startswith(".")
            ):
                raise BenchError(f"{tree.place(name)}: it is no file, or a link that leads nowhere; a picture expected")


def _is_linked(folder: Path, others: Iterable[Path]) -> bool:
    """Return whether a folder is also known by another name, or holds links."""
    links = folder.is_symlink() or any(entry.is_symlink() for entry in folder.iterdir())
    return links or any(other.samefile(folder) for other in others)


def _decoded(tree: Tree, places: dict[str, _Place], report: Report) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, uint8 ``[n, channels, height, width]``, and their labels, in the order of ``places``."""
    found: dict[str, np.ndarray] = {}
    size, first = (0, 0), ""
    for name, content in tree.read(list(places)):
        picture = pixels_of(content, tree.place(name))
        if not found:
            size, first = picture.shape[1:], name
            check_memory(f"{tree.path}: {len(places):,} pictures like {first!r}", 2 * len(places) * picture.nbytes)
        if picture.shape[1:] != size:
            given, expected = (" x ".join(map(str, pair)) for pair in (picture.shape[1:], size))
            raise BenchError(f"{tree.place(name)}: picture of {given} pixels, {expected} expected as {first!r} has")
        found[name] = picture
    grey = sum(len(picture) == 1 for picture in found.values())
    channels = 1 if grey == len(found) else 3
    if 0 < grey < len(found):
        report(f"{grey:,} grey pictures among {len(found):,}: they have their grey as red, green and blue")
    inputs = np.empty((len(places), channels, *size), dtype=np.uint8)
    for row, name in enumerate(places):
        inputs[row] = found.pop(name)
    return inputs, np.array([place.label for place in places.values()])


def _held_out(digests: np.ndarray, labels: np.ndarray, share: float, tree: Tree) -> np.ndarray:
    """Return which pictures are the test split, boolean ``[n]``."""
    tested = np.zeros(len(digests), dtype=bool)
    for label in np.unique(labels).tolist():
        own = labels == label
        distinct = np.unique(digests[own])
        if len(distinct) < 2:
            raise BenchError(f"{tree.path}: class {label!r} has one distinct picture; two at least, for train and test")
        count = min(max(round(share * len(distinct)), 1), len(distinct) - 1)
        tested |= own & (digests <= distinct[count - 1])
    return tested
