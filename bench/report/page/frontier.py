"""Accuracy against cost in each setting: who is not beaten by another in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.figures.chance import chance_level
from bench.figures.looks import any_front
from bench.figures.style import SeriesStyle
from bench.report.page.compute import Numbers
from bench.report.page.drawing import Axis, around, marker, spread_out
from bench.report.page.leaderboard import GMAC, MB
from bench.report.page.series import Series
from bench.report.page.words import joined, percent, significant

WIDTH, HEIGHT = 400.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 390.0, 14.0, 256.0
COSTS = (("bytes", MB, "sent by all clients, down and up (MB)"), ("macs", GMAC, "training work of all clients (GMAC)"))
NAMED = 6  # points of the front that have their name beside them
LETTER = 6.1  # units of a letter of a name


@dataclass(frozen=True)
class Point:
    """A method in a chart.

    Attributes:
        name: of it.
        series: its cells.
        accuracy, low, high: a fraction and the ends of its interval, missing for one seed.
        cost: in the unit of the axis.
        look: of its marker.
        on_front: whether no other is as cheap and more accurate, or as accurate and cheaper.
    """

    name: str
    series: Series
    accuracy: float
    low: float
    high: float
    cost: float
    look: SeriesStyle
    on_front: bool = False


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return which of (cost, accuracy) no other beats in one of the two without losing in the other.

    >>> front([(1, 0.5), (2, 0.7), (2, 0.6), (3, 0.7)])
    [True, True, False, False]
    """
    return [
        not any(
            other_cost <= cost and other_acc >= acc and (other_cost < cost or other_acc > acc)
            for other_cost, other_acc in points
        )
        for cost, acc in points
    ]


def charts(numbers: Numbers) -> list[dict[str, Any]]:
    """Return a group of charts for each setting in which there is something to draw: its heading, panels and words."""
    found = []
    for setting in numbers.settings:
        panels, words = [], []
        for cost, unit, axis_words in COSTS:
            points = _points(numbers, setting, cost, unit)
            if len(points) < 2:
                continue
            panels.append(_panel(points, axis_words, numbers.source.front, _guessing(numbers, points)))
            names = [point.name for point in sorted(points, key=lambda point: point.cost) if point.on_front]
            words.append(f"by {'bytes' if cost == 'bytes' else 'work'}: {joined(names)}")
        if panels:
            found.append({"setting": setting, "panels": panels, "words": "; ".join(words)})
    return found


def _points(numbers: Numbers, setting: str, cost: str, unit: float) -> list[Point]:
    found = []
    for label in numbers.labels:
        series = numbers.of_setting.get((setting, label))
        if series is None:
            continue
        accuracy, costs = numbers.accuracies[series.number], numbers.costs[series.number]
        value = float(costs[cost]) / unit
        if math.isfinite(value) and value > 0 and not math.isnan(accuracy["mean"]):
            mean, low, high = (float(accuracy[name]) for name in ("mean", "low", "high"))
            found.append(Point(label, series, mean, low, high, value, numbers.look(label, series.method)))
    on_front = front([(point.cost, point.accuracy) for point in found])
    return [replace(point, on_front=is_on) for point, is_on in zip(found, on_front, strict=True)]


def _guessing(numbers: Numbers, points: Sequence[Point]) -> float | None:
    """Return what guessing gives on the data of some points, in percent; None where tables do not say it."""
    names = {name for point in points for name in point.series.cells}
    return chance_level(numbers.cells[numbers.cells["cell"].isin(names)])


def _panel(points: Sequence[Point], axis_words: str, own: Sequence[str], chance: float | None) -> dict[str, Any]:
    x = around([point.cost for point in points], LEFT, RIGHT, logarithmic=True)
    ends = [end for point in points for end in (point.accuracy, point.low, point.high) if not math.isnan(end)]
    middle = [point.accuracy for point in points]
    room = 1.2 * (max(middle) - min(middle)) + 0.01  # intervals of few seeds may be longer than all that is shown
    ends = [min(max(end, min(middle) - room, 0.0), max(middle) + room, 1.0) for end in ends]
    y = around([100 * end for end in ends], BOTTOM, TOP)
    y = replace(y, low=max(y.low, 0.0), high=min(y.high, 100.0))
    at_front = sorted((point for point in points if point.on_front), key=lambda point: point.cost)
    order = sorted(points, key=lambda one: one.on_front)  # what is on the front lies over the others
    return {
        "x_ticks": x.ticks(5),
        "y_ticks": y.ticks(6),
        "axis": axis_words,
        "marks": [_mark(point, x, y, point.series.label in own) for point in order],
        "steps": _steps(at_front, x, y),
        "names": _names(at_front, x, y),
        "chance": y.place(chance) if chance is not None and y.low <= chance <= y.high else None,
        "chance_words": "" if chance is None else f"chance ({chance:.2g} %)",
        "words": _words(points, axis_words),
    }


def _mark(point: Point, x: Axis, y: Axis, own: bool) -> dict[str, Any]:
    low, high = (point.accuracy if math.isnan(end) else end for end in (point.low, point.high))
    words = f"{point.name}: {percent(point.accuracy)} % at {significant(point.cost)} ({point.series.origin})"
    return {
        "x": x.place(point.cost),
        "y": y.place(100 * point.accuracy),
        "low": y.place(100 * low),
        "high": y.place(100 * high),
        "marker": marker(point.look, 6.5 if own else 5.0),
        "strong": point.on_front or own or any_front(),  # behind one's own method the others are muted already
        "own": own,
        "words": words,
    }


def _steps(points: Sequence[Point], x: Axis, y: Axis) -> str:
    """Return the line below which no point of the front lies, from the cheapest to the right edge."""
    if not points:
        return ""
    words = [f"M{x.place(points[0].cost)},{BOTTOM}"]
    for point in points:
        words.append(f"H{x.place(point.cost)} V{y.place(100 * point.accuracy)}")
    return " ".join([*words, f"H{RIGHT}"])


def _names(points: Sequence[Point], x: Axis, y: Axis) -> list[dict[str, Any]]:
    shown = points if len(points) <= NAMED else sorted(points, key=lambda point: -point.accuracy)[:NAMED]
    places = spread_out([y.place(100 * point.accuracy) - 8 for point in shown], 12, TOP + 4, BOTTOM - 6)
    names = []
    for point, place in zip(shown, places, strict=True):
        left = x.place(point.cost)
        fits = left + 9 + LETTER * len(point.name) < RIGHT or RIGHT - left > left - LEFT
        room = int((RIGHT - left - 9 if fits else left - 9 - LEFT) / LETTER)
        names.append(
            {
                "x": left + 8 if fits else left - 8,
                "y": place,
                "anchor": "start" if fits else "end",
                "text": point.name if len(point.name) <= room else f"{point.name[: room - 1]}…",
            }
        )
    return names


def _words(points: Sequence[Point], axis_words: str) -> str:
    """Return the whole chart in words, for who does not see it."""
    ordered = sorted(points, key=lambda point: point.cost)
    parts = [f"{point.name} {percent(point.accuracy)} % at {significant(point.cost)}" for point in ordered]
    return f"Test accuracy against {axis_words}: {'; '.join(parts)}."


def legend(numbers: Numbers) -> list[dict[str, Any]]:
    """Return the names of all labels with their markers."""
    return [
        {"name": label, "marker": marker(numbers.look(label, numbers.methods[label]), 4.5)} for label in numbers.labels
    ]
