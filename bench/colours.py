"""Colours that users give to methods: what may stand there, and how far two are apart for all kinds of vision."""

from __future__ import annotations

import math
import re
from typing import Any

RRGGBB = re.compile(r"#[0-9a-fA-F]{6}")
ALLOWED = "a colour as '#0072b2', two hexadecimal digits each of red, green and blue"
LEAST_CONTRAST = 2.0
"""Between a colour and the white that it is drawn on, as WCAG counts it (1 to 21)."""
FROM_BLACK = 12.0
"""Distance (:func:`distance`) from black, which is the full model's."""
TOLD_APART = 12.0
"""Distance from which two colours are told apart on markers of one shape."""
Rows = tuple[tuple[float, float, float], ...]
_SEEN_BY: tuple[Rows, ...] = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
)
"""What most see, and protanopes, deuteranopes and tritanopes, on linear RGB (Machado, Oliveira and Fernandes, 2009)."""
_TO_XYZ: Rows = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)


def fault(colour: Any) -> str:
    """Return what is wrong with a method's colour, as the end of a sentence; empty where nothing is."""
    if not isinstance(colour, str) or not RRGGBB.fullmatch(colour):
        return f"allowed: {ALLOWED}"
    if (contrast := contrast_to_white(colour)) < LEAST_CONTRAST:
        return f"its contrast to white is {contrast:.2f}; allowed: {LEAST_CONTRAST:g} or more, a darker colour"
    if distance(colour, "#000000") < FROM_BLACK:
        return "it cannot be told from black, which is the full model's; allowed: a lighter colour"
    return ""


def contrast_to_white(colour: str) -> float:
    """Return the contrast of a colour to white, from 1 (white) to 21 (black), as WCAG 2 defines it."""
    luminance = sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), _linear(colour), strict=True))
    return 1.05 / (luminance + 0.05)


def distance(one: str, other: str) -> float:
    """Return how far two colours are apart in CIELAB (CIE 1976) for those who tell them apart least."""
    return min(math.dist(_cielab(one, seen), _cielab(other, seen)) for seen in _SEEN_BY)


def _linear(colour: str) -> tuple[float, ...]:
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return tuple(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)


def _times(rows: Rows, values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(one * value for one, value in zip(row, values, strict=True)) for row in rows)


def _cielab(colour: str, seen: Rows) -> tuple[float, float, float]:
    rgb = tuple(min(max(part, 0.0), 1.0) for part in _times(seen, _linear(colour)))
    parts = (part / white for part, white in zip(_times(_TO_XYZ, rgb), _WHITE, strict=True))
    x, y, z = (part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in parts)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)
