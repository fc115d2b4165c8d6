"""Units with a decimal prefix, chosen by the largest value."""

from __future__ import annotations

PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
TIMES = ((3600.0, "h"), (60.0, "min"))


def prefixed(largest: float, unit: str) -> tuple[float, str]:
    """Return (divisor, unit) so that ``largest`` becomes a number from 1 to 1000.

    >>> prefixed(2.5e9, "B")
    (1000000000.0, 'GB')
    """
    for size, prefix in PREFIXES:
        if largest >= size:
            return size, prefix + unit
    return 1.0, unit


def duration(largest: float) -> tuple[float, str]:
    """Return (divisor, unit) for seconds: hours or minutes from two of them up, else seconds."""
    for size, unit in TIMES:
        if largest >= 2 * size:
            return size, unit
    return 1.0, "s"
