"""FEMNIST-like stand-in images: printed characters, bent and inked in the style of made-up writers."""

from __future__ import annotations

import functools
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from bench.agg import load_matplotlib
from bench.data.dataset import Split
from bench.seeding import stream

SIDE = 28
CLASSES = string.digits + string.ascii_uppercase + string.ascii_lowercase

# The fonts that come with matplotlib and have letters of their own.
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
    "STIXGeneral",
    "STIXGeneralItalic",
    "STIXGeneralBol",
    "cmr10",
    "cmss10",
    "cmtt10",
    "cmti10",
)

# The atlas holds glyphs of 64 pixels an em on a canvas that leaves room for the bends.
EM = 64
CANVAS = 96

# Characters drawn at once: few enough for the intermediate arrays to stay small.
CHUNK = 500


@dataclass(frozen=True)
class Writers:
    """The styles of all writers; every array is ``[writers]`` unless it says otherwise.

    Attributes:
        font: index into ``FONTS``.
        size: pixels of the image an em.
        aspect: width by height, relative to the font's.
        slant: tangent of the angle that upright strokes lean to the right.
        stroke: what is added to the half-width of every stroke, in atlas pixels.
        ink: darkness of the ink, 1 = black.
        bend: ``[writers, 2, 2]`` the writer's own distortion: phases of the wave that bends rows and columns.
        weight: how much a writer writes, sums to 1.
        classes: ``[writers, 62]`` how often a writer writes each character, rows sum to 1.
    """

    font: np.ndarray
    size: np.ndarray
    aspect: np.ndarray
    slant: np.ndarray
    stroke: np.ndarray
    ink: np.ndarray
    bend: np.ndarray
    weight: np.ndarray
    classes: np.ndarray


def glyphs(samples: int, seed: int, part: str, writers: int) -> Split:
    """Return ``samples`` characters, uint8 ``[samples, 1, 28, 28]``, black on white (255), sorted by writer.

    Classes are numbered as in ``CLASSES``: digits, upper case, lower case. As real writers, the made-up ones differ in
    style, in how much they write and in which characters; style and habits are the same in every part.

    Args:
        samples: number of characters; where it reaches ``writers``, every writer has at least one.
        seed: the writers depend on it alone, their characters also on ``part``.
        part: "train" or "test".
        writers: number of writers, the natural users.
    """
    style = _writers(writers, stream(seed, "stand-in writers"))
    rng = stream(seed, f"stand-in glyphs {part}")
    sure = min(1, samples // writers)
    users = np.repeat(np.arange(writers), sure + rng.multinomial(samples - sure * writers, style.weight))
    habits = style.classes[users].cumsum(axis=1)
    labels = (rng.random((samples, 1)) * habits[:, -1:] >= habits).sum(axis=1)
    inputs = np.empty((samples, 1, SIDE, SIDE), dtype=np.uint8)
    for start in range(0, samples, CHUNK):
        chunk = slice(start, start + CHUNK)
        inputs[chunk, 0] = _draw(style, users[chunk], labels[chunk], rng)
    return Split(inputs, labels.astype(np.int64), users.astype(np.int32))


def _writers(count: int, rng: np.random.Generator) -> Writers:
    # Digits are the more frequent half of the real set.
    usual = np.array([2.0] * 10 + [0.75] * 52)
    amount = rng.lognormal(0, 0.5, count)
    return Writers(
        font=rng.integers(len(FONTS), size=count),
        size=rng.uniform(22, 31, count),
        aspect=rng.uniform(0.75, 1.3, count),
        slant=rng.normal(0.1, 0.22, count),
        stroke=rng.uniform(-0.3, 2.6, count),
        ink=rng.uniform(0.75, 1.0, count),
        bend=rng.uniform(0, 2 * np.pi, (count, 2, 2)),
        weight=amount / amount.sum(),
        classes=rng.dirichlet(usual, size=count),
    )


def _draw(style: Writers, users: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one character per sample, uint8 ``[n, 28, 28]``."""
    row, column = _atlas_coordinates(style, users, rng)
    number = np.broadcast_to((style.font[users] * len(CLASSES) + labels)[:, None, None], row.shape)
    distance = ndimage.map_coordinates(_atlas(), [number, row, column], order=1, mode="nearest")
    stroke = style.stroke[users] + rng.normal(0, 0.4, len(users))
    # The pen's edge is about as soft as a pixel of the image is wide in the atlas.
    softness = 0.5 * EM / style.size[users]
    covered = 1 / (1 + np.exp((distance - stroke[:, None, None]) / (0.5 * softness[:, None, None])))
    ink = covered * style.ink[users][:, None, None] + rng.normal(0, 0.02, covered.shape)
    return (255 * (1 - np.clip(ink, 0, 1))).astype(np.uint8)


def _atlas_coordinates(style: Writers, users: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel of each image lies in the atlas: rows and columns, ``[n, 28, 28]``."""
    n = len(users)
    down, right = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    shift = rng.normal(0, 1.2, (2, n, 1, 1))
    angle = rng.normal(0, 0.13, n)[:, None, None]
    y = np.cos(angle) * (down - shift[0]) - np.sin(angle) * (right - shift[1])
    x = np.sin(angle) * (down - shift[0]) + np.cos(angle) * (right - shift[1])

    scale = (EM / style.size[users] * rng.normal(1, 0.06, n).clip(0.8, 1.2))[:, None, None]
    slant = (style.slant[users] + rng.normal(0, 0.08, n))[:, None, None]
    aspect = (style.aspect[users] * rng.normal(1, 0.08, n).clip(0.75, 1.25))[:, None, None]
    row, column = y * scale, (x + slant * y) * scale / aspect

    # Slow waves bend the strokes: one that is the writer's own, and one that differs each time.
    own, new = style.bend[users], rng.uniform(0, 2 * np.pi, (n, 2, 2))
    bent_row, bent_column = row.copy(), column.copy()
    for phase, strength in ((own, 2.0), (new, rng.uniform(0.5, 3.0, n)[:, None, None])):
        bent_row += strength * np.sin(0.09 * column + 0.05 * row + phase[:, 0, 0, None, None])
        bent_row += strength * np.sin(0.14 * row + phase[:, 0, 1, None, None])
        bent_column += strength * np.sin(0.09 * row - 0.05 * column + phase[:, 1, 0, None, None])
        bent_column += strength * np.sin(0.14 * column + phase[:, 1, 1, None, None])
    return bent_row + CANVAS / 2 - 0.5, bent_column + CANVAS / 2 - 0.5


@functools.cache
def _atlas() -> np.ndarray:
    """Return the distance to the outline of every glyph, negative inside, float32 ``[fonts * 62, 96, 96]``."""
    folder = Path(load_matplotlib().get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), EM) for name in FONTS]
    return np.stack([_distance(font, character) for font in fonts for character in CLASSES])


def _distance(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """Return the signed distance to the outline of one glyph, centred on a canvas, float32 ``[96, 96]``."""
    left, top, right, bottom = font.getbbox(character)
    canvas = Image.new("L", (CANVAS, CANVAS), 0)
    corner = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(corner, character, fill=255, font=font)
    inside = np.asarray(canvas) > 127
    outer, inner = ndimage.distance_transform_edt(~inside), ndimage.distance_transform_edt(inside)
    return (outer - inner).astype(np.float32)
