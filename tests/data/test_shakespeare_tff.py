"""TensorFlow Federated's Shakespeare from small files made here: sequences, users, and files of something else."""

from __future__ import annotations

import re
import sys
import types
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from bench.data import shakespeare_tff
from bench.data.characters import BEGIN, CHARACTERS, END, PADDING, UNKNOWN, VOCABULARY, encode, sequences
from bench.errors import BenchError

ROWS = {
    "train": [("B_X", "To be"), ("A_Y", "x" * 79), ("A_Y", "z" * 80), ("B_X", "")],
    "test": [("A_Y", "or not"), ("B_X", "to\nbe}")],
}


def write(folder: Path, rows: dict[str, list[tuple[str, str]]] = ROWS, **columns: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in rows.items():
        table = {"client": [client for client, _ in pairs], "snippets": [text for _, text in pairs], **columns}
        parquet.write_table(pyarrow.table(table), folder / f"{split}-00000-of-00001.parquet")
    return folder


def test_the_vocabulary_is_the_86_characters_and_four_more() -> None:
    assert (len(set(CHARACTERS)), PADDING, UNKNOWN, BEGIN, END, VOCABULARY) == (86, 0, 87, 88, 89, 90)
    assert encode("d" + "\r").tolist() == [1, 86] and encode("é}").tolist() == [UNKNOWN] * 3
    # By place in the tutorial's list, counted by hand.
    assert [CHARACTERS.index(character) + 1 for character in 'dD aA\n"9'] == [1, 8, 14, 64, 71, 63, 56, 85]


@pytest.mark.parametrize("length", [0, 1, 78, 79, 80, 81, 159, 160, 161, 400])
def test_pieces_against_a_reading_character_by_character(length: int) -> None:
    text = "".join(np.random.default_rng(length).choice(list(CHARACTERS + "}"), length))
    stream = [BEGIN, *(CHARACTERS.index(one) + 1 if one in CHARACTERS else UNKNOWN for one in text), END]
    while len(stream) % 81:
        stream.append(0)
    pieces = [stream[start : start + 81] for start in range(0, len(stream), 81)]
    inputs, labels, counts = sequences([text, "d"])
    assert (inputs.dtype, labels.dtype) == (np.int16, np.int64)
    assert inputs.tolist()[:-1] == [piece[:80] for piece in pieces]
    assert labels.tolist()[:-1] == [piece[1:] for piece in pieces]
    assert counts.tolist() == [len(pieces), 1] and inputs[-1, :4].tolist() == [BEGIN, 1, END, 0]


def test_users_are_the_clients_in_both_splits(tmp_path: Path) -> None:
    lines: list[str] = []
    data = shakespeare_tff.read(write(tmp_path), lines.append, published=False)
    assert (data.title, data.classes) == ("Shakespeare (TFF)", 90)
    # 79 characters fill a piece with beginning and end; 80 leave the end alone in a second piece.
    assert data.train.users is not None and data.train.users.tolist() == [0, 0, 0, 1, 1]
    assert data.test.users is not None and data.test.users.tolist() == [0, 1]
    assert (data.train.labels != PADDING).sum(axis=1).tolist() == [80, 80, 0, 6, 1]
    assert lines[-1] == "5 training and 2 test sequences of 2 roles"


@pytest.mark.parametrize(
    ("rows", "columns", "sentence"),
    [
        ({"train": ROWS["train"]}, {}, "'train-00000-of-00001.parquet' alone, both splits with the columns client and"),
        ({**ROWS, "test": [("C", "x")]}, {}, "client 'C' has test snippets and no training snippet, both expected"),
        ({split: [("A", "x")] for split in ROWS}, {"snippets": [3]}, "column 'snippets' holds int64, texts without"),
        ({split: [("A", "x")] for split in ROWS}, {"client": [None]}, "column 'client' holds null with 1 empty rows"),
        ({split: [] for split in ROWS}, {"client": pyarrow.array([], "string")}, "column 'snippets' holds|no rows"),
    ],
)
def test_other_files_give_one_sentence(
    rows: dict[str, list[tuple[str, str]]], columns: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=sentence):
        shakespeare_tff.read(write(tmp_path, rows, **columns), published=False)


def test_published_numbers_and_the_publishers_own_files(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"4 train snippets of 2 clients, 16,068 of 715 expected"):
        shakespeare_tff.read(write(tmp_path / "few"))
    (tmp_path / "h5").mkdir()
    (tmp_path / "h5" / "shakespeare_train.h5").write_bytes(b"\x89HDF")
    with pytest.raises(BenchError, match=r"HDF5 files are not read here; the lines of docs/tasks-and-data.md"):
        shakespeare_tff.read(tmp_path / "h5")
    with pytest.raises(BenchError, match=r"no train-\*.parquet and test-\*.parquet found"):
        shakespeare_tff.read(write(tmp_path / "none", {}))


def test_the_documented_lines_turn_the_publishers_files_into_these(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """h5py is not among what is installed: what it gives is made here, with clients in the order of their names."""

    @contextmanager
    def opened(name: str) -> Iterator[dict[str, dict[str, dict[str, np.ndarray]]]]:
        texts: dict[str, list[bytes]] = defaultdict(list)
        for client, text in ROWS[name.removeprefix("shakespeare_").removesuffix(".h5")]:
            texts[client].append(text.encode())
        yield {"examples": {client: {"snippets": np.array(own, dtype=object)} for client, own in sorted(texts.items())}}

    document = Path(__file__).resolve().parents[2] / "docs" / "tasks-and-data.md"
    (code,) = re.findall(r"```python\n(import h5py.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType("h5py")
    module.File = opened  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "h5py", module)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "documented", "exec"), {})
    one = shakespeare_tff.read(tmp_path, published=False)
    other = shakespeare_tff.read(write(tmp_path / "written"), published=False)
    np.testing.assert_array_equal(one.train.inputs, other.train.inputs)
    np.testing.assert_array_equal(one.test.labels, other.test.labels)
