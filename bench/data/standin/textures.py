"""Stand-in images of any size and number of classes: each class is a weave of two waves, wherever they begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.data.dataset import Split
from bench.data.image_shape import Images
from bench.seeding import stream

CHUNK = 250
"""Images drawn at once, so that intermediate arrays stay small."""
HUE = 0.25
"""How far a class's hue is from grey, where hues tell the classes of a coarse class apart."""
LABEL_NOISE = 0.06
"""Share of the samples of both splits whose label is drawn anew: no network reaches 100 %, as on real data."""


def textures(images: Images, samples: int, seed: int, part: str) -> Split:
    """Return ``samples`` images, uint8 ``[samples, channels, height, width]``, with balanced labels in random order.

    Where the waves of a class begin is random, so that no pixel says much about the class; a faint pattern of its own
    gives learning a first slope to follow. Brightness, contrast, colours and noise vary.

    Args:
        images: their size, channels and classes; natural users, where there are some, hold random samples.
        samples: how many; of the training split at least as many as users.
        seed: images depend on it and on ``part`` alone.
        part: "train" or "test".
    """
    rng = stream(seed, f"stand-in textures {part}")
    labels = rng.permutation(np.arange(samples) % images.classes)
    inputs = np.empty((samples, images.channels, *images.size), dtype=np.uint8)
    weave = _Weave(images)
    for start in range(0, samples, CHUNK):
        inputs[start : start + CHUNK] = weave.drawn(labels[start : start + CHUNK], rng)
    noisy = rng.random(samples) < LABEL_NOISE
    labels[noisy] = rng.integers(images.classes, size=noisy.sum())
    users = None
    if images.users:
        users = rng.permutation(np.arange(samples) % images.users).astype(np.int32)
    return Split(inputs, labels.astype(np.int64), users)


def families(images: Images, coarse: Sequence[int], samples: int, seed: int, part: str) -> Split:
    """Return ``samples`` images of classes with coarse classes, as :func:`textures` does.

    The coarse class is the weave, and which of its classes an image is of is its hue.

    Args:
        images: their size, channels and classes.
        coarse: the coarse class of each class.
        samples, seed, part: see :func:`textures`.
    """
    rng = stream(seed, f"stand-in families {part}")
    labels = rng.permutation(np.arange(samples) % images.classes)
    inputs = np.empty((samples, images.channels, *images.size), dtype=np.uint8)
    group = np.asarray(coarse)
    members = np.bincount(group)[group]
    place = np.array([np.sum(group[:number] == of) for number, of in enumerate(group)])
    angles = 2 * np.pi * (place / members)[:, None] + np.linspace(0, 2 * np.pi, images.channels, endpoint=False)
    hues = (HUE * np.cos(angles))[:, :, None, None]
    weave = _Weave(replace(images, classes=int(group.max()) + 1))
    for start in range(0, samples, CHUNK):
        chosen = labels[start : start + CHUNK]
        inputs[start : start + CHUNK] = weave.drawn(group[chosen], rng, hues[chosen])
    noisy = rng.random(samples) < LABEL_NOISE
    labels[noisy] = rng.integers(images.classes, size=noisy.sum())
    return Split(inputs, labels.astype(np.int64))


class _Weave:
    """The classes of one kind of images: the same for every seed and split."""

    def __init__(self, images: Images) -> None:
        rng = stream(0, f"stand-in textures of {images.classes} classes")
        self.images = images
        angle = np.pi * (np.arange(images.classes) / images.classes + np.array([[0.0], [0.37]]))
        periods = rng.uniform(1.5, max(2.0, min(images.size) / 5), (2, images.classes))
        self.waves = 2 * np.pi * periods[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        self.tint = rng.uniform(-1, 1, (images.classes, images.channels, 1, 1))
        rows, columns = ((np.arange(side) + 0.5) / min(images.size) for side in images.size)
        self.places = np.stack(np.meshgrid(rows, columns, indexing="ij")).astype(np.float32)
        self.faint = self._waves(np.arange(images.classes), rng.uniform(0, 2 * np.pi, (2, images.classes)))

    def drawn(self, labels: np.ndarray, rng: np.random.Generator, hues: np.ndarray | float = 0.0) -> np.ndarray:
        """Draw one image per label, uint8 ``[n, channels, height, width]``, with hues ``[n, channels, 1, 1]``."""
        n, channels = len(labels), self.images.channels
        woven = self._waves(labels, rng.uniform(0, 2 * np.pi, (2, n)))
        contrast, light = rng.uniform(0.15, 0.3, (n, 1, 1)), rng.uniform(0.35, 0.65, (n, 1, 1))
        grey = light + contrast * woven + 0.05 * self.faint[labels]
        colour = 0.06 * self.tint[labels] + 0.1 * rng.standard_normal((n, channels, 1, 1)) + hues
        noise = 0.05 * rng.standard_normal((n, channels, *self.images.size), dtype=np.float32)
        return (np.clip(grey[:, None] + colour + noise, 0, 1) * 255).astype(np.uint8)

    def _waves(self, labels: np.ndarray, phases: np.ndarray) -> np.ndarray:
        """Return the mean of the two waves of each label, from -1 to 1, ``[n, height, width]``."""
        total = np.zeros((len(labels), *self.images.size), dtype=np.float32)
        for waves, phase in zip(self.waves, phases, strict=True):
            along = np.tensordot(waves[labels].astype(np.float32), self.places, axes=1)
            total += np.sin(along + phase[:, None, None].astype(np.float32))
        return total / 2
