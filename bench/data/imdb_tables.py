"""IMDB as tables: Kaggle's CSV (``review,sentiment``), or Hugging Face's parquet files (``text``, ``label``)."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.data import tables
from bench.data.labels import ClassNames
from bench.data.shards import parquet_splits
from bench.data.tree import Tree
from bench.errors import BenchError, at

CLASSES = ClassNames(("negative", "positive"), others={"neg": 0, "pos": 1})
_COLUMNS = (("review", "sentiment"), ("text", "label"))
_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read(tree: Tree, report: Callable[[str], None]) -> tuple[list[str], np.ndarray, list[str]]:
    """Return texts, labels (1 is positive) and the names of the files; reviews ordered by the SHA-256 of their texts.

    Raises:
        BenchError: neither a CSV nor parquet files of reviews are there, several CSV files are, or one is damaged.
    """
    shards = parquet_splits(tree, report)
    names = [*shards["train"], *shards["test"]]
    if names:
        rows = [row for place, file in tree.tables(names) for row in _parquet_rows(place, file)]
    else:
        names = [_csv_file(tree, report)]
        rows = [row for name, content in tree.read(names) for row in _csv_rows(content, tree.place(name))]
    rows.sort(key=lambda row: (hashlib.sha256(row[0].encode("utf-8", "surrogatepass")).digest(), row[1]))
    report(f"{len(rows):,} labelled reviews read")
    return [review for review, _ in rows], np.array([label for _, label in rows], dtype=np.int64), names


def _csv_file(tree: Tree, report: Callable[[str], None]) -> str:
    names = [name for name in tree.sizes if name.lower().endswith(".csv") or tree.one_file]
    if not names:
        raise BenchError(f"{tree.path}: {_nothing(tree)}")
    name, copies = tree.alike(names)
    if len(copies) + 1 < len(names):
        raise BenchError(f"{tree.path}: {tree.few(names)} found, one CSV file expected")
    if copies:
        report(f"{tree.few(copies)}: the same bytes as {name!r}, not read")
    return name


def _nothing(tree: Tree) -> str:
    return (
        "0 negative and 0 positive reviews found as aclImdb/{train,test}/{neg,pos}/ID_RATING.txt, as a CSV file with"
        f" the columns review,sentiment, or as train-*.parquet and test-*.parquet; {tree.holds()}"
    )


def _parquet_rows(place: str, file: Path | bytes) -> Iterator[tuple[str, int]]:
    from pyarrow import types

    own = tables.own_names(place, file, "label")
    for first_row, batch in tables.batches(place, file, [("text", "review"), ("label", "sentiment")]):
        texts = batch.column("text")
        if texts.null_count or not (types.is_string(texts.type) or types.is_large_string(texts.type)):
            raise BenchError(f"{place}: column 'text' holds {texts.type}, texts without gaps expected")
        labels = tables.class_numbers(batch.column("label"), CLASSES, own, f"{place}, row {first_row} and on: 'label'")
        yield from zip(texts.to_pylist(), labels.tolist(), strict=True)


def _csv_rows(content: bytes, place: str) -> Iterator[tuple[str, int]]:
    """Yield text and label of each row; a byte-order mark in front, as spreadsheets write it, is no text."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise BenchError(f"{place} is {encoding}, UTF-8 expected; save it as UTF-8")
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{place} is not UTF-8 ({error.reason} at byte {error.start:,}); save it as UTF-8") from error
    reader = csv.reader(io.StringIO(decoded, newline=""), strict=True)
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        columns = next((names for names in _COLUMNS if all(name in header for name in names)), None)
        if columns is None:
            raise BenchError(
                f"{place}: columns {', '.join(map(repr, header[:6])) or 'none'}, 'review' and 'sentiment' expected"
            )
        review, sentiment = map(header.index, columns)
        for row in reader:
            if len(row) != len(header):
                raise BenchError(f"{place}, line {reader.line_num}: {len(row)} cells, {len(header)} expected")
            with at(f"{place}, line {reader.line_num}"):
                yield row[review], CLASSES.number(row[sentiment])
    except csv.Error as error:
        raise BenchError(f"{place}, line {reader.line_num}: no whole CSV ({error}); get it again") from error
