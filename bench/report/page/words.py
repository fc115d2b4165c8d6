"""Numbers and names as the report writes them: accuracies in percent, differences in points, costs with their unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

NONE = "–"  # what stands where there is no number


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share in percent, without the sign.

    >>> percent(0.1234), percent(None)
    ('12.3', '–')
    """
    return NONE if value is None or math.isnan(value) else f"{100 * value:.{digits}f}".replace("-", "−")


def points(value: float | None) -> str:
    """Return a difference of shares in percentage points, with its sign.

    >>> points(0.0123), points(-0.004), points(0.0)
    ('+1.2', '−0.4', '0.0')
    """
    if value is None or math.isnan(value):
        return NONE
    words = f"{100 * value:+.1f}"
    return "0.0" if float(words) == 0 else words.replace("-", "−")


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    """Return the two ends of an interval of shares; empty where there is none.

    A t-interval does not know that accuracies lie between 0 and 100 %, and their differences between −100 and 100
    points: an end beyond is written as at most or at least the possible one.

    >>> interval(0.1, 0.25), interval(-0.3, 1.2), interval(-0.3, 0.2, signed=True)
    ('[10.0, 25.0]', '[≤ 0, ≥ 100]', '[−30.0, +20.0]')
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    write, least = (points, -1.0) if signed else (percent, 0.0)
    below = write(low) if low >= least else f"≤ {100 * least:.0f}".replace("-", "−")
    above = write(high) if high <= 1 else f"≥ {'+' if signed else ''}100"
    return f"[{below}, {above}]"


def probability(value: float | None) -> str:
    """Return a probability with two digits; never 0 or 1, which none is.

    >>> probability(0.8312), probability(0.9999), probability(0.0001)
    ('0.83', '> 0.99', '< 0.01')
    """
    if value is None or math.isnan(value):
        return NONE
    return "> 0.99" if value > 0.995 else "< 0.01" if value < 0.005 else f"{value:.2f}"


def p_value(value: float | None) -> str:
    """Return a p-value with as many digits as say something.

    >>> p_value(0.25), p_value(0.0312), p_value(0.00004)
    ('0.25', '0.031', '< 0.001')
    """
    if value is None or math.isnan(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def plain(value: float | None, digits: int = 2) -> str:
    """Return a number with some digits behind the point."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def significant(value: float | None) -> str:
    """Return a number with three significant digits and thousands apart.

    >>> significant(1234.5), significant(0.012345), significant(52.06)
    ('1,230', '0.0123', '52.1')
    """
    if value is None or math.isnan(value):
        return NONE
    if value == 0:
        return "0"
    if math.isinf(value):
        return "never"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.{max(digits, 0)}f}" if digits <= 6 else f"{value:.3g}"


def joined(words: Sequence[str], last: str = "and") -> str:
    """Return words as a list within a sentence.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def judged_among(family: int) -> str:
    """Return the family of comparisons that one is judged in.

    >>> judged_among(1), judged_among(12)
    ('judged by itself', 'judged among 12 comparisons (Holm)')
    """
    return "judged by itself" if family == 1 else f"judged among {family} comparisons (Holm)"


def shortened(words: Sequence[str], most: int, noun: str = "others") -> str:
    """Return the first of some words as a list, and how many there are beside."""
    return joined(words) if len(words) <= most + 1 else f"{', '.join(words[:most])} and {len(words) - most} {noun}"


def ranges(numbers: Iterable[int]) -> str:
    """Return whole numbers with runs of them joined.

    >>> ranges([0, 1, 2, 5])
    '0 to 2, 5'
    """
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)
