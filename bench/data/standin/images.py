"""CIFAR-10-like stand-in images: small scenes with one textured object whose shape and texture make the class."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import Split
from bench.seeding import stream

SIDE = 32
SHAPES = ("disc", "square", "triangle", "cross", "ring")
TEXTURES = ("striped", "checked")
CLASSES = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)

# Scenes drawn at once: few enough for the intermediate arrays to stay in the processor's cache.
CHUNK = 250

# Share of the samples of both splits whose label is drawn anew: no network reaches 100 %, as on real data.
LABEL_NOISE = 0.06


def images(samples: int, seed: int, part: str) -> Split:
    """Return ``samples`` scenes, uint8 ``[samples, 3, 32, 32]``, with balanced labels in random order.

    The class is a pair of an outline and a texture (``CLASSES``). Neither is enough alone, and position, size, tilt,
    colours, background, light and noise vary, so that no single pixel says much about the class. The hue leans towards
    a typical one for each class, which gives learning a first slope to follow. Some labels are wrong (``LABEL_NOISE``).

    Args:
        samples: number of scenes.
        seed: scenes depend on it and on ``part`` alone.
        part: "train" or "test".
    """
    rng = stream(seed, f"stand-in images {part}")
    labels = rng.permutation(np.arange(samples) % len(CLASSES))
    inputs = np.empty((samples, 3, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, samples, CHUNK):
        inputs[start : start + CHUNK] = _scenes(labels[start : start + CHUNK], rng)
    noisy = rng.random(samples) < LABEL_NOISE
    labels[noisy] = rng.integers(len(CLASSES), size=noisy.sum())
    return Split(inputs, labels.astype(np.int64))


def _scenes(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one scene per label, uint8 ``[n, 3, 32, 32]``."""
    n = len(labels)
    x, y = _object_coordinates(n, rng)
    inside = _soft(_outline(labels // len(TEXTURES), x, y), 0.09)[:, None]
    texture = _texture(labels % len(TEXTURES), x, y, rng)[:, None]

    hue = (labels / len(CLASSES) + rng.normal(0, 0.1, n)) % 1.0
    light, dark = _colours(hue, rng.uniform(0.65, 1.0, n), rng), _colours(hue, rng.uniform(0.1, 0.45, n), rng)
    figure = dark + (light - dark) * texture
    scene = _background(n, rng) * (1 - inside) + figure * inside

    shade = 1 + rng.uniform(0.0, 0.35, n)[:, None, None] * _waves(n, 1, 1.0, rng)
    scene = scene * shade[:, None] + rng.normal(0, 0.04, (n, 3, SIDE, SIDE)).astype(np.float32)
    return (np.clip(scene, 0, 1) * 255).astype(np.uint8)


def _object_coordinates(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels in the frame of each object, where its radius is 1: two float32 ``[n, 32, 32]``."""
    radius = rng.uniform(9.5, 14.0, n)
    centre = SIDE / 2 + rng.uniform(-1, 1, (2, n)) * (SIDE / 2 - 0.8 * radius)
    angle = rng.normal(0, 0.25, n)
    stretch = rng.uniform(0.8, 1.25, n)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5
    right = (columns - centre[0, :, None, None]) / radius[:, None, None]
    down = (rows - centre[1, :, None, None]) / radius[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x = (cos * right + sin * down) * stretch[:, None, None]
    y = (cos * down - sin * right) / stretch[:, None, None]
    return x.astype(np.float32), y.astype(np.float32)


def _outline(shape: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a signed distance to the outline of each object, in radii and negative inside; float32 ``[n, 32, 32]``."""
    distance = np.empty_like(x)
    for number, name in enumerate(SHAPES):
        chosen = shape == number
        u, v = x[chosen], y[chosen]
        across, along = np.abs(u), np.abs(v)
        if name == "disc":
            distance[chosen] = np.hypot(u, v) - 0.9
        elif name == "square":
            distance[chosen] = np.maximum(across, along) - 0.78
        elif name == "triangle":
            distance[chosen] = np.maximum(0.866 * across + 0.5 * v, -v) - 0.55
        elif name == "cross":
            distance[chosen] = np.minimum(np.maximum(across - 1, along - 0.36), np.maximum(along - 1, across - 0.36))
        else:
            distance[chosen] = np.abs(np.hypot(u, v) - 0.72) - 0.28
    return distance


def _texture(kind: np.ndarray, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the texture's brightness from 0 to 1: stripes (kind 0) or checks (kind 1); float32 ``[n, 32, 32]``."""
    n = len(kind)
    angle, phase = rng.uniform(0, np.pi, n)[:, None, None], rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
    pitch = rng.uniform(6.0, 9.5, n)[:, None, None]
    first = np.sin(pitch * (np.cos(angle) * x + np.sin(angle) * y) + phase[0])
    second = np.sin(pitch * (np.cos(angle) * y - np.sin(angle) * x) + phase[1])
    wave = np.where((kind == 0)[:, None, None], first, first * second * 1.6)
    return _soft(-wave, 0.35).astype(np.float32)


def _background(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return backgrounds: two colours mixed by soft blobs and by fine waves at random angles; ``[n, 3, 32, 32]``."""
    blobs = _soft(_waves(n, 4, 3.0, rng) - rng.uniform(-0.4, 0.4, n)[:, None, None], 0.4)
    fine = _waves(n, 2, 9.0, rng) * rng.uniform(0.0, 0.2, n)[:, None, None]
    mix = np.clip(blobs + fine, 0, 1)[:, None]
    brightness = np.clip(rng.uniform(0.15, 0.95, n) + rng.normal(0, 0.1, (2, n)), 0.05, 1)
    one, two = (_colours(rng.random(n), level, rng) for level in brightness)
    return one + (two - one) * mix


def _waves(n: int, count: int, frequency: float, rng: np.random.Generator) -> np.ndarray:
    """Return the mean of ``count`` plane waves per image, of up to ``frequency`` periods a side; ``[n, 32, 32]``."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    total = np.zeros((n, SIDE, SIDE), dtype=np.float32)
    for _ in range(count):
        angle = rng.uniform(0, 2 * np.pi, n)
        rate = rng.uniform(0.5, 1.0, n) * frequency * 2 * np.pi
        phase = rng.uniform(0, 2 * np.pi, n)
        right, down = ((rate * part)[:, None, None].astype(np.float32) for part in (np.cos(angle), np.sin(angle)))
        total += np.sin(right * columns + down * rows + phase[:, None, None].astype(np.float32))
    return total / count


def _colours(hue: np.ndarray, brightness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return colours of the given hues (0 to 1) and brightness with random saturation; float32 ``[n, 3, 1, 1]``."""
    saturation = rng.uniform(0.1, 0.7, len(hue))
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue[:, None] - np.array([0, 1 / 3, 2 / 3])))
    colour = brightness[:, None] * (1 - saturation[:, None] * (1 - wheel))
    return colour[:, :, None, None].astype(np.float32)


def _soft(distance: np.ndarray, softness: np.ndarray | float) -> np.ndarray:
    """Return 1 where ``distance`` is negative, 0 where it is positive, with a smooth edge between."""
    return 0.5 - 0.5 * np.tanh(distance / softness)
