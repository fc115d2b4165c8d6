"""Images by class of the user's own: what is read, how it is split and numbered, and the sentence for each mistake."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pictures import by_class, of_classes, picture, save
from PIL import Image
from tiny import CommandLine

from bench.data import cache, own, sources
from bench.data.dataset import Dataset, Statistics
from bench.data.statistics import statistics_of
from bench.errors import BenchError


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.setenv("COLUMNS", "300")
    return CommandLine(monkeypatch, capsys)


def imported(path: Path, lines: list[str] | None = None, test_share: float | None = None) -> Dataset:
    return sources.import_own("mine", path, "images", None if lines is None else lines.append, test_share)


def held(dataset: Dataset) -> dict[str, set[tuple[str, bytes]]]:
    """Return class name and pixels of every sample of each split."""
    splits = {"train": dataset.train, "test": dataset.test}
    return {
        name: {(dataset.class_names[label], image.tobytes()) for image, label in zip(*samples, strict=True)}
        for name, split in splits.items()
        for samples in [(split.inputs, split.labels)]
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_each_picture_is_there_once_under_its_class(channels: int, tmp_path: Path) -> None:
    by_class(tmp_path / "d", channels=channels)
    dataset = imported(tmp_path / "d")
    expected: dict[str, set[tuple[str, bytes]]] = {"train": set(), "test": set()}
    for path, pixels in of_classes(tmp_path / "d", ("cat", "dog"), (5, 2), channels):
        expected[path.parts[-3]].add((path.parent.name, pixels.tobytes()))
    assert held(dataset) == expected
    assert dataset.train.inputs.shape == (10, channels, 8, 6) and dataset.test.inputs.shape == (4, channels, 8, 6)
    assert (dataset.name, dataset.title, dataset.classes, dataset.stand_in) == ("mine", "mine", 2, False)
    assert dataset.class_names == ("cat", "dog") and dataset.train.users is None


def test_the_order_is_that_of_the_pixels_whatever_files_and_folders_are_called(tmp_path: Path) -> None:
    first = imported(by_class(tmp_path / "d"))
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in first.train.inputs]
    assert digests == sorted(digests)
    renamed = tmp_path / "top" / "renamed"
    for number, path in enumerate(sorted((tmp_path / "d").glob("*/*/*"), reverse=True)):
        target = renamed / path.parts[-3].upper() / path.parts[-2] / f"x{number}.PNG"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    assert imported(renamed.parent).fingerprint == first.fingerprint
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as packed:
        for path in renamed.glob("*/*/*"):
            packed.write(path, path.relative_to(renamed.parent))
    assert imported(tmp_path / "d.zip").fingerprint == first.fingerprint
    assert sources.verify("mine").fingerprint == first.fingerprint


def test_classes_are_numbered_in_the_order_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = os.walk

    def backwards(*given: object, **options: object) -> object:
        for parent, folders, files in walk(*given, **options):  # type: ignore[call-overload]
            yield parent, folders, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert imported(by_class(tmp_path / "words", ("b", "Z", "a", "é"))).class_names == ("Z", "a", "b", "é")
    assert imported(by_class(tmp_path / "numbers", ("10", "9", "-1", "0"))).class_names == ("-1", "0", "9", "10")
    assert imported(by_class(tmp_path / "mixed", ("10", "9", "x"))).class_names == ("10", "9", "x")
    with pytest.raises(
        BenchError, match=r"the labels '1' and '01' are one number|the labels '01' and '1' are one number"
    ):
        imported(by_class(tmp_path / "twice", ("1", "01")))


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path, cache_root: Path) -> None:
    dataset = imported(by_class(tmp_path / "d"))
    assert dataset.statistics is not None
    for channel in range(3):
        values = [Fraction(int(value), 255) for value in np.asarray(dataset.train.inputs)[:, channel].reshape(-1)]
        mean = sum(values) / len(values)
        assert dataset.statistics.mean[channel] == float(mean)
        variance = sum((value - mean) ** 2 for value in values) / len(values)
        assert dataset.statistics.deviation[channel] == pytest.approx(float(variance) ** 0.5, rel=1e-15)
    manifest = json.loads((cache_root / "mine" / "manifest.json").read_text())
    manifest["statistics"]["mean"][0] += 1e-9
    (cache_root / "mine" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BenchError, match="the mean and deviation of the manifest are not those of the training images"):
        sources.load("mine")
    assert imported(tmp_path / "d").statistics == dataset.statistics == sources.load("mine").statistics


def test_a_channel_of_one_colour_can_be_divided_by_its_deviation() -> None:
    assert statistics_of(np.full((3, 1, 2, 2), 51, np.uint8)) == Statistics((0.2,), (1 / 255,))
    assert statistics_of(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)).mean == (0.5,)


@pytest.mark.parametrize(("share", "tested"), [(None, 2), (0.1, 2), (0.3, 6), (0.001, 1), (0.999, 19)])
def test_pictures_without_a_split_are_split_by_their_pixels(share: float | None, tested: int, tmp_path: Path) -> None:
    by_class(tmp_path / "d", counts=(20, 0))
    lines: list[str] = []
    dataset = imported(tmp_path / "d" / "train", lines, share)
    expected = {}
    for label in ("cat", "dog"):
        pictures = [pixels for path, pixels in of_classes(tmp_path, (label,), (20, 0), 3)]
        if label == "dog":
            pictures = [picture(seed) for seed in range(21, 41)]
        expected[label] = sorted((pixels.tobytes() for pixels in pictures), key=lambda b: hashlib.sha256(b).hexdigest())
    assert held(dataset) == {
        "test": {(label, content) for label, contents in expected.items() for content in contents[:tested]},
        "train": {(label, content) for label, contents in expected.items() for content in contents[tested:]},
    }
    words = "a tenth" if share is None else f"{share:g}"
    assert any(line.startswith(f"no train and test folders: {words} of each class, by the SHA-256") for line in lines)


def test_copies_of_a_picture_are_on_one_side_of_the_split(tmp_path: Path) -> None:
    for number in range(6):
        for copy in range(3):
            save(tmp_path / "d" / "a" / f"{number}-{copy}.png", picture(number))
        save(tmp_path / "d" / "b" / f"{number}.png", picture(50 + number))
    dataset = imported(tmp_path / "d", test_share=0.5)
    assert len(dataset.test) == 3 * 3 + 3
    assert not held(dataset)["train"] & held(dataset)["test"]


def test_test_pictures_that_are_in_training_too_are_counted(tmp_path: Path) -> None:
    folder = by_class(tmp_path / "d")
    shutil.copy(folder / "train" / "cat" / "0.png", folder / "test" / "dog" / "copied.png")
    lines: list[str] = []
    imported(folder, lines)
    assert "1 of 5 test samples have the pixels of a training sample" in lines


def test_what_is_no_picture_is_left_out_and_said(tmp_path: Path) -> None:
    before = imported(by_class(tmp_path / "d")).fingerprint
    (tmp_path / "d" / "README.txt").write_text("words")
    (tmp_path / "d" / "train" / "cat" / "Thumbs.db").write_text("words")
    save(tmp_path / "d" / "val" / "cat" / "0.png", picture(90))
    save(tmp_path / "d" / "train" / "cat" / ".hidden.png", picture(91))
    save(tmp_path / "d" / "train" / ".hidden" / "0.png", picture(92))
    lines: list[str] = []
    assert imported(tmp_path / "d", lines).fingerprint == before
    assert (
        "not pictures of train and test by their names, not read: 'README.txt', 'train/cat/Thumbs.db', 'val/cat/0.png'"
        in lines
    )


def test_links_are_followed(tmp_path: Path) -> None:
    before = imported(by_class(tmp_path / "d")).fingerprint
    (tmp_path / "d" / "train" / "cat").rename(tmp_path / "elsewhere")
    (tmp_path / "d" / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "0.png").rename(tmp_path / "single")
    (tmp_path / "elsewhere" / "0.png").symlink_to(tmp_path / "single")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "d")
    assert imported(tmp_path / "d").fingerprint == before


def test_grey_pictures_among_coloured_ones_have_their_grey_in_each_channel(tmp_path: Path) -> None:
    folder = by_class(tmp_path / "d")
    grey = picture(90, channels=1)
    save(folder / "train" / "cat" / "grey.png", grey)
    lines: list[str] = []
    dataset = imported(folder, lines)
    assert ("cat", np.repeat(grey, 3, axis=0).tobytes()) in held(dataset)["train"]
    assert "1 grey pictures among 15: they have their grey as red, green and blue" in lines


def test_pictures_of_a_palette_two_colours_or_an_opaque_ground_are_what_they_show(tmp_path: Path) -> None:
    folder = by_class(tmp_path / "d")
    pixels = picture(90)
    Image.fromarray(pixels.transpose(1, 2, 0)).convert("RGBA").save(folder / "train" / "cat" / "opaque.png")
    drawn = Image.fromarray(pixels.transpose(1, 2, 0)).quantize(16)
    drawn.save(folder / "train" / "cat" / "palette.png")
    bits = Image.fromarray(pixels[0]).convert("1")
    bits.save(folder / "train" / "dog" / "bits.png")
    found = held(imported(folder))["train"]
    assert ("cat", pixels.tobytes()) in found
    assert ("cat", np.asarray(drawn.convert("RGB")).transpose(2, 0, 1).tobytes()) in found
    assert ("dog", np.repeat(np.asarray(bits, dtype=np.uint8)[None] * 255, 3, axis=0).tobytes()) in found


def test_the_command_imports_lists_verifies_and_replaces(bench: CommandLine, tmp_path: Path) -> None:
    folder = by_class(tmp_path / "d", channels=1)
    done = bench("data", "import", "my-images", folder, "--as", "images")
    assert done.code == 0, done
    assert "2 classes, numbered from 0: cat, dog" in done.out
    assert "a task of it says: images = Images(2, 1, 8, 6)" in done.out
    assert "my-images: 10 training and 4 test samples are ready" in done.out
    assert "my-images" in bench("data", "list").out
    assert bench("data", "verify", "my-images").code == 0
    first = sources.load("my-images").fingerprint
    save(folder / "train" / "cat" / "more.png", picture(90, channels=1))
    assert bench("data", "import", "my-images", folder, "--as", "images").code == 0
    assert sources.load("my-images").fingerprint != first
    path = cache.folder("my-images") / "train_labels.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert [row.state for row in sources.available() if row.name == "my-images"] == ["corrupt"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("cifar10", ".", "--as", "images"), "a published one is called so, and is imported without --as"),
        (("CIFAR10", ".", "--as", "images"), "a published one is called so"),
        (("kernels", ".", "--as", "images"), "the data cache has something else of that name"),
        (("a/b", ".", "--as", "images"), "'a/b' cannot be called so; allowed: letters, digits"),
        ((".a", ".", "--as", "images"), "cannot be called so; allowed: letters, digits"),
        (("a" * 65, ".", "--as", "images"), "cannot be called so; allowed: letters, digits"),
        (("mine", "nowhere", "--as", "images"), "nowhere does not exist"),
        (("mine", ".", "--as", "image"), "--as 'image' is unknown; allowed: 'images', 'npz'; did you mean 'images'?"),
        (("mine", ".", "--as", "images", "--test-share", "1"), "--test-share 1 is not possible; allowed: above 0 and"),
        (("mine", ".", "--as", "npz", "--test-share", "0.2"), "--test-share has no meaning for --as npz"),
        (("mine", ".", "--test-share", "0.2"), "--test-share 0.2 has no meaning without --as images"),
        (
            ("mine", "d", "--as", "images", "--test-share", "0.2"),
            "there are pictures of test, so that --test-share 0.2",
        ),
        (("mine", "."), "one of your own is brought by 'python -m bench data import mine PATH --as images' or"),
    ],
)
def test_wrong_usage_is_one_sentence(
    words: tuple[str, ...], expected: str, bench: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    by_class(tmp_path / "d")
    assert expected in bench.refused("data", "import", *words)


def test_own_names_are_among_the_known_ones(bench: CommandLine, tmp_path: Path) -> None:
    imported(by_class(tmp_path / "d"))
    assert own.names(sources.SOURCES) == ["mine"]
    with pytest.raises(BenchError, match=r"data set 'mime' is unknown, allowed: .*'mine'; did you mean 'mine'\?"):
        sources.load("mime")
    assert "it is your own and needs --as" in bench.refused("data", "import", "mine", tmp_path / "d")
    assert "it is brought by 'python -m bench data import mine PATH --as images'" in bench.refused(
        "data", "fetch", "mine"
    )
