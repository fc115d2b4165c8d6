"""The decoded cache: what goes in comes out, damage is found, and writers do not disturb each other."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE_S

from bench.data import cache
from bench.data.dataset import Dataset, Split
from bench.errors import BenchError


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def example(seed: int = 0, users: bool = True, rows: int = 40) -> tuple[Split, Split]:
    rng = np.random.default_rng(seed)

    def split(n: int) -> Split:
        inputs = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
        labels = rng.integers(0, 10, n)
        return Split(inputs, labels, rng.integers(0, 5, n).astype(np.int32) if users else None)

    return split(rows), split(rows // 4)


def write(name: str = "demo", seed: int = 0, users: bool = True) -> Dataset:
    train, test = example(seed, users)
    return cache.write(name, train, test, title="Demo", classes=10, source="made for a test")


@pytest.mark.parametrize("users", [True, False])
def test_what_is_written_is_read(users: bool) -> None:
    train, test = example(users=users)
    written = write(users=users)
    again = cache.read("demo", verify=True)
    for split, original in ((again.train, train), (again.test, test)):
        np.testing.assert_array_equal(split.inputs, original.inputs)
        np.testing.assert_array_equal(split.labels, original.labels)
        assert (split.users is None) == (original.users is None)
        if original.users is not None:
            np.testing.assert_array_equal(split.users, original.users)
    assert isinstance(again.train.inputs, np.memmap)
    assert not again.train.inputs.flags.writeable
    assert (again.name, again.title, again.classes, again.stand_in) == ("demo", "Demo", 10, False)
    assert written.fingerprint == again.fingerprint == cache.fingerprint(train, test)


def test_fingerprint_is_the_hash_of_names_types_shapes_and_bytes() -> None:
    train, test = example(users=False)
    digest = hashlib.sha256()
    for name, array, kind in (
        ("train_inputs", train.inputs, "|u1"),
        ("train_labels", train.labels, "<i8"),
        ("test_inputs", test.inputs, "|u1"),
        ("test_labels", test.labels, "<i8"),
    ):
        digest.update(f"{name} {kind} {array.shape}\n".encode() + array.tobytes())
    assert cache.fingerprint(train, test) == digest.hexdigest()


def test_fingerprint_depends_on_the_data_alone() -> None:
    first = write("one").fingerprint
    assert first == write("two").fingerprint
    assert first != write("three", seed=1).fingerprint
    assert first != write("four", users=False).fingerprint
    train, test = example()
    not_contiguous = Split(np.asfortranarray(train.inputs), train.labels, train.users)
    assert cache.fingerprint(not_contiguous, test) == first


def test_stand_ins_lie_one_folder_deeper(cache_root: Path) -> None:
    train, test = example()
    dataset = cache.write(
        "standin/demo-40-10", train, test, title="stand-in data", classes=10, stand_in=True, dataset_name="demo"
    )
    assert (cache_root / "standin" / "demo-40-10" / "manifest.json").exists()
    assert dataset.stand_in
    assert dataset.name == "demo"
    assert cache.exists("standin/demo-40-10")
    assert not cache.exists("demo")


@pytest.mark.parametrize("name", ["../escape", "/etc", "a/b/c", ".hidden", "a/..", "", "a\n"])
def test_names_that_leave_the_cache_are_refused(name: str) -> None:
    with pytest.raises(BenchError, match="data set name"):
        cache.folder(name)


def test_missing_data_set_is_named() -> None:
    assert not cache.exists("demo")
    with pytest.raises(BenchError, match="'demo' is not in the data cache"):
        cache.read("demo")


def test_labels_outside_the_classes_are_refused() -> None:
    train, test = example()
    with pytest.raises(BenchError, match=r"label 9 in train, allowed: 0 to 8"):
        cache.write("demo", Split(train.inputs, np.full(len(train), 9)), test, title="", classes=9)
    with pytest.raises(BenchError, match=r"test arrays have \[9, 10\] rows"):
        cache.write("demo", train, Split(test.inputs, test.labels[:9]), title="", classes=10)
    assert not cache.exists("demo")


def visible_and_hidden(place: Path) -> list[str]:
    return [entry.name for entry in place.iterdir() if entry.name != ".lock"]


def array_names() -> list[str]:
    return [f"{half}_{field}" for half in ("train", "test") for field in ("inputs", "labels", "users")]


@pytest.mark.parametrize("array", array_names())
def test_truncation_is_found_at_once(array: str, cache_root: Path) -> None:
    write()
    path = cache_root / "demo" / f"{array}.npy"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BenchError, match=rf"damaged: {array}.npy has \d+ bytes, \d+ expected; fetch or import"):
        cache.read("demo")


@pytest.mark.parametrize("array", array_names())
def test_every_flipped_byte_is_found_by_hashing(array: str, cache_root: Path) -> None:
    write()
    path = cache_root / "demo" / f"{array}.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x10
    path.write_bytes(content)
    cache.read("demo")
    with pytest.raises(BenchError, match=f"{array}.npy does not have the SHA-256"):
        cache.read("demo", verify=True)


def test_a_forged_manifest_does_not_pass_the_hashing(cache_root: Path) -> None:
    write()
    path = cache_root / "demo" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "fingerprint": "0" * 64}))
    with pytest.raises(BenchError, match="do not have the fingerprint"):
        cache.read("demo", verify=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "'format' is missing in manifest.json"),
        ('{"format": 99}', "format 99 in manifest.json, 1 expected"),
        ('{"format": 1, "arrays": {"train_inputs": 3}}', "damaged"),
        ('{"format": 1, "arrays": {}, "name": "", "title": ""}', "'train_inputs' is missing"),
    ],
)
def test_damaged_manifests_give_one_sentence(content: str, problem: str, cache_root: Path) -> None:
    write()
    (cache_root / "demo" / "manifest.json").write_text(content)
    with pytest.raises(BenchError, match=problem) as caught:
        cache.read("demo")
    assert "\n" not in str(caught.value)


def test_missing_files_and_foreign_arrays_are_found(cache_root: Path) -> None:
    write()
    labels = cache_root / "demo" / "test_labels.npy"
    np.save(labels, np.load(labels).view(np.float64))
    with pytest.raises(BenchError, match=r"test_labels.npy holds <f8 \[10\], <i8 \[10\] expected"):
        cache.read("demo")
    labels.unlink()
    with pytest.raises(BenchError, match=r"test_labels.npy is missing"):
        cache.read("demo")


def test_writing_again_mends_damage_and_replaces_other_data(cache_root: Path) -> None:
    good = write()
    path = cache_root / "demo" / "train_inputs.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert write().fingerprint == cache.read("demo", verify=True).fingerprint == good.fingerprint
    assert write(seed=1).fingerprint == cache.read("demo", verify=True).fingerprint != good.fingerprint
    assert visible_and_hidden(cache_root) == ["demo"]


def test_the_same_data_in_place_is_kept(cache_root: Path) -> None:
    write()
    before = (cache_root / "demo" / "manifest.json").stat().st_ino
    write()
    assert (cache_root / "demo" / "manifest.json").stat().st_ino == before


def test_replaced_data_stays_valid_for_those_who_map_it() -> None:
    old = write()
    expected = example()[0].inputs
    write(seed=1)
    np.testing.assert_array_equal(old.train.inputs, expected)


def test_a_write_that_fails_half_way_leaves_the_old_data(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = write()
    save = np.save

    def full_disk(path: Path, array: np.ndarray, allow_pickle: bool) -> None:
        if path.name == "test_labels.npy":
            raise OSError(28, "No space left on device")
        save(path, array, allow_pickle=allow_pickle)

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.raises(BenchError, match=r"cannot be written \(No space left on device\)"):
        write(seed=1)
    with pytest.raises(BenchError):
        write("other")
    assert cache.read("demo", verify=True).fingerprint == good.fingerprint
    assert visible_and_hidden(cache_root) == ["demo"]


def test_a_place_that_cannot_be_written_gives_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "file"))
    with pytest.raises(BenchError, match="cannot be written"):
        write()
    assert not cache.exists("demo")


WRITER = """
import sys
import numpy as np
from bench.data import cache
from bench.data.dataset import Split
split = Split(np.full((500, 3, 8, 8), int(sys.argv[1]), np.uint8), np.zeros(500, np.int64))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(15):
    dataset = cache.write("demo", split, split, title="Demo", classes=10)
    assert dataset.train.inputs.min() == dataset.train.inputs.max()
"""


@pytest.mark.parametrize("values", [(1, 1, 1), (1, 2, 3)], ids=["same data", "other data"])
def test_writers_at_the_same_time_leave_one_whole_data_set(values: tuple[int, ...], cache_root: Path) -> None:
    repository = Path(__file__).resolve().parents[2]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(value)],
            cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for value in values
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        _, errors = writer.communicate("go\n", timeout=PATIENCE_S)
        assert writer.returncode == 0, errors
    found = np.unique(cache.read("demo", verify=True).train.inputs)
    assert len(found) == 1
    assert found[0] in values
    assert visible_and_hidden(cache_root) == ["demo"]


class Code:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("form", ["an array of objects", "a pickle"])
def test_no_code_is_run_when_a_planted_array_is_read(form: str, cache_root: Path, tmp_path: Path) -> None:
    """Whoever may write to a shared cache may falsify data there, but runs nothing in the name of those who read it."""
    write()
    path, manifest = cache_root / "demo" / "train_labels.npy", cache_root / "demo" / "manifest.json"
    code = Code(tmp_path / "mark")
    if form == "a pickle":
        path.write_bytes(pickle.dumps(code))
    else:
        np.save(path, np.array([code], dtype=object), allow_pickle=True)
    facts = json.loads(manifest.read_text())
    facts["arrays"]["train_labels"] |= {"file_bytes": path.stat().st_size, "dtype": "|O", "shape": [1]}
    manifest.write_text(json.dumps(facts))
    with pytest.raises(BenchError, match="is damaged"):
        cache.read("demo")
    assert not code.mark.exists()
    np.load(path, allow_pickle=True)
    assert code.mark.exists()  # it would have run
