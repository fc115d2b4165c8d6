"""The figures of a sweep within the page: compressed, with words for who does not see them, within a limit of size."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures.base import FigureSpec

COLOURS = 256  # of a picture's palette: lines, type and shades of fifteen methods
WIDEST = 1400  # pixels
FIRST = ("gap", "accuracy-keep", "accuracy-cost", "training-curves", "profiles", "compare", "tuned-vs-paper")
"""Figures that come first where there is no room for all."""


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: of its file, without the ending.
        alt: what it shows, in words.
        data: of the image, as a URL of its own.
        width, height: pixels.
    """

    name: str
    alt: str
    data: str
    width: int
    height: int


def pictures_of(
    files: Sequence[Path], known: Mapping[str, FigureSpec], room: int
) -> tuple[list[tuple[str, list[Picture]]], list[str]]:
    """Return the pictures of some files by their figure, and the names of those that there was no room for.

    Args:
        files: PNG files, as figures are written: ``<figure>-<suffix>.png``.
        known: the figures there are, which say what is shown.
        room: bytes that all of them may take.
    """
    names = sorted([*known, "compare", "tuned-vs-paper"], key=len, reverse=True)
    groups: dict[str, list[Picture]] = {}
    left_out: list[str] = []
    order = {name: number for number, name in enumerate(FIRST)}
    kinds = {file: next((name for name in names if file.stem.startswith(f"{name}-")), file.stem) for file in files}
    for file in sorted(files, key=lambda file: (order.get(kinds[file], len(order)), kinds[file], file.name)):
        picture = _picture(file, _words(kinds[file], file.stem, known), room)
        if picture is None:
            left_out.append(file.name)
            continue
        room -= len(picture.data)
        groups.setdefault(kinds[file], []).append(picture)
    return list(groups.items()), left_out


def _words(kind: str, stem: str, known: Mapping[str, FigureSpec]) -> str:
    of_what = stem.removeprefix(f"{kind}-").replace("-", " ")
    others = {
        "compare": "one method against all others, paired by seed",
        "tuned-vs-paper": "tuned values against the papers' values on the report's seeds",
    }
    said = known[kind].description if kind in known else others.get(kind, "figure")
    return f"{said[:1].upper()}{said[1:]}: {of_what}"


def _picture(file: Path, alt: str, room: int) -> Picture | None:
    """Return a file as a picture; None where it cannot be read or takes more than there is room for."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
            plain = image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    width, height = plain.size
    if width > WIDEST:
        plain = plain.resize((WIDEST, round(height * WIDEST / width)), Image.Resampling.LANCZOS)
    small = plain.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    written = io.BytesIO()
    small.save(written, "PNG", optimize=True)
    data = f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode()}"
    return Picture(file.stem, alt, data, *plain.size) if len(data) <= room else None


def names_of(files: Iterable[Path]) -> list[str]:
    """Return the names of files in order."""
    return sorted(file.name for file in files)
