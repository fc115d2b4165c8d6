"""Pictures and folders that cannot be imported: a sentence each."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import by_class, picture, save
from PIL import Image

from bench.data import cache, image_folders, sources
from bench.data.dataset import Dataset
from bench.errors import BenchError


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def imported(path: Path, lines: list[str] | None = None, test_share: float | None = None) -> Dataset:
    return sources.import_own("mine", path, "images", None if lines is None else lines.append, test_share)


def png(path: Path, width: int, height: int, bits: int, rows: bytes) -> None:
    """Write a PNG of RGB pixels whose header says what it likes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def deep(path: Path) -> None:
    """Write 16 bits a channel, which Pillow would cut to 8."""
    png(path, 6, 8, 16, (b"\0" + bytes(range(36))) * 8)


def transparent(path: Path) -> None:
    Image.fromarray(np.zeros((8, 6, 4), np.uint8)).save(path)


def sixteen_grey(path: Path) -> None:
    Image.fromarray(np.zeros((8, 6), np.uint16)).save(path)


def moving(path: Path) -> None:
    frames = [Image.fromarray(picture(seed).transpose(1, 2, 0)) for seed in (90, 91)]
    frames[0].save(path, save_all=True, append_images=frames[1:], format="PNG")


def bomb(path: Path) -> None:
    png(path, 50_000, 50_000, 8, bytes(100))


def large(path: Path) -> None:
    Image.new("1", (1025, 1024)).save(path)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no picture": (lambda path: path.write_bytes(b"words"), "wrong.png: it is no picture$"),
    "empty": (lambda path: path.write_bytes(b""), "wrong.png: it is no picture, the file is empty$"),
    "cut off": (lambda path: path.write_bytes(save(path, picture(1)).read_bytes()[:-60]), "cannot be decoded"),
    "other size": (lambda path: save(path, picture(1, size=(6, 8))), r"picture of 6 x 8 pixels, 8 x 6 expected as "),
    "large": (large, r"picture of 1024 x 1025 pixels, allowed: 1,048,576 pixels in all"),
    "bomb": (bomb, r"picture of 50000 x 50000 pixels, allowed|cannot be decoded \(Image size"),
    "16 bits": (deep, "picture of 16 bits, 8-bit grey or RGB expected"),
    "16 bits of grey": (sixteen_grey, "picture of 16 bits, 8-bit grey or RGB expected"),
    "transparent": (transparent, "the picture has transparent pixels"),
    "frames": (moving, "picture of 2 frames, a single one expected"),
    "link to nowhere": (lambda path: path.symlink_to("nowhere"), "it is no file, or a link that leads nowhere"),
    "pipe": (os.mkfifo, "it is no file, or a link that leads nowhere"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_picture_is_one_sentence_with_its_file(name: str, tmp_path: Path) -> None:
    folder = by_class(tmp_path / "d")
    make, words = WRONG[name]
    path = folder / "train" / "dog" / "wrong.png"
    make(path)
    with pytest.raises(BenchError, match=words) as caught:
        imported(folder)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert not cache.exists("mine")


LAYOUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, r"no pictures \(.png, .bmp, .webp, .jpg, .jpeg\) found, train/CLASS/\*.png"),
    "an empty class": (
        lambda path: (by_class(path) / "train" / "emu").mkdir(),
        r"train/emu: no pictures .* of the class 'emu' in it$",
    ),
    "an empty class of the test split": (
        lambda path: shutil.rmtree(by_class(path) / "test" / "dog") or (path / "test" / "dog").mkdir(),
        r"test/dog: no pictures",
    ),
    "a class of hidden files": (
        lambda path: save(by_class(path) / "train" / "emu" / ".0.png", picture(1)),
        r"train/emu: no pictures",
    ),
    "a folder under two names": (
        lambda path: (by_class(path) / "train" / "emu").symlink_to(path / "train" / "dog"),
        r"train/emu: no pictures .* a folder that several links name is read once",
    ),
    "one class": (lambda path: by_class(path, ("cat",)), "one class alone, 'cat'; two at least expected"),
    "a class that is tested only": (
        lambda path: save(by_class(path) / "test" / "dogs" / "0.png", picture(1)),
        r"class 'dogs' has test samples and no training sample, which nothing can learn; did you mean 'dog'\?",
    ),
    "training alone": (lambda path: by_class(path, counts=(3, 0)), "pictures of train alone; train/CLASS"),
    "no classes": (
        lambda path: [save(path / split / "0.png", picture(1)) for split in ("train", "test")],
        "in no folder",
    ),
    "a picture beside the classes": (
        lambda path: save(by_class(path) / "train" / "0.png", picture(1)),
        r"train/0.png: a picture in no folder of its class",
    ),
    "a picture beside the splits": (
        lambda path: save(by_class(path) / "0.png", picture(1)),
        r"d/0.png: a picture in no",
    ),
    "a folder in a class": (
        lambda path: save(by_class(path) / "train" / "cat" / "more" / "0.png", picture(1)),
        r"more/0.png: a picture in no folder of its class",
    ),
    "two data sets": (
        lambda path: (by_class(path / "a"), by_class(path / "b")),
        "the classes lie in 'a', 'b', name the",
    ),
    "one picture of a class": (
        lambda path: [save(path / name, picture(seed)) for seed, name in enumerate(("a/0.png", "a/1.png", "b/0.png"))],
        "class 'b' has one distinct picture; two at least",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_wrong_layout_is_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    make, words = LAYOUTS[name]
    make(tmp_path / "d")
    with pytest.raises(BenchError, match=words) as caught:
        imported(tmp_path / "d")
    assert str(caught.value).startswith(str(tmp_path / "d")) and "\n" not in str(caught.value)


def test_a_class_without_a_test_sample_is_said(tmp_path: Path) -> None:
    shutil.rmtree(by_class(tmp_path / "d") / "test" / "dog")
    lines: list[str] = []
    assert imported(tmp_path / "d", lines).classes == 2
    assert "without a test sample: dog" in lines


def test_more_pictures_than_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_class(tmp_path / "d")
    monkeypatch.setattr("bench.numerics.limits.memory_bytes", lambda: 100)
    with pytest.raises(
        BenchError, match=r"14 pictures like .* needs 4 kB of memory at least; this machine has 100 bytes"
    ):
        image_folders.read(tmp_path / "d", print)
