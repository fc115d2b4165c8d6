"""Shakespeare by role from small parquet files made here: windows, labels, order, users, split; and the real file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bench.data import shakespeare, sources
from bench.data.dataset import Split
from bench.errors import BenchError

REAL_DATA = Path(os.environ.get("BENCH_REAL_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
ALPHABET = "\n !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
Speech = tuple[str, str, int, str]


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))


def write(path: Path, speeches: list[Speech]) -> Path:
    user, play, seq, text = zip(*speeches, strict=True)
    columns = {"user": user, "play": play, "seq": seq, "text": text}
    parquet.write_table(pyarrow.table({name: list(cells) for name, cells in columns.items()}), path)
    return path


def letters(count: int) -> str:
    """Text without a period of 80, so that a window in the wrong place shows."""
    return "".join(ALPHABET[1 + 37 * position % 95] for position in range(count))


def decoded(split: Split, user: int) -> list[tuple[str, str]]:
    """The windows of one user with the characters that follow, as text."""
    assert split.users is not None
    rows = np.flatnonzero(split.users == user)
    return [("".join(ALPHABET[number] for number in split.inputs[row]), ALPHABET[split.labels[row]]) for row in rows]


def test_windows_labels_and_types_by_hand(tmp_path: Path) -> None:
    text = "a" * 80 + "b" * 79 + "\n" + " " * 79 + "~" + "!?"
    data = shakespeare.read(write(tmp_path / "x.parquet", [("h|HAMLET", "h", 0, text)]))
    # Newline 0, space 1, '!' 2, ..., '~' 95: 'a' has code 97, so 97 - 31 = 66.
    assert data.train.inputs.tolist() == [[66] * 80, [67] * 79 + [0]]
    assert data.train.labels.tolist() == [67, 1]
    assert data.test.inputs.tolist() == [[1] * 79 + [95]]
    assert data.test.labels.tolist() == [2]
    for split in (data.train, data.test):
        assert split.users is not None
        assert split.inputs.dtype == np.int16
        assert split.labels.dtype == np.int64
        assert split.users.dtype == np.int32
    assert (data.title, data.classes) == ("Shakespeare by role", 96)
    assert "LEAF" not in data.title


def test_the_table_of_characters_is_complete_and_stays() -> None:
    assert shakespeare.CHARACTERS == ALPHABET
    assert len(set(ALPHABET)) == 96


def test_speeches_are_joined_in_the_order_of_play_and_place(tmp_path: Path) -> None:
    speeches = [
        ("a|X", "b", 2, "4" * 60),
        ("b|Y", "b", 1, "y" * 200),
        ("a|X", "a", 10, "2" * 60),
        ("a|X", "b", 0, "3" * 60),
        ("a|X", "a", 9, "1" * 60),
    ]
    data = shakespeare.read(write(tmp_path / "x.parquet", speeches))
    whole = "\n".join(digit * 60 for digit in "1234")
    assert decoded(data.train, 0) + decoded(data.test, 0) == [
        (whole[:80], whole[80]),
        (whole[80:160], whole[160]),
        (whole[160:240], whole[240]),
    ]


def test_users_are_numbered_alike_in_both_splits_and_short_ones_left_out(tmp_path: Path) -> None:
    lengths = {"p|D": 161, "p|B": 160, "p|A": 80 * 25 + 1, "p|C": 1, "p|E": 80 * 16, "p|F": 0}
    speeches = [(user, "p", row, letters(length)) for row, (user, length) in enumerate(lengths.items())]
    data = shakespeare.read(write(tmp_path / "x.parquet", speeches))
    # A has 25 windows, D 2 and E 15 (its last character must be a label); B has one, C and F have none.
    assert data.train.users is not None
    assert data.test.users is not None
    assert np.bincount(data.train.users).tolist() == [23, 1, 13]
    assert np.bincount(data.test.users).tolist() == [2, 1, 2]
    for number, user in enumerate(["p|A", "p|D", "p|E"]):
        windows = decoded(data.train, number) + decoded(data.test, number)
        text = letters(lengths[user])
        assert windows == [(text[start : start + 80], text[start + 80]) for start in range(0, len(text) - 80, 80)]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1500), min_size=1, max_size=6).filter(lambda lengths: max(lengths) > 160))
def test_split_of_any_lengths(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    speeches = [(f"p|{row}", "p", row, letters(length)) for row, length in enumerate(lengths)]
    data = shakespeare.read(write(tmp_path_factory.mktemp("any") / "x.parquet", speeches))
    windows = [len(range(0, length - 80, 80)) for length in lengths]
    kept = [count for count in windows if count >= 2]
    assert data.train.users is not None
    assert data.test.users is not None
    training, held = np.bincount(data.train.users), np.bincount(data.test.users)
    assert (training + held).tolist() == kept
    assert training.min() >= 1
    assert all(count == 1 or abs(count - total / 10) <= 0.5 for count, total in zip(held, kept, strict=True))


def test_a_folder_is_searched_for_its_one_parquet_file(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="0 parquet files found, one with the columns user, play, seq, text expected"):
        shakespeare.read(tmp_path)
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "x.parquet", [("u", "p", 0, letters(200))])
    (tmp_path / "tinyshakespeare.txt.gz").write_bytes(b"not read")
    lines: list[str] = []
    assert len(shakespeare.read(tmp_path, lines.append).train) == 1
    assert lines == [
        f"read from {tmp_path}: 'deep/x.parquet'",
        "speeches of 1 users read",
        "1 users with at least two windows kept",
    ]
    write(tmp_path / "deep" / "x (1).parquet", [("u", "p", 0, letters(200))])
    assert len(shakespeare.read(tmp_path, lines.append).train) == 1
    assert lines[-4] == "'deep/x (1).parquet': the same bytes as 'deep/x.parquet', not read"
    write(tmp_path / "y.parquet", [("u", "p", 0, letters(201))])
    with pytest.raises(BenchError, match="3 parquet files found"):
        shakespeare.read(tmp_path)


@pytest.mark.parametrize("character", ["\t", "\r", "é", "\x7f", "\u2019", "\x00"])
def test_unknown_characters_are_refused_with_their_row(character: str, tmp_path: Path) -> None:
    speeches = [("b", "p", 1, letters(200)), ("a", "p", 0, letters(200)), ("a", "p", 2, f"Caf{character}")]
    with pytest.raises(BenchError, match="row 2: unknown character") as caught:
        shakespeare.read(write(tmp_path / "x.parquet", speeches))
    assert repr(character) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no user has two windows, at least 161 characters of one user expected"):
        shakespeare.read(write(tmp_path / "x.parquet", [("a", "p", 0, letters(160)), ("b", "p", 1, letters(160))]))


@pytest.mark.parametrize("column", ["user", "play", "seq", "text"])
def test_missing_columns_and_wrong_kinds_are_named(column: str, tmp_path: Path) -> None:
    whole = parquet.read_table(write(tmp_path / "x.parquet", [("u", "p", 0, letters(200)), ("u", "p", 1, "")]))
    place = whole.column_names.index(column)

    def refusal(table: pyarrow.Table) -> str:
        parquet.write_table(table, tmp_path / "x.parquet")
        with pytest.raises(BenchError) as caught:
            shakespeare.read(tmp_path / "x.parquet")
        return str(caught.value)

    assert f"column {column!r} is missing" in refusal(whole.drop_columns([column]))
    expected = "whole numbers" if column == "seq" else "texts"
    wrong = refusal(whole.set_column(place, column, pyarrow.array([0.5, 1.5])))
    assert f"column {column!r} holds double, {expected} without gaps expected" in wrong
    kind = whole.schema.field(column).type
    gap = refusal(whole.set_column(place, column, pyarrow.array([None, whole[column][1].as_py()], kind)))
    assert f"column {column!r} holds {kind} with 1 empty rows, {expected} without gaps expected" in gap


def test_damaged_files_give_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [("u", "p", row, letters(300 + row)) for row in range(50)])
    content = path.read_bytes()
    for kept in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(BenchError, match=r"x.parquet: cannot be read as parquet") as caught:
            shakespeare.read(path)
        assert "\n" not in str(caught.value)


def test_texts_and_names_that_are_not_utf8_give_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    text = pyarrow.array([b"\xff" * 200]).view(pyarrow.string())
    table = pyarrow.table({"user": ["u"], "play": ["p"], "seq": [0], "text": text})
    parquet.write_table(table, path)
    with pytest.raises(BenchError, match=r"cannot be read as parquet .*UTF8"):
        shakespeare.read(path)
    parquet.write_table(table.append_column("title", [["Hamlet"]]), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"title", b"titl\xff"))
    with pytest.raises(BenchError, match=r"cannot be read as parquet .*utf-8"):
        shakespeare.read(path)


def test_it_cannot_be_fetched_but_says_how_to_get_it() -> None:
    with pytest.raises(BenchError) as caught:
        sources.fetch("shakespeare")
    assert str(caught.value) == (
        "data set 'shakespeare' has no single published file: turn the XML edition at"
        " https://www.ibiblio.org/xml/examples/shakespeare/ into a parquet file with one speech a row in the columns"
        " user, play, seq, text, then run 'python -m bench data import shakespeare PATH'"
    )


def test_the_real_file() -> None:
    file = REAL_DATA / "shakespeare" / "shakespeare_speeches.parquet"
    if not file.exists():
        pytest.skip(f"no real data at {file} (set BENCH_REAL_DATA to its folder)")
    data = sources.import_path("shakespeare", file.parent)
    assert sources.import_path("shakespeare", file).fingerprint == data.fingerprint
    assert sources.load("shakespeare").title == "Shakespeare by role"
    # An account of its own, by pandas.
    speeches = pd.read_parquet(file).sort_values(["play", "seq"])
    texts = speeches.groupby("user").text.agg("\n".join).sort_index()
    assert len(texts) == 1390
    kept = texts[texts.str.len() > 160]
    assert len(kept) == 1067
    assert data.train.users is not None
    assert data.test.users is not None
    for users in (data.train.users, data.test.users):
        np.testing.assert_array_equal(np.unique(users), np.arange(len(kept)))
    assert len(data.train) + len(data.test) == sum((len(text) - 1) // 80 for text in kept)
    hamlet = kept.index.tolist().index("hamlet|HAMLET")
    windows = decoded(data.train, hamlet) + decoded(data.test, hamlet)
    text = "".join(window for window, _ in windows) + windows[-1][1]
    assert texts["hamlet|HAMLET"].startswith(text)
    assert len(texts["hamlet|HAMLET"]) - len(text) < 80
    assert "To be, or not to be: that is the question:\n" in text
