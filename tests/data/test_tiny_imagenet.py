"""Tiny-ImageNet from a few pictures made here, in the publisher's layout, and layouts that are something else."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import tiny_imagenet
from bench.data.imported import Imported
from bench.errors import BenchError

NAMES = ("n01443537", "n01629819", "n09428293")


def picture(level: int, mode: str = "RGB", side: int = 64) -> bytes:
    """Return a picture of one grey, which JPEG keeps, with a darker half."""
    pixels = np.full((side, side, 3), level, dtype=np.uint8)
    pixels[: side // 2] //= 2
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write 11 pictures of each class, whose grey tells class and number, and two of val; numbers go beyond 9."""
    root = tmp_path / "tiny-imagenet-200"
    for label, name in reversed(list(enumerate(NAMES))):
        place = root / "train" / name / "images"
        place.mkdir(parents=True)
        for number in range(11):
            (place / f"{name}_{number}.JPEG").write_bytes(picture(60 * label + 5 * number + 40))
        (root / "train" / name / f"{name}_boxes.txt").write_text("x")
    (root / "val" / "images").mkdir(parents=True)
    (root / "test" / "images").mkdir(parents=True)
    (root / "test" / "images" / "test_0.JPEG").write_bytes(picture(3))
    (root / "wnids.txt").write_text("\n".join(reversed(NAMES)))
    lines = []
    for number, label in ((10, 2), (2, 0)):
        (root / "val" / "images" / f"val_{number}.JPEG").write_bytes(picture(100 + number, "L"))
        lines.append(f"val_{number}.JPEG\t{NAMES[label]}\t0\t0\t9\t9\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def levels(images: np.ndarray) -> list[int]:
    return images[:, :, -1, -1].astype(int).tolist()


def assert_is_the_set(data: Imported) -> None:
    expected = [60 * label + 5 * number + 40 for label in range(3) for number in range(11)]
    assert data.train.inputs.shape == (33, 3, 64, 64) and data.train.inputs.dtype == np.uint8
    assert np.abs(np.array(levels(data.train.inputs)) - np.array(expected)[:, None]).max() <= 1
    assert data.train.labels.tolist() == [0] * 11 + [1] * 11 + [2] * 11
    assert np.abs(np.array(levels(data.test.inputs)) - np.array([[102], [110]])).max() <= 1
    assert data.test.labels.tolist() == [0, 2]
    assert (data.title, data.classes, data.class_names) == ("Tiny-ImageNet", 200, NAMES)
    assert data.statistics is not None and len(data.statistics.mean) == 3


def test_folder_and_archive(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    assert_is_the_set(tiny_imagenet.read(folder, lines.append, published=False))
    assert "2 grey pictures have their grey as red, green and blue" in lines
    assert_is_the_set(tiny_imagenet.read(folder.parent, published=False))
    archive = tmp_path / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*"), reverse=True):
            packed.write(path, path.relative_to(tmp_path))
    assert_is_the_set(tiny_imagenet.read(archive, published=False))


def test_the_published_numbers_are_insisted_on(folder: Path) -> None:
    with pytest.raises(BenchError, match="11 of class 'n01443537' in train, 200 classes of 500 pictures expected"):
        tiny_imagenet.read(folder)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("val/val_annotations.txt", b"val_2.JPEG\tn01443538\t0", r"line 1: class 'n01443538' has .*'n01443537'"),
        ("val/val_annotations.txt", b"val_3.JPEG\tn01443537\t0", r"line 1: the picture 'val_3.JPEG' is missing"),
        ("val/val_annotations.txt", b"val_2.JPEG\tn01443537\t0", r"'tiny.*val_10.JPEG|val_10.JPEG': not in"),
        ("val/val_annotations.txt", b"", r"val_annotations.txt: no lines, a picture and its class in each expected"),
        ("val/images/val_2.JPEG", picture(9, side=63), r"val_2.JPEG: picture of 63 x 63 pixels, 64 x 64 expected"),
        ("train/n01443537/images/n01443537_3.JPEG", b"x", r"n01443537_3.JPEG: it is no picture"),
        ("x/val_annotations.txt", b"x", r"2 files 'val_annotations.txt' found, one in the folder 'val' expected"),
        ("y/train/n1/images/a_1.JPEG", picture(9), r"pictures of train are in 'train', 'y/train', name the folder of"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(file: str, content: bytes, sentence: str, folder: Path) -> None:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(BenchError, match=sentence):
        tiny_imagenet.read(folder, published=False)


def test_a_folder_with_nothing_of_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no Tiny-ImageNet found, allowed: tiny-imagenet-200.zip, or a folder"):
        tiny_imagenet.read(tmp_path)
