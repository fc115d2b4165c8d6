"""A NumPy archive of the user's own: every form that is taken exactly, and the sentence for each that is not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import CommandLine

from bench.data import sources
from bench.data.dataset import Dataset
from bench.errors import BenchError

PIXELS = np.random.default_rng(1).integers(0, 256, (12, 3, 5, 4), dtype=np.uint8)
PIXELS[0, :, 0, 0], PIXELS[9, :, 0, 0] = 0, 255
GREY = np.random.default_rng(2).integers(0, 256, (12, 5, 4), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def arrays(pixels: np.ndarray = PIXELS, labels: np.ndarray = LABELS, **others: Any) -> dict[str, Any]:
    given = {"x_train": pixels[:9], "y_train": labels[:9], "x_test": pixels[9:], "y_test": labels[9:], **others}
    return {name: array for name, array in given.items() if array is not None}


def imported(folder: Path, given: dict[str, Any], lines: list[str] | None = None) -> Dataset:
    np.savez(folder / "mine.npz", **given)
    return sources.import_own("mine", folder / "mine.npz", "npz", None if lines is None else lines.append)


def assert_holds(dataset: Dataset, pixels: np.ndarray) -> None:
    both = np.concatenate([dataset.train.inputs, dataset.test.inputs])
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both, pixels)
    np.testing.assert_array_equal(dataset.train.labels, LABELS[:9])
    np.testing.assert_array_equal(dataset.test.labels, LABELS[9:])


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
def test_arrays_are_taken_in_their_order(pack: Any, tmp_path: Path) -> None:
    pack(tmp_path / "a.npz", **arrays())
    dataset = sources.import_own("mine", tmp_path / "a.npz", "npz")
    assert_holds(dataset, PIXELS)
    assert (dataset.name, dataset.classes, dataset.class_names) == ("mine", 3, ("0", "1", "2"))
    assert dataset.train.users is None and dataset.statistics is not None
    assert sources.verify("mine").fingerprint == dataset.fingerprint


def test_channels_are_found_in_front_and_behind(tmp_path: Path) -> None:
    first = imported(tmp_path, arrays()).fingerprint
    assert imported(tmp_path, arrays(np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1)))).fingerprint == first
    assert imported(tmp_path, arrays(np.asfortranarray(PIXELS))).fingerprint == first
    grey = imported(tmp_path, arrays(GREY))
    assert_holds(grey, GREY[:, None])
    assert imported(tmp_path, arrays(GREY[:, None])).fingerprint == grey.fingerprint
    assert imported(tmp_path, arrays(GREY[..., None])).fingerprint == grey.fingerprint


EVERY = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(12, axis=0)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int64, np.uint16, np.float16, np.float32, np.float64])
def test_whole_numbers_of_any_type_are_taken(kind: Any, tmp_path: Path) -> None:
    pixels = EVERY // 2 if kind is np.int8 else EVERY
    assert_holds(imported(tmp_path, arrays(pixels.astype(kind))), pixels)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("way", ["divided", "multiplied", "divided in double"])
def test_every_fraction_of_255_is_taken_in_each_type(kind: Any, way: str, tmp_path: Path) -> None:
    ways = {
        "divided": EVERY.astype(kind) / kind(255),
        "multiplied": EVERY.astype(kind) * (kind(1) / kind(255)),
        "divided in double": (EVERY / 255).astype(kind),
    }
    assert ways[way].dtype == kind
    assert_holds(imported(tmp_path, arrays(ways[way])), EVERY)


def test_two_values_are_black_and_white_where_they_are_truth_or_fractions(tmp_path: Path) -> None:
    truth = GREY[:, None] > 100
    white = truth.astype(np.uint8) * 255
    assert_holds(imported(tmp_path, arrays(truth)), white)
    assert_holds(imported(tmp_path, arrays(truth.astype(np.float32))), white)
    assert_holds(imported(tmp_path, arrays(truth.astype(np.int32))), truth.astype(np.uint8))


def test_both_splits_are_on_one_scale(tmp_path: Path) -> None:
    black = np.zeros((12, 1, 5, 4), np.float32)
    black[9] = 255
    np.testing.assert_array_equal(imported(tmp_path, arrays(black)).test.inputs[:1], np.full((1, 1, 5, 4), 255))
    black[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(imported(tmp_path, arrays(black)).train.inputs[0, 0, 0], [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array([7, -2, 100])[LABELS], ("-2", "7", "100")),
        (np.array([7, -2, 100], np.int8)[LABELS][:, None], ("-2", "7", "100")),
        (np.array(["dog", "Ant", "cat"])[LABELS], ("Ant", "cat", "dog")),
        (np.array([b"dog", b"ant", "é".encode()])[LABELS], ("ant", "dog", "é")),
        (np.array(["10", "9", "1"])[LABELS], ("1", "9", "10")),
        (np.array([2**64 - 1, 5, 2**63], np.uint64)[LABELS], ("5", str(2**63), str(2**64 - 1))),
        (LABELS > 0, ("0", "1")),
    ],
)
def test_labels_of_any_kind_are_numbered_in_their_order(
    labels: np.ndarray, names: tuple[str, ...], tmp_path: Path
) -> None:
    dataset = imported(tmp_path, arrays(labels=labels))
    assert dataset.class_names == names
    given = labels.reshape(-1)
    texts = [
        word.decode() if isinstance(word, bytes) else str(int(word) if given.dtype == bool else word) for word in given
    ]
    numbers = [*dataset.train.labels, *dataset.test.labels]
    assert [names[number] for number in numbers] == texts


@pytest.mark.parametrize("users", [np.array([30, 4, 4, 30, 5, 5, 5, 30, 4]), np.array(list("caacbbbca"))])
def test_users_are_numbered_alike_in_both_splits(users: np.ndarray, tmp_path: Path) -> None:
    both = imported(tmp_path, arrays(users=users, users_test=users[[4, 4, 0]]))
    assert both.train.users is not None and both.test.users is not None
    assert both.train.users.tolist() == [2, 0, 0, 2, 1, 1, 1, 2, 0] and both.test.users.tolist() == [1, 1, 2]
    assert both.train.users.dtype == np.int32
    alone = imported(tmp_path, arrays(users=users))
    assert alone.train.users is not None and alone.test.users is None
    assert alone.fingerprint != both.fingerprint


def objects() -> np.ndarray:
    """Labels as pandas gives them, which are pickled."""
    return np.array(["a", "b", "c"] * 4, dtype=object)


def odd(value: float, kind: Any) -> np.ndarray:
    pixels = PIXELS.astype(kind)
    pixels[2, 1, 3, 0] = value
    return pixels


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "missing": (arrays(y_test=None, y_tset=LABELS[9:]), "'y_test' is missing; did you mean 'y_tset'"),
    "objects": (arrays(labels=objects()), r"y_train: it holds Python objects, which are never unpacked .*astype"),
    "object pixels": (arrays(PIXELS.astype(object)), "x_train: it holds Python objects"),
    "half": (arrays(odd(0.5, np.float32)), "x_train: the value 0.5 is no pixel; allowed: uint8, whole numbers"),
    "no fraction": (arrays(odd(25.6, np.float32) / 255), r"x_train: the value 0\.1003\d* is no pixel"),
    "normalised": (arrays(PIXELS / 127.5 - 1), r"x_train: values from -1\.0 to \d"),
    "too large": (arrays(odd(256, np.int64)), r"x_train: values from 0 to 256; allowed"),
    "negative": (arrays(odd(-1, np.int16)), r"x_train: values from -1 to 255; allowed"),
    "not a number": (arrays(odd(np.nan, np.float64)), "x_train: it holds nan, which is no pixel; allowed: uint8"),
    "infinite": (arrays(odd(np.inf, np.float64)), r"x_train: values from 0\.0 to inf"),
    "complex": (arrays(PIXELS.astype(complex)), "x_train: values of the type complex128"),
    "flat": (arrays(PIXELS.reshape(12, -1)), r"x_train: an array of 9 x 60; images x height x width expected"),
    "channels": (arrays(PIXELS[:, [0, 1]]), "an array of 9 x 2 x 5 x 4 has no axis of 1 or 3 channels"),
    "two ways": (arrays(PIXELS[..., :3]), "an array of 9 x 3 x 5 x 3 may have its channels in front or behind"),
    "large": (arrays(np.zeros((12, 1025, 1024), np.uint8)), "images of 1025 x 1024 pixels, allowed: 1 to 1,048,576"),
    "no pixels": (arrays(PIXELS[..., :0]), "images of 5 x 0 pixels"),
    "nothing": (arrays(x_train=PIXELS[:0], y_train=LABELS[:0]), "x_train: an array of 0 x 3 x 5 x 4; images x"),
    "no test": (arrays(x_test=PIXELS[:0], y_test=LABELS[:0]), "x_test: an array of 0 x 3 x 5 x 4; images x"),
    "other images": (arrays(x_test=PIXELS[9:, :, :4]), "hold images of 3 x 5 x 4 and 3 x 4 x 4, the same expected"),
    "fewer labels": (arrays(y_train=LABELS[:8]), "y_train: 8 labels for 9 images, one for each expected"),
    "one-hot": (
        arrays(y_train=np.eye(3)[LABELS[:9]]),
        r"y_train: an array of 9 x 3, one .*\.argmax\(1\) makes numbers",
    ),
    "float labels": (
        arrays(labels=LABELS.astype(float)),
        "y_train: labels of the type float64; allowed: whole numbers",
    ),
    "two kinds": (arrays(y_test=np.array(["0", "1", "2"])), "hold strings and whole numbers, one kind"),
    "one class": (arrays(labels=LABELS * 0), "one class alone, '0'; two at least expected"),
    "a class tested only": (arrays(y_test=np.array([0, 1, 5])), "class '5' has test samples and no training sample"),
    "latin": (arrays(labels=np.array([b"a", b"\xe4", b"c"])[LABELS]), "y_train: labels in another encoding than UTF-8"),
    "users of the test split alone": (arrays(users_test=LABELS[9:]), "'users_test' without 'users'"),
    "fewer users": (arrays(users=LABELS[:5]), "users: 5 labels for 9 images"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays_are_one_sentence(name: str, tmp_path: Path) -> None:
    given, words = WRONG[name]
    with pytest.raises(BenchError, match=words) as caught:
        imported(tmp_path, given)
    assert str(caught.value).startswith(str(tmp_path / "mine.npz")) and "\n" not in str(caught.value)
    assert not any(row.name == "mine" for row in sources.available())


def test_what_is_pickled_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    with pytest.raises(BenchError, match="never unpacked since that may run code"):
        imported(tmp_path, arrays(y_train=np.array([Trap()] * 9, dtype=object)))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("damage", ["cut off", "an array cut off", "words", "a single array", "a folder"])
def test_what_is_no_whole_archive_is_one_sentence(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-300])
    elif damage == "an array cut off":
        file = io.BytesIO()
        np.save(file, PIXELS[:9])
        with zipfile.ZipFile(path, "w") as packed:
            for name, array in arrays().items():
                whole = io.BytesIO()
                np.save(whole, array)
                packed.writestr(f"{name}.npy", whole.getvalue()[: -5 if name == "x_test" else None])
    elif damage == "words":
        path.write_bytes(b"words")
    elif damage == "a single array":
        np.save(tmp_path / "mine.npy", PIXELS)
        path = tmp_path / "mine.npy"
    else:
        path = tmp_path
    with pytest.raises(
        BenchError, match=r"cut off or damaged|cannot be read as an array|it is no NumPy archive"
    ) as caught:
        sources.import_own("mine", path, "npz")
    assert "\n" not in str(caught.value)


def test_what_else_lies_there_and_a_sorted_test_split_are_said(tmp_path: Path) -> None:
    lines: list[str] = []
    imported(tmp_path, arrays(y_test=np.array([0, 1, 2]), x_validation=PIXELS), lines)
    assert "not read: 'x_validation.npy'" in lines
    assert any(line.startswith("the test samples are sorted by class: a model that normalises") for line in lines)
    lines.clear()
    imported(tmp_path, arrays(y_test=np.array([1, 0, 2]), users=LABELS[:9]), lines)
    assert not any("sorted" in line or "not read" in line for line in lines)
    assert lines[-1] == "a task of it says: images = Images(3, 3, 5, 4, users=3)"


def test_the_command_imports_an_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    done = CommandLine(monkeypatch, capsys)("data", "import", "mine", tmp_path / "a.npz", "--as", "npz")
    assert done.code == 0 and "mine: 9 training and 3 test samples are ready" in done.out
