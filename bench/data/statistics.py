"""Mean and deviation of images, channel by channel: what they are normalised with."""

from __future__ import annotations

import math

import numpy as np

from bench.data.dataset import Statistics

WHITE = 255
CHUNK = 4096
"""Images counted at once, so that the numbers that are counted stay few."""


def statistics_of(images: np.ndarray) -> Statistics:
    """Return mean and deviation of each channel, the same to the bit on every machine: whole numbers are summed.

    Args:
        images: uint8 ``[samples, channels, height, width]``.
    """
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = _counts(images[:, channel])
        total = sum(counts)
        once = sum(value * count for value, count in enumerate(counts))
        squared = sum(value * value * count for value, count in enumerate(counts))
        means.append(once / (WHITE * total))
        # total * sum of x^2 - (sum of x)^2 is a whole number: nothing cancels.
        variance = (squared * total - once * once) / (WHITE * total) ** 2
        deviations.append(max(math.sqrt(variance), 1 / WHITE))
    return Statistics(tuple(means), tuple(deviations))


def _counts(pixels: np.ndarray) -> list[int]:
    """Return how often each of the 256 values occurs."""
    counts = np.zeros(WHITE + 1, dtype=np.int64)
    for start in range(0, len(pixels), CHUNK):
        counts += np.bincount(pixels[start : start + CHUNK].reshape(-1), minlength=WHITE + 1)
    return counts.tolist()
