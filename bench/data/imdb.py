"""IMDB reviews as token ids: the published archive of 50,000 labelled texts, or tables with the same reviews.

Source: A. L. Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011,
https://ai.stanford.edu/~amaas/data/sentiment/. The division is the PriSM paper's: all labelled reviews, 75 % for
training and 25 % for testing, stratified by class. The paper draws it anew for each run; here it is drawn once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import imdb_reviews, imdb_tables, text
from bench.data.dataset import Split
from bench.data.imdb_tables import CLASSES
from bench.data.imported import Imported
from bench.data.tree import Tree
from bench.errors import BenchError
from bench.seeding import stream

URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
SAMPLES = 50_000
# 49,582 of the published texts are distinct. Copies that trim or re-encode them make a few more alike, but a table of
# half the reviews, each twice, has the right counts and not half of this.
LEAST_DISTINCT = 49_000
TRAIN_SHARE = 0.75
VOCABULARY = 1000
LENGTH = 500


def read(path: Path, progress: Callable[[str], None] | None = None, published: bool = True) -> Imported:
    """Turn the reviews into token ids, int16 ``[n, 500]``; label 1 is a positive review, 0 a negative one.

    The division rests on an order of the reviews: that of their published numbers where the files have them, else,
    in tables, that of the SHA-256 of their texts. So all copies of the archive give the same data, and all tables give
    the same data, but a table gives another draw of the 75 / 25 division than the archive.

    Args:
        path: ``aclImdb_v1.tar.gz`` (or another tar or zip) or the folder ``aclImdb`` it unpacks to; a CSV file with the
            columns ``review,sentiment`` (Kaggle's) or ``text,label``; or Hugging Face's parquet files, columns ``text``
            and ``label``, of which ``unsupervised`` is left out.
        progress: called with lines for people.
        published: insist on 12,500 reviews of each class in each half (25,000 in a table), nearly all of them distinct.

    Raises:
        BenchError: no reviews, a wrong number of them, a text that is not UTF-8, or a damaged file.
    """
    report = progress or (lambda line: None)
    tree = Tree(path)
    if names := imdb_reviews.files(tree):
        texts, labels = imdb_reviews.read(tree, names, published)
        layout = "labelled reviews"
    else:
        texts, labels, names = imdb_tables.read(tree, report)
        layout = "table of reviews"
        report("reviews in tables are ordered by the SHA-256 of their texts before they are divided 75 / 25 by class")
    report(f"read from {path}: {tree.few(names)}")
    _check(path, texts, labels, published)
    train, test = stratified_split(labels)
    # The test texts take no part in the choice of the vocabulary.
    words = text.vocabulary((texts[row] for row in train), VOCABULARY)
    report(f"vocabulary of {len(words)} words counted")
    splits = [Split(text.encode([texts[row] for row in rows], words, LENGTH), labels[rows]) for rows in (train, test)]
    report("reviews encoded")
    return Imported(splits[0], splits[1], "IMDB", len(CLASSES.names), f"{layout}, {path}")


def stratified_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows for training and for testing, both ascending: 75 % and 25 % of each class, always the same."""
    rng = stream(0, "imdb split")
    train = []
    for label in range(len(CLASSES.names)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        train.append(rows[: round(TRAIN_SHARE * len(rows))])
    in_train = np.zeros(len(labels), dtype=bool)
    in_train[np.concatenate(train)] = True
    return np.flatnonzero(in_train), np.flatnonzero(~in_train)


def _check(path: Path, texts: list[str], labels: np.ndarray, published: bool) -> None:
    counts = np.bincount(labels, minlength=len(CLASSES.names))
    if counts.min() < 2 or (published and counts.tolist() != [SAMPLES // 2] * 2):
        raise BenchError(
            f"{path}: {counts[0]} negative and {counts[1]} positive reviews found, {SAMPLES // 2} of each expected"
        )
    if published and (distinct := len(set(texts))) < LEAST_DISTINCT:
        raise BenchError(f"{path}: {distinct:,} of {len(texts):,} reviews are distinct, 49,582 expected")
