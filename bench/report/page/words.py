"""Numbers and names as the report writes them: accuracies in percent, differences in points, costs with their unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

NONE = "–"  # what stands where there is no number


def is_missing(value: float | None) -> bool:
    """Return whether there is no number."""
    return value is None or math.isnan(value)


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
    """Return the two ends of an interval of shares; empty where there is none."""
    if is_missing(low) or is_missing(high):
        return ""
    write = points if signed else percent
    return f"[{write(low)}, {write(high)}]"


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
