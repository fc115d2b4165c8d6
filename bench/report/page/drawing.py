"""Axes, markers and lines of the page's own charts, as numbers that a template writes as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.path import Path

from bench.figures.style import SeriesStyle
from bench.report.page.words import significant


@dataclass(frozen=True)
class Axis:
    """An axis from one place on the page to another.

    Attributes:
        low, high: values at its ends, above 0 where it is logarithmic.
        start, stop: where these are, in units of the drawing.
        logarithmic: whether equal steps are equal factors.
    """

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value is, at the nearer end if it lies beyond."""
        low, high, value = (math.log(one) if self.logarithmic else one for one in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start), 2)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Return the places of round values on it and how they are written."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        if self.logarithmic and self.high / self.low > 3:
            values = LogLocator(subs=(1.0, 2.0, 5.0), numticks=50).tick_values(self.low, self.high)
            inside = [value for value in values if self.low <= value <= self.high]
            inside = inside if len(inside) <= most else inside[:: math.ceil(len(inside) / most)]
        else:
            values = MaxNLocator(most - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
            inside = [value for value in values if self.low <= value <= self.high]
        return [(self.place(float(value)), written(float(value))) for value in inside]


def written(value: float) -> str:
    """Return a round value as an axis has it."""
    return significant(value) if value >= 1000 else f"{value:g}".replace("-", "−")


def around(values: Iterable[float], start: float, stop: float, logarithmic: bool = False, margin: float = 0.06) -> Axis:
    """Return an axis that holds some values, with a margin; from 0 to 1 where there is none."""
    known = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    if not known:
        return Axis(1.0, 10.0, start, stop, True) if logarithmic else Axis(0.0, 1.0, start, stop)
    low, high = min(known), max(known)
    if logarithmic:
        room = max((high / low) ** margin, 1.12)
        return Axis(low / room, high * room, start, stop, True)
    room = max((high - low) * margin, 1e-3 * max(abs(high), 1e-3))
    return Axis(low - room, high + room, start, stop)


def marker(look: SeriesStyle, size: float = 5.0) -> dict[str, str]:
    """Return the paths of a series' marker around the origin: the one that it has in every figure.

    Returns:
        ``colour`` of its edge and of ``filled``, and ``hollow``, the part that is white; either path may be empty.
    """
    from matplotlib.markers import MarkerStyle

    style = MarkerStyle(look.marker, fillstyle=look.fill)
    whole = _written(style.get_path().transformed(style.get_transform()), size)
    rest = style.get_alt_path()
    if look.fill == "none":
        return {"colour": look.colour, "filled": "", "hollow": whole}
    other = "" if rest is None else _written(rest.transformed(style.get_alt_transform()), size)
    return {"colour": look.colour, "filled": whole, "hollow": other}


def _written(path: Path, size: float) -> str:
    words = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    parts = []
    for points, code in path.iter_segments(curves=True):
        places = " ".join(f"{2 * size * x:.2f},{-2 * size * y:.2f}" for x, y in _pairs(points))
        parts.append("Z" if int(code) == 79 else f"{words[int(code)]}{places}")
    closed = " ".join(parts)
    return closed if closed.endswith("Z") else f"{closed} Z"


def _pairs(points: Iterable[Any]) -> list[tuple[float, float]]:
    numbers = [float(one) for one in points]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def spread_out(places: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Return places that are at least so far apart, as near to those given as may be, in the same order.

    Args:
        places: in any order.
        least: distance between neighbours; less where there is no room.
        low, high: within which they stay.
    """
    if not places:
        return []
    least = min(least, (high - low) / max(len(places) - 1, 1))
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved = [0.0] * len(places)
    last = low - least
    for number in order:
        moved[number] = last = max(places[number], last + least)
    last = high + least
    for number in reversed(order):
        moved[number] = last = min(moved[number], last - least)
    return [round(one, 2) for one in moved]
