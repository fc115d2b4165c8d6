"""The published form of IMDB: one text file a review, ``aclImdb/{train,test}/{neg,pos}/ID_RATING.txt``.

Source: https://ai.stanford.edu/~amaas/data/sentiment/.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np

from bench.data.tree import Tree
from bench.errors import BenchError

PER_FOLDER = 12_500
_TEXT = re.compile(r"(?P<root>(?:.*/)?)(?P<folder>(?:train|test)/(?:pos|neg))/(?P<file>[^/]+\.txt)", re.DOTALL)
_FILE = re.compile(r"(?P<id>[0-9]{1,6})_(?P<rating>[0-9]{1,2})\.txt")
_FOLDERS = ("test/neg", "test/pos", "train/neg", "train/pos")


def files(tree: Tree) -> list[str]:
    """Return the names of all reviews, ordered by folder and id so that the packing of an archive changes nothing.

    Raises:
        BenchError: a name has no id and rating, an id is there twice in a folder, or two sets of reviews are there.
    """
    found: dict[tuple[str, int], str] = {}
    roots = set()
    for name in tree.sizes:
        if (match := _TEXT.fullmatch(name)) is None:
            continue
        numbers = _FILE.fullmatch(match["file"])
        if numbers is None:
            raise BenchError(f"{tree.place(name)}: no review by its name, ID_RATING.txt with two numbers expected")
        roots.add(match["root"])
        if len(roots) > 1:
            raise BenchError(f"{tree.path}: reviews are in {tree.few(roots)}, name the folder of one set")
        review = (match["folder"], int(numbers["id"]))
        if (first := found.setdefault(review, name)) != name:
            raise BenchError(f"{tree.path}: {first!r} and {name!r} have one id, each id once in a folder expected")
    return [found[review] for review in sorted(found)]


def read(tree: Tree, names: list[str], published: bool) -> tuple[list[str], np.ndarray]:
    """Return texts and labels (1 is positive) in the order of ``names``.

    Raises:
        BenchError: a text is not UTF-8, or, with ``published``, one of the four folders has not 12,500 reviews.
    """
    in_folder: dict[str, int] = defaultdict(int)
    for name in names:
        in_folder["/".join(name.split("/")[-3:-1])] += 1
    if published and any(in_folder[folder] != PER_FOLDER for folder in _FOLDERS):
        counts = ", ".join(f"{in_folder[folder]:,} in {folder}" for folder in _FOLDERS)
        raise BenchError(f"{tree.path}: {counts} reviews found, {PER_FOLDER:,} in each expected")
    texts = {}
    for name, content in tree.read(names):
        try:
            texts[name] = content.decode("utf-8")
        except UnicodeDecodeError as error:
            reason = f"{error.reason} at byte {error.start}"
            raise BenchError(f"{tree.place(name)} is not UTF-8 ({reason})") from error
    labels = np.array([name.split("/")[-2] == "pos" for name in names], dtype=np.int64)
    return [texts[name] for name in names], labels
