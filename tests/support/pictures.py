"""Small pictures by class in folders, as users have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, channels: int = 3, size: tuple[int, int] = (8, 6)) -> np.ndarray:
    """Return random pixels, uint8 ``[channels, height, width]``."""
    return np.random.default_rng(seed).integers(0, 256, (channels, *size), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write one picture, in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(path)
    return path


def by_class(
    folder: Path, classes: tuple[str, ...] = ("cat", "dog"), counts: tuple[int, int] = (5, 2), channels: int = 3
) -> Path:
    """Write train/CLASS/*.png and test/CLASS/*.png with so many pictures of each class, all of them different."""
    for path, pixels in of_classes(folder, classes, counts, channels):
        save(path, pixels)
    return folder


def of_classes(
    folder: Path, classes: tuple[str, ...], counts: tuple[int, int], channels: int
) -> Iterator[tuple[Path, np.ndarray]]:
    seed = 0
    for split, count in zip(("train", "test"), counts, strict=True):
        for label in classes:
            for number in range(count):
                seed += 1
                yield folder / split / label / f"{number}.png", picture(seed, channels)
