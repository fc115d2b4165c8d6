"""IMDB reviews: the published archive of 50,000 labelled texts (or its unpacked folder) as token ids.

Source: A. L. Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011,
https://ai.stanford.edu/~amaas/data/sentiment/. The division is the PriSM paper's: all labelled reviews, 75 % for
training and 25 % for testing, stratified by class. The paper draws it anew for each run; here it is drawn once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.data import archives, text
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.errors import BenchError
from bench.seeding import stream

URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
CLASSES = 2
SAMPLES = 50_000
TRAIN_SHARE = 0.75
VOCABULARY = 1000
LENGTH = 500
_REVIEW = re.compile(r"(?:.*/)?(?:train|test)/(?:pos|neg)/\d+_\d+\.txt")


def read(path: Path, progress: Callable[[str], None] | None = None, published: bool = True) -> Imported:
    """Turn the reviews into token ids, int16 ``[n, 500]``; label 1 is a positive review, 0 a negative one.

    Args:
        path: ``aclImdb_v1.tar.gz`` (or ``.tar.xz``, ``.zip``) or the folder ``aclImdb`` it unpacks to.
        progress: called with lines for people.
        published: insist on 25,000 reviews of each class.

    Raises:
        BenchError: no reviews, a wrong number of them, a review that is not UTF-8, or a damaged archive.
    """
    texts, labels = _reviews(path)
    counts = np.bincount(labels, minlength=CLASSES)
    if counts.min() < 2 or (published and counts.tolist() != [SAMPLES // 2] * 2):
        raise BenchError(
            f"{path}: {counts[0]} negative and {counts[1]} positive reviews found as"
            f" aclImdb/{{train,test}}/{{neg,pos}}/ID_RATING.txt, {SAMPLES // 2} of each expected"
        )
    report = progress or (lambda line: None)
    report(f"{len(texts)} reviews read")
    train, test = stratified_split(labels)
    # The test texts take no part in the choice of the vocabulary.
    words = text.vocabulary((texts[row] for row in train), VOCABULARY)
    report(f"vocabulary of {len(words)} words counted")
    splits = [Split(text.encode([texts[row] for row in rows], words, LENGTH), labels[rows]) for rows in (train, test)]
    report("reviews encoded")
    return Imported(splits[0], splits[1], "IMDB", CLASSES, f"labelled reviews, {path}")


def stratified_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows for training and for testing, both ascending: 75 % and 25 % of each class, always the same."""
    rng = stream(0, "imdb split")
    train = []
    for label in range(CLASSES):
        rows = rng.permutation(np.flatnonzero(labels == label))
        train.append(rows[: round(TRAIN_SHARE * len(rows))])
    in_train = np.zeros(len(labels), dtype=bool)
    in_train[np.concatenate(train)] = True
    return np.flatnonzero(in_train), np.flatnonzero(~in_train)


def _reviews(path: Path) -> tuple[list[str], np.ndarray]:
    """Return all texts and labels, ordered by their names so that the packing of an archive changes nothing."""
    found = []
    for name, content in _files(path):
        half, sentiment, file_name = name.split("/")[-3:]
        try:
            found.append(((half, sentiment, int(file_name.split("_")[0])), content.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise BenchError(f"{path}: {name} is not UTF-8 ({error.reason} at byte {error.start})") from error
    found.sort(key=lambda item: item[0])
    labels = np.array([sentiment == "pos" for (_, sentiment, _), _ in found], dtype=np.int64)
    return [review_text for _, review_text in found], labels


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_file():
        yield from archives.read_members(path, lambda name: _REVIEW.fullmatch(name) is not None)
        return
    try:
        for file in path.glob("**/*.txt"):
            name = file.relative_to(path).as_posix()
            if _REVIEW.fullmatch(name):
                yield name, file.read_bytes()
    except OSError as error:
        raise BenchError(f"{path}: a review cannot be read ({error})") from error
