"""CIFAR-10 and CIFAR-100 as pictures: ``train/frog/1.png``, or ``train/0_frog.png`` as in the copies for Darknet."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np

from bench.data import images
from bench.data.cifar_set import CifarSet
from bench.data.dataset import Split
from bench.data.tree import Tree
from bench.errors import BenchError, choices

_LOSSLESS, _LOSSY = (".png", ".bmp", ".ppm", ".webp"), (".jpg", ".jpeg")
_NUMBER = re.compile(r"[0-9]{1,9}(?![0-9])")
_FLAT = re.compile(r"[0-9]{1,9}_([a-z][a-z_]*)", re.IGNORECASE)


def files(of: CifarSet, tree: Tree) -> list[str]:
    """Return the names of the pictures of both splits; none where there is no picture of a split.

    Raises:
        BenchError: a picture of a split is of no class or loses pixels (JPEG), or two sets are there.
    """
    names = [name for name in tree.sizes if _split_of(name) is not None]
    roots: dict[str, set[str]] = defaultdict(set)
    for name in names:
        split, root = _split_of(name) or ("", "")
        roots[split].add(root)
        _class_of(of, name, tree)
    for split, places in roots.items():
        if len(places) > 1:
            raise BenchError(f"{tree.path}: pictures of {split} are in {tree.few(places)}, name the folder of one set")
    if names and len(roots) < 2:
        raise BenchError(f"{tree.path}: pictures of {next(iter(roots))} alone, train/CLASS and test/CLASS expected")
    return names


def read(of: CifarSet, tree: Tree, names: list[str], report: Callable[[str], None]) -> tuple[Split, Split]:
    """Decode the pictures; the label is the class that the file's own folder or name says, not the folder's place.

    The numbers in the names are the official order where they count a whole split from 0 or 1. Where they do not,
    the order is that of the pictures' SHA-256: the same whatever the files are called, and with all classes mixed.

    Raises:
        BenchError: a file is no picture of 32 x 32 pixels, or a picture is there twice.
    """
    found: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "test": []}
    for name, content in tree.read(names):
        split, _ = _split_of(name) or ("", "")
        found[split].append((name, images.decode(content, "RGB", 32, tree.place(name))))
    train, test = (
        _ordered(of, tree, found[split], split, copies, report)
        for split, copies in (("train", of.train_copies), ("test", of.test_copies))
    )
    return train, test


def _split_of(name: str) -> tuple[str, str] | None:
    """Return split and the folder of that split's name; None for what is no picture of a split."""
    path = PurePosixPath(name)
    if path.suffix.lower() not in (*_LOSSLESS, *_LOSSY):
        return None
    for folder in path.parents:
        if folder.name.lower() in ("train", "test") and len(path.parts) - len(folder.parts) <= 2:
            return folder.name.lower(), str(folder)
    return None


def _class_of(of: CifarSet, name: str, tree: Tree) -> int:
    path = PurePosixPath(name)
    flat = _FLAT.fullmatch(path.stem)
    own = flat[1] if path.parent.name.lower() in ("train", "test") and flat else path.parent.name
    if not of.objects.knows(own):
        raise BenchError(f"{tree.place(name)}: class {own!r} is unknown, {choices(own, of.objects.names)}")
    if path.suffix.lower() in _LOSSY:
        raise BenchError(f"{tree.place(name)}: JPEG changes the pixels, lossless pictures (PNG) expected")
    return of.objects.number(own)


def _ordered(
    of: CifarSet,
    tree: Tree,
    pictures: list[tuple[str, np.ndarray]],
    split: str,
    copies: int,
    report: Callable[[str], None],
) -> Split:
    digests = [hashlib.sha256(pixels.tobytes()).hexdigest() for _, pixels in pictures]
    if len(set(digests)) < len(digests) - copies:
        first_of: dict[str, str] = {}
        for (name, _), digest in zip(pictures, digests, strict=True):
            if (first := first_of.setdefault(digest, name)) != name:
                few = f"{len(digests) - len(set(digests))} pictures are there again, {copies} expected, such as "
                raise BenchError(
                    f"{tree.path}: {few if copies else ''}{first!r} and {name!r} are the same picture, each one once"
                    " expected"
                )
    labels = np.array([_class_of(of, name, tree) for name, _ in pictures], dtype=np.int64)
    numbers = [_NUMBER.match(PurePosixPath(name).stem) for name, _ in pictures]
    official = sorted(int(number[0]) for number in numbers if number is not None)
    if len(official) == len(pictures) and official == list(range(official[0], official[0] + len(official))):
        order = np.argsort([int(number[0]) for number in numbers if number is not None])
    else:
        report(f"{split}: the files' names do not number the whole split, so the pictures are ordered by their SHA-256")
        order = np.lexsort((labels, np.array(digests)))
    return Split(np.stack([pictures[row][1] for row in order]), labels[order])
