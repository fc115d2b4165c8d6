"""Shakespeare by role: windows of 80 characters and the character that follows, with speaking roles as natural users.

Source: the plays in the XML mark-up of J. Bosak, https://www.ibiblio.org/xml/examples/shakespeare/, as a table of
speeches. The shape of the task is that of S. Caldas et al., LEAF: A Benchmark for Federated Settings,
arXiv:1812.01097, whose own text is another edition: results on this one are not LEAF's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data import tables
from bench.data.dataset import Split
from bench.data.imported import Imported
from bench.data.tree import Tree
from bench.errors import BenchError

if TYPE_CHECKING:
    import pyarrow

PAGE = "https://www.ibiblio.org/xml/examples/shakespeare/"
COLUMNS = ("user", "play", "seq", "text")
CHARACTERS = "\n" + "".join(map(chr, range(ord(" "), ord("~") + 1)))  # a character's id is its position here
WINDOW = 80
TEST_SHARE = 0.1
_ID_OF_CODE = np.zeros(128, dtype=np.int16)
_ID_OF_CODE[[ord(character) for character in CHARACTERS]] = np.arange(len(CHARACTERS))
_UNKNOWN = re.compile(r"[^\n -~]")


def read(path: Path, progress: Callable[[str], None] | None = None) -> Imported:
    """Cut each user's text into windows of character ids, int16 ``[n, 80]``; the label is the id of the next character.

    A user's text is the user's speeches in the order of (play, seq), joined by newlines. Windows do not overlap: a new
    one starts every 80 characters, which keeps the arrays small, and the last 1 to 80 characters of a text are in no
    window (the first of them is the last label). The last 10 % of the windows of every user (rounded, at least one)
    are the test split. Users with fewer than two windows cannot be divided and are left out; the others are numbered
    in the order of their ids, the same in both splits.

    Id 0 is the newline, ids 1 to 95 are the printable ASCII characters from the space to the tilde in their order.

    Args:
        path: a parquet file of speeches, one a row, columns ``user``, ``play`` and ``text`` (texts) and ``seq`` (whole
            number, the place of the speech in the play), or a folder or archive with this one parquet file in it.
        progress: called with lines for people.

    Raises:
        BenchError: there is no such file or more than one, it is damaged, lacks a column or has empty cells, a text has
            an unknown character (the row is named), or no user has two windows.
    """
    report = progress or (lambda line: None)
    tree = Tree(path)
    [(place, file)] = tree.tables([_speech_file(tree, report)])
    texts = _texts(place, file)
    report(f"speeches of {len(texts)} users read")
    windows_of_users = [_windows(text) for text in texts.values()]
    kept = [(inputs, labels) for inputs, labels in windows_of_users if len(labels) >= 2]
    if not kept:
        raise BenchError(f"{place}: no user has two windows, at least {2 * WINDOW + 1} characters of one user expected")
    report(f"{len(kept)} users with at least two windows kept")
    train, test = _divide(kept)
    return Imported(train, test, "Shakespeare by role", len(CHARACTERS), f"parquet, {path}")


def _speech_file(tree: Tree, report: Callable[[str], None]) -> str:
    names = [name for name in tree.sizes if tree.one_file or name.lower().endswith(".parquet")]
    name, copies = tree.alike(names) if names else ("", [])
    if not names or len(copies) + 1 < len(names):
        raise BenchError(
            f"{tree.path}: {len(names)} parquet files found, one with the columns {', '.join(COLUMNS)} expected;"
            f" {tree.holds()}"
        )
    if copies:
        report(f"{tree.few(copies)}: the same bytes as {name!r}, not read")
    report(f"read from {tree.path}: {name!r}")
    return name


def _texts(place: str, file: Path | bytes) -> dict[str, str]:
    """Return the whole text of each user, in the order of the users' ids."""
    columns = _columns(place, file)
    for row, text in enumerate(columns["text"]):
        if unknown := _UNKNOWN.search(text):
            raise BenchError(
                f"{place}, row {row}: unknown character {unknown[0]!r} in column 'text',"
                " allowed: printable ASCII and the newline"
            )
    speeches = sorted(zip(*columns.values(), strict=True), key=itemgetter(0, 1, 2))
    return {user: "\n".join(text for *_, text in group) for user, group in groupby(speeches, key=itemgetter(0))}


def _columns(place: str, file: Path | bytes) -> dict[str, list[Any]]:
    """Return the columns as lists, in the order of COLUMNS; every error of the format becomes one sentence."""
    rows: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    for _, batch in tables.batches(place, file, COLUMNS):
        for column in COLUMNS:
            _check_kind(batch.column(column), column, place)
            rows[column] += batch.column(column).to_pylist()
    return rows


def _check_kind(cells: pyarrow.Array, column: str, place: str) -> None:
    from pyarrow import types

    if column == "seq":
        fits, expected = types.is_integer(cells.type), "whole numbers"
    else:
        fits, expected = types.is_string(cells.type) or types.is_large_string(cells.type), "texts"
    if not fits or cells.null_count:
        kind = f"{cells.type} with {cells.null_count} empty rows" if cells.null_count else cells.type
        raise BenchError(f"{place}: column {column!r} holds {kind}, {expected} without gaps expected")


def _windows(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows of a text, int16 ``[n, 80]``, and the ids of the characters after them, int64 ``[n]``."""
    ids = _ID_OF_CODE[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]
    labels = ids[WINDOW::WINDOW].astype(np.int64)
    return ids[: WINDOW * len(labels)].reshape(-1, WINDOW), labels


def _divide(windows_of_users: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Split, Split]:
    """Return the training and the test split, where each user's last windows are for testing."""
    counts = [len(labels) for _, labels in windows_of_users]
    in_test = np.concatenate([np.arange(count) >= count - max(round(TEST_SHARE * count), 1) for count in counts])
    inputs = np.concatenate([inputs for inputs, _ in windows_of_users])
    labels = np.concatenate([labels for _, labels in windows_of_users])
    users = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    train, test = (Split(inputs[part], labels[part], users[part]) for part in (~in_test, in_test))
    return train, test
