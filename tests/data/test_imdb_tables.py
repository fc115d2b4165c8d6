"""IMDB as tables, from small files made here: Kaggle's CSV and Hugging Face's parquet files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from bench.data import cache, imdb
from bench.errors import BenchError

ROWS = [
    (f'The film, "{sentiment}" film{"<br />" if number % 3 else chr(10)}{"abcdefghijklmnopqrstuvwxyz"[number]}', label)
    for label, sentiment in ((1, "good"), (0, "bad"))
    for number in range(20)
]
WORDS = ("negative", "positive")


def kaggle(path: Path, rows: list[tuple[str, int]], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "sentiment"])
        writer.writerows([text, WORDS[label]] for text, label in rows)
    return path


def hub(folder: Path, rows: list[tuple[str, int]], names: list[str] | None = None) -> Path:
    (folder / "plain_text").mkdir(parents=True)
    shuffled = random.Random(3).sample(rows, len(rows))
    parts = {"train": shuffled[: len(rows) // 2], "test": shuffled[len(rows) // 2 :], "unsupervised": [("film", -1)]}
    for split, part in parts.items():
        table = pyarrow.table({"text": [text for text, _ in part], "label": [label for _, label in part]})
        if names:
            features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        parquet.write_table(table, folder / "plain_text" / f"{split}-00000-of-00001.parquet")
    return folder


def fingerprint(path: Path) -> str:
    data = imdb.read(path, published=False)
    return cache.fingerprint(data.train, data.test)


def test_all_tables_of_the_same_reviews_are_the_same(tmp_path: Path) -> None:
    plain = kaggle(tmp_path / "IMDB Dataset.csv", ROWS)
    data = imdb.read(plain, published=False)
    assert (len(data.train), len(data.test), data.title) == (30, 10, "IMDB")
    assert np.bincount(data.train.labels).tolist() == [15, 15]
    # "film" comes first, twice a review; "good" and "bad" are in the reviews of one class only.
    assert set(data.train.inputs[:, -3].tolist()) | set(data.train.inputs[:, -2].tolist()) >= {1}
    with zipfile.ZipFile(tmp_path / "archive.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(plain, plain.name)
    swapped = [(text, 1 - label) for text, label in ROWS]
    places = [
        plain,
        tmp_path / "archive.zip",
        kaggle(tmp_path / "shuffled.csv", random.Random(1).sample(ROWS, len(ROWS))),
        kaggle(tmp_path / "bom.csv", ROWS, "utf-8-sig"),
        hub(tmp_path / "hub", ROWS),
        hub(tmp_path / "named", ROWS, ["neg", "pos"]),
        hub(tmp_path / "swapped", swapped, ["pos", "neg"]),
    ]
    assert len({fingerprint(place) for place in places}) == 1


def test_labels_are_those_of_their_texts(tmp_path: Path) -> None:
    data = imdb.read(kaggle(tmp_path / "x.csv", ROWS), published=False)
    ids = [[set(row) for row in data.train.inputs[data.train.labels == label].tolist()] for label in (0, 1)]
    # "bad" and "good" are in every review of their own class and in none of the other.
    own = [set.intersection(*ids[label]) - set.union(*ids[1 - label]) for label in (0, 1)]
    # Equally frequent words have their ids by the alphabet: "bad" before "good".
    assert [len(words) for words in own] == [1, 1]
    assert min(own[0]) < min(own[1])


def test_what_was_read_and_the_rule_of_division_are_said(tmp_path: Path) -> None:
    lines: list[str] = []
    data = imdb.read(hub(tmp_path / "hub", ROWS), lines.append, published=False)
    assert (
        "reviews in tables are ordered by the SHA-256 of their texts before they are divided 75 / 25 by class" in lines
    )
    assert any("'plain_text/test-00000-of-00001.parquet', 'plain_text/train-" in line for line in lines)
    assert [line for line in lines if "unsupervised" in line] == [
        "not of the splits train and test by their names, not read: 'plain_text/unsupervised-00000-of-00001.parquet'"
    ]
    assert data.source == f"table of reviews, {tmp_path / 'hub'}"


def text_of(rows: list[tuple[str, int]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["review", "sentiment"])
    writer.writerows([text, WORDS[label]] for text, label in rows)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (text_of(ROWS).encode("utf-16"), "x.csv is UTF-16, UTF-8 expected"),
        (text_of([("Café", 1), *ROWS]).encode("cp1252"), r"x.csv is not UTF-8 \(.* at byte 21\); save it as UTF-8"),
        (text_of(ROWS).encode()[:-12], r"x.csv, line \d+: .*"),
        (text_of(ROWS).encode()[:700], r"x.csv, line \d+: (no whole CSV|\d cells)"),
        (text_of(ROWS).replace("review,", "words,").encode(), "columns 'words', 'sentiment', 'review' and 'sentiment'"),
        (text_of(ROWS).replace("sentiment", "feeling").encode(), "'review' and 'sentiment' expected"),
        (
            text_of(ROWS).replace("positive", "mixed").encode(),
            r"line \d+: class 'mixed' is unknown, allowed: 'negative'",
        ),
        (text_of(ROWS).replace(",positive", "").encode(), r"x.csv, line \d+: 1 cells, 2 expected"),
        (b"", "columns none"),
        (b"\x00" * 500, "x.csv"),
        (gzip.compress(text_of(ROWS).encode()), r"x.csv is one compressed file \(gz\) and no archive, unpack it first"),
        (b'review,sentiment\n"' + b"x" * 200_000, "no whole CSV"),
    ],
)
def test_damaged_csv_files_are_one_sentence(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(BenchError, match=problem) as caught:
        imdb.read(tmp_path / "x.csv", published=False)
    assert "\n" not in str(caught.value)


def test_several_csv_files_are_not_guessed_at(tmp_path: Path) -> None:
    kaggle(tmp_path / "IMDB Dataset.csv", ROWS)
    kaggle(tmp_path / "IMDB Dataset (1).csv", ROWS)
    lines: list[str] = []
    imdb.read(tmp_path, lines.append, published=False)
    assert "'IMDB Dataset (1).csv': the same bytes as 'IMDB Dataset.csv', not read" in lines
    kaggle(tmp_path / "IMDB Dataset (1).csv", ROWS[1:])
    with pytest.raises(BenchError, match=r"'IMDB Dataset \(1\).csv', 'IMDB Dataset.csv' found, one CSV file expected"):
        imdb.read(tmp_path, published=False)


def test_half_of_the_hub_is_refused(tmp_path: Path) -> None:
    folder = hub(tmp_path / "hub", ROWS)
    with pytest.raises(BenchError, match=r"\d+ negative and \d+ positive reviews found, 25000 of each expected"):
        imdb.read(folder / "plain_text" / "train-00000-of-00001.parquet")


@pytest.mark.parametrize("change", [lambda rows: rows[: len(rows) // 2] * 2, lambda rows: rows[:10] + rows[20:]])
def test_half_the_reviews_are_not_the_data_set(
    change: Callable[[list[tuple[str, int]]], list[tuple[str, int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imdb, "SAMPLES", 40)
    monkeypatch.setattr(imdb, "LEAST_DISTINCT", 38)
    imdb.read(kaggle(tmp_path / "whole.csv", ROWS))
    mixed = [row for pair in zip(ROWS[:20], ROWS[20:], strict=True) for row in pair]
    with pytest.raises(BenchError, match=r"reviews are distinct, 49,582 expected|20 of each expected"):
        imdb.read(kaggle(tmp_path / "x.csv", change(mixed)))


@pytest.mark.parametrize(
    ("column", "cells", "problem"),
    [
        ("label", [0, 2], "label 2, allowed: 0 to 1"),
        ("label", [0, -1], "label -1, allowed: 0 to 1"),
        ("text", [1, 2], "column 'text' holds int64, texts without gaps expected"),
        ("text", ["x", None], "column 'text' holds string, texts without gaps expected"),
    ],
)
def test_other_parquet_tables(column: str, cells: list[object], problem: str, tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {"text": ["a", "b"], "label": [0, 1], column: cells}
    parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    with pytest.raises(BenchError, match=problem):
        imdb.read(tmp_path, published=False)
    whole = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(whole[:-9])
    with pytest.raises(BenchError, match="cannot be read as parquet"):
        imdb.read(tmp_path, published=False)
