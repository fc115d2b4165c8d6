"""Who stands where among several: one rule for ties, whatever sentence or table asks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bench.analysis.block import DECIMALS
from bench.report.page.words import NONE

Values = Mapping[str, float]
"""By label, the larger the better; missing where a label has none."""


def ordered(values: Values) -> list[str]:
    """Return the labels, the best first, level ones by name and those without a value last.

    >>> ordered({"b": 0.5, "c": 0.5, "a": 0.4, "d": float("nan")})
    ['b', 'c', 'a', 'd']
    """
    return sorted(values, key=lambda label: (-_rounded(values[label]), label))


def level_with_best(values: Values) -> list[str]:
    """Return the labels that none is ahead of, by name."""
    best = max((_rounded(value) for value in values.values()), default=-math.inf)
    return sorted(label for label, value in values.items() if _rounded(value) == best > -math.inf)


def places(values: Values) -> dict[str, tuple[int, int]]:
    """Return the first and the last place that each label shares with those level with it, 1 for the best.

    >>> places({"a": 0.5, "b": 0.7, "c": 0.5})
    {'a': (2, 3), 'b': (1, 1), 'c': (2, 3)}
    """
    known = {label: _rounded(value) for label, value in values.items() if not math.isnan(value)}
    found = {}
    for label, value in known.items():
        ahead = sum(other > value for other in known.values())
        found[label] = ahead + 1, ahead + sum(other == value for other in known.values())
    return found


def span(place: tuple[int, int] | None) -> str:
    """Return a place in words, that of several as a span.

    >>> span((1, 1)), span((1, 3)), span(None)
    ('1', '1–3', '–')
    """
    if place is None:
        return NONE
    first, last = place
    return f"{first}" if first == last else f"{first}–{last}"


def _rounded(value: float) -> float:
    return -math.inf if math.isnan(value) else round(value, DECIMALS)
