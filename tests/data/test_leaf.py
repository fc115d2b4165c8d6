"""LEAF's own JSON of FEMNIST, from small files made here: labels, polarity, writers, splits and what is refused."""

from __future__ import annotations

import io
import json
import string
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from bench.data import cache, femnist
from bench.errors import BenchError

# LEAF's relabel_class maps the hexadecimal ASCII code of a character's folder: "30" to 0, "41" to 10, "61" to 36.
LABEL_OF = {
    character: code - 48 if character.isdigit() else code - 55 if character.isupper() else code - 61
    for character, code in ((c, ord(c)) for c in string.digits + string.ascii_letters)
}


def glyph(character: str, number: int = 0) -> np.ndarray:
    """A picture as NIST's are, uint8 [28, 28]: dark strokes on white, the code of the character in its middle row."""
    picture = np.full((28, 28), 255, np.uint8)
    picture[14, 4:12] = np.unpackbits(np.array([ord(character)], np.uint8)) * 200
    picture[10, 4] = number
    return picture


def code_of(picture: np.ndarray) -> str:
    return chr(int(np.packbits(picture[14, 4:12] == 200)[0]))


def leaf(writers: dict[str, str]) -> dict[str, Any]:
    """LEAF's JSON of writers and the characters they wrote; grey values are divided by 255 as LEAF does."""
    return {
        "users": list(writers),
        "num_samples": [len(text) for text in writers.values()],
        "user_data": {
            writer: {
                "x": [(glyph(c, k) / 255).flatten().tolist() for k, c in enumerate(text)],
                "y": [LABEL_OF[c] for c in text],
            }
            for writer, text in writers.items()
        },
    }


def write(path: Path, writers: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(leaf(writers)))


ALL = string.digits + string.ascii_uppercase + string.ascii_lowercase
TRAIN = [{"f0001_41": ALL, "f0000_14": "zZ9"}, {"f2000_01": "aAbB0"}]
TEST = [{"f0001_41": "q", "f0000_14": "Q"}, {"f2000_01": "7"}]


@pytest.fixture
def split_set(tmp_path: Path) -> Path:
    for split, parts in (("train", TRAIN), ("test", TEST)):
        for number, writers in enumerate(parts):
            write(tmp_path / "data" / split / f"all_data_{number}_niid_05_keep_0_{split}_9.json", writers)
    write(tmp_path / "data" / "all_data" / "all_data_0.json", {"never": "read"})
    return tmp_path / "data"


def test_leaf_labels_polarity_and_writers(split_set: Path) -> None:
    lines: list[str] = []
    data = femnist.read(split_set, lines.append)
    assert data.train.inputs.shape == (70, 1, 28, 28)
    assert data.train.inputs.dtype == np.uint8
    assert (data.title, data.classes) == ("FEMNIST", 62)
    # Each picture says its own character: the labels are digits, capitals, small letters, and the ground is white.
    for split, count in ((data.train, 70), (data.test, 3)):
        assert [femnist.CHARACTERS.names[label] for label in split.labels] == list(map(code_of, split.inputs[:, 0]))
        assert len(split) == count
    np.testing.assert_array_equal(data.train.inputs[:62, 0], [glyph(c, k) for k, c in enumerate(ALL)])
    # Users follow the sorted ids f0000 < f0001 < f2000.
    assert data.train.users is not None
    assert data.test.users is not None
    assert data.train.users.tolist() == [1] * 62 + [0] * 3 + [2] * 5
    assert data.test.users.tolist() == [1, 0, 2]
    assert "'all_data/all_data_0.json': before LEAF's split, not read" in lines
    assert any("train/all_data_0_niid_05_keep_0_train_9.json" in line for line in lines if line.startswith("read from"))


def test_leaf_numbers_all_classes_as_the_other_copies_do() -> None:
    """flwrlabs/femnist and TensorFlow Federated state: 0-9 digits, 10-35 capitals, 36-61 small letters."""
    assert [LABEL_OF[name] for name in femnist.CHARACTERS.names] == list(range(62))
    assert [femnist.CHARACTERS.names[k] for k in (0, 9, 10, 11, 35, 36, 61)] == ["0", "9", "A", "B", "Z", "a", "z"]


def test_before_the_split_every_writer_gives_a_tenth(tmp_path: Path) -> None:
    write(tmp_path / "all_data_0.json", {"w1": ALL})
    write(tmp_path / "all_data_1.json", {"w0": "abcd"})
    data = femnist.read(tmp_path)
    assert (len(data.train), len(data.test)) == (62 + 4 - 7, 7)
    assert data.train.users is not None
    assert np.bincount(data.train.users).tolist() == [3, 56]


def test_archives_and_links_give_the_same(split_set: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz") as tar:
        for path in sorted(split_set.rglob("*.json"), reverse=True):
            tar.add(path, path.relative_to(tmp_path))
    (tmp_path / "linked").mkdir()
    for split in ("train", "test"):
        (tmp_path / "linked" / split).symlink_to(split_set / split)
    read = [femnist.read(place) for place in (split_set, tmp_path / "data.tar.gz", tmp_path / "linked")]
    assert len({cache.fingerprint(data.train, data.test) for data in read}) == 1


def test_parquet_and_leaf_of_the_same_samples_are_the_same(split_set: Path, tmp_path: Path) -> None:
    for split, parts in (("train", TRAIN), ("test", TEST)):
        rows = [(writer, c, k) for part in parts for writer, text in part.items() for k, c in enumerate(text)]
        cells = []
        for _, character, number in rows:
            file = io.BytesIO()
            Image.fromarray(glyph(character, number)).save(file, "PNG")
            cells.append({"bytes": file.getvalue(), "path": None})
        table = {"image": cells, "writer_id": [row[0] for row in rows], "character": [row[1] for row in rows]}
        (tmp_path / "p" / "default" / split).mkdir(parents=True)
        parquet.write_table(pyarrow.table(table), tmp_path / "p" / "default" / split / "0000.parquet")
    one, other = femnist.read(split_set), femnist.read(tmp_path / "p")
    assert cache.fingerprint(one.train, one.test) == cache.fingerprint(other.train, other.test)


def test_light_strokes_on_black_are_turned(split_set: Path, tmp_path: Path) -> None:
    straight = femnist.read(split_set)
    for path in split_set.rglob("train/*.json"):
        data = json.loads(path.read_text())
        for samples in data["user_data"].values():
            samples["x"] = [[(255 - round(255 * value)) / 255 for value in x] for x in samples["x"]]
        path.write_text(json.dumps(data))
    lines: list[str] = []
    turned = femnist.read(split_set, lines.append)
    assert cache.fingerprint(turned.train, turned.test) == cache.fingerprint(straight.train, straight.test)
    assert "training pictures turned from light strokes on black to dark ones on white, as LEAF has them" in lines


def test_digits_alone_stay_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "all_data_0.json", {"w": string.digits})
    data = json.loads((tmp_path / "all_data_0.json").read_text())
    data["user_data"]["w"]["x"] = [[1 - value for value in x] for x in data["user_data"]["w"]["x"]]
    (tmp_path / "all_data_0.json").write_text(json.dumps(data))
    read = femnist.read(tmp_path)
    assert read.title == "digits by NIST writer"
    assert np.median(read.train.inputs) == 0


def test_missing_and_doubled_parts(split_set: Path) -> None:
    second = split_set / "test" / "all_data_1_niid_05_keep_0_test_9.json"
    content = second.read_text()
    second.unlink()
    with pytest.raises(BenchError, match=r"file 1 of LEAF's all_data is in one of train and test only"):
        femnist.read(split_set)
    (split_set / "test" / "all_data_2_niid_05_keep_0_test_9.json").write_text(content)
    with pytest.raises(BenchError, match=r"all_data_1 is missing, numbers from 0 to 2 expected"):
        femnist.read(split_set)


def test_two_samplings_beside_each_other(split_set: Path) -> None:
    write(split_set / "train" / "all_data_0_niid_1_keep_0_train_9.json", {"w": "a"})
    with pytest.raises(BenchError, match=r"are one part of LEAF's data, name the folder of one"):
        femnist.read(split_set)


def test_a_writer_in_two_files(split_set: Path) -> None:
    write(split_set / "train" / "all_data_1_niid_05_keep_0_train_9.json", {"f0001_41": "abc"})
    with pytest.raises(BenchError, match=r"writer 'f0001_41' is in '.*train_9.json' and in '.*train_9.json'"):
        femnist.read(split_set)


def changed(key: str, value: Any) -> str:
    data = leaf({"w": "ab"})
    if key in ("x", "y"):
        data["user_data"]["w"][key] = value
    else:
        data[key] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (json.dumps(leaf({"w": "ab"}))[:-40], r"no JSON of LEAF"),
        ("", "no JSON of LEAF"),
        ("[" * 100_000, "no JSON of LEAF"),
        ("[1]", "no JSON of LEAF"),
        (json.dumps({"users": ["w"]}), r"no JSON of LEAF \('user_data' is missing\)"),
        (changed("users", ["v"]), "not of the same writers"),
        (changed("num_samples", [3]), "writer 'w': 2 pictures, not as many as 'num_samples' says"),
        (changed("y", [10, 62]), "labels from 10 to 62, 0 to 61 expected"),
        (changed("y", [1]), "writer 'w': not 784 numbers a picture"),
        (changed("y", [1.5, 2]), "writer 'w': not 784 numbers a picture"),
        (changed("x", [[0.5] * 783] * 2), "writer 'w': not 784 numbers a picture"),
        (changed("x", [["a"] * 784] * 2), "writer 'w': not 784 numbers a picture"),
        (changed("x", [[255] * 784] * 2), r"grey values from 255.0 to 255.0, 0 to 1 expected"),
        (changed("x", [[float("nan")] * 784] * 2), "nan among the grey values, 0 to 1 expected"),
    ],
)
def test_damaged_files_are_one_sentence(content: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "all_data_0.json").write_text(content)
    with pytest.raises(BenchError, match=problem) as caught:
        femnist.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_named_file_alone(split_set: Path) -> None:
    data = femnist.read(split_set / "train" / "all_data_0_niid_05_keep_0_train_9.json")
    assert len(data.train) + len(data.test) == 65
