"""Tiny-ImageNet: 64 x 64 images of 200 classes, as the publisher packs them; its validation set is the test split.

Source: Stanford's course CS231n (Y. Le and X. Yang, Tiny ImageNet Visual Recognition Challenge, 2015). The labels of
the publisher's own test images were never given out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.pixels import pixels_of
from bench.data.statistics import statistics_of
from bench.data.tree import Tree
from bench.errors import BenchError, nearest
from bench.numerics.limits import check_memory

PAGE = "http://cs231n.stanford.edu/"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
ARCHIVE_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
"""As Avalanche and many others list it, since the publisher lists none."""
CLASSES, TRAIN_EACH, TEST_EACH = 200, 500, 50
SIDE = 64
ANNOTATIONS = "val_annotations.txt"
_ENDINGS = (".jpeg", ".jpg", ".png")
_NUMBERS = re.compile(r"[0-9]+")

Report = Callable[[str], None]


def read(path: Path, progress: Report | None = None, published: bool = True) -> Imported:
    """Decode the pictures to uint8 ``[n, 3, 64, 64]``; grey ones have their grey as red, green and blue.

    Classes are numbered in the order of their WordNet ids, the names of the folders below ``train``. Training pictures
    are in the order of these and of the numbers in their names, test pictures in that of their numbers.

    Args:
        path: ``tiny-imagenet-200.zip`` (or another zip or tar), the folder that it unpacks to, or one above it.
        progress: called with lines for people.
        published: insist on 200 classes with 500 training and 50 test pictures each.

    Raises:
        BenchError: the layout is another, pictures are missing, damaged or of another size, or a label is no class.
    """
    report = progress or (lambda line: None)
    tree = Tree(path)
    train = _training(tree)
    names = sorted(set(train.values()))
    test = _validation(tree, names)
    report(f"read from {path}: {len(train):,} pictures of train, {len(test):,} of val, which are the test split")
    if published:
        for half, labels, each in (("train", train, TRAIN_EACH), ("val", test, TEST_EACH)):
            _check_counts(tree, half, labels, each)
    check_memory(f"{path}: {len(train) + len(test):,} pictures", 2 * (len(train) + len(test)) * 3 * SIDE * SIDE)
    inputs = _decoded(tree, [*train, *test], report)
    report("JPEG files are decoded by this machine's library: where another gives other pixels, it is other data")
    numbers = {name: number for number, name in enumerate(names)}
    halves = [
        Split(inputs[rows], np.array([numbers[label] for label in labels.values()], dtype=np.int64))
        for rows, labels in ((slice(0, len(train)), train), (slice(len(train), None), test))
    ]
    source, statistics = f"pictures by class, {path}", statistics_of(halves[0].inputs)
    return Imported(halves[0], halves[1], "Tiny-ImageNet", max(CLASSES, len(names)), source, tuple(names), statistics)


def _training(tree: Tree) -> dict[str, str]:
    """Return the class of each training picture by its name in the tree, in their order."""
    found: dict[str, str] = {}
    roots = set()
    for name in tree.sizes:
        path = PurePosixPath(name)
        if path.suffix.lower() in _ENDINGS and path.parent.name == "images" and path.parent.parents[1].name == "train":
            found[name] = path.parent.parent.name
            roots.add(str(path.parent.parents[1]))
    if not found:
        raise BenchError(
            f"{tree.path}: no Tiny-ImageNet found, allowed: tiny-imagenet-200.zip, or a folder with"
            f" train/CLASS/images/*.JPEG and val/{ANNOTATIONS}; {tree.holds()}"
        )
    if len(roots) > 1:
        raise BenchError(f"{tree.path}: pictures of train are in {tree.few(roots)}, name the folder of one set")
    return {name: found[name] for name in sorted(found, key=lambda name: (found[name], _number(name)))}


def _validation(tree: Tree, names: list[str]) -> dict[str, str]:
    """Return the class of each validation picture by its name in the tree, in their order."""
    lists = [name for name in tree.sizes if PurePosixPath(name).name == ANNOTATIONS]
    if len(lists) != 1:
        raise BenchError(f"{tree.path}: {len(lists)} files {ANNOTATIONS!r} found, one in the folder 'val' expected")
    [(_, content)] = tree.read(lists)
    folder = PurePosixPath(lists[0]).parent
    labels: dict[str, str] = {}
    for row, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), start=1):
        picture, _, rest = line.partition("\t")
        label, place = rest.split("\t")[0], f"{tree.place(lists[0])}, line {row}"
        if label not in names:
            raise BenchError(f"{place}: class {label!r} has no folder below train{nearest(label, names)}")
        name = str(folder / "images" / picture)
        if name not in tree.sizes:
            raise BenchError(f"{place}: the picture {picture!r} is missing in 'val/images'")
        labels[name] = label
    if not labels:
        raise BenchError(f"{tree.place(lists[0])}: no lines, a picture and its class in each expected")
    here = [name for name in tree.sizes if PurePosixPath(name).parent == folder / "images"]
    if others := [name for name in here if name not in labels]:
        raise BenchError(f"{tree.path}: {tree.few(others)}: not in {ANNOTATIONS!r}, which names all pictures of val")
    return {name: labels[name] for name in sorted(labels, key=_number)}


def _number(name: str) -> tuple[int, str]:
    """Return the last number in a picture's name, and the name where several have the same."""
    numbers = _NUMBERS.findall(PurePosixPath(name).stem)
    return int(numbers[-1]) if numbers else -1, name


def _check_counts(tree: Tree, half: str, labels: Mapping[str, str], each: int) -> None:
    counts: dict[str, int] = defaultdict(int)
    for label in labels.values():
        counts[label] += 1
    wrong = next((label for label in sorted(counts) if counts[label] != each), None)
    if len(counts) != CLASSES or wrong is not None:
        found = f"{counts[wrong]:,} of class {wrong!r}" if wrong is not None else f"{len(counts):,} classes"
        raise BenchError(f"{tree.path}: {found} in {half}, {CLASSES} classes of {each} pictures expected")


def _decoded(tree: Tree, names: list[str], report: Report) -> np.ndarray:
    """Return the pictures in the order of their names, uint8 ``[n, 3, 64, 64]``."""
    rows = {name: row for row, name in enumerate(names)}
    inputs = np.empty((len(names), 3, SIDE, SIDE), dtype=np.uint8)
    grey, tenth = 0, max(len(names) // 10, 1)
    for done, (name, content) in enumerate(tree.read(names), start=1):
        picture = pixels_of(content, tree.place(name))
        if picture.shape[1:] != (SIDE, SIDE):
            height, width = picture.shape[1:]
            raise BenchError(f"{tree.place(name)}: picture of {height} x {width} pixels, {SIDE} x {SIDE} expected")
        grey += len(picture) == 1
        inputs[rows[name]] = picture
        if done % tenth == 0:
            report(f"{done:,} of {len(names):,} pictures decoded")
    report(f"{grey:,} grey pictures have their grey as red, green and blue")
    return inputs
