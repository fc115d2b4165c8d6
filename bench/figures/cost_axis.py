"""Horizontal axes that say what training cost: bytes, multiply-accumulates or seconds."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from bench.figures.units import duration, prefixed

STEPS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
    tuple(number / 10 for number in range(10, 100)),
)  # within a decade, from few ticks to many
TICKS = 3  # at least, on a logarithmic axis
MOST = 6
WORK = {"forward_macs": "forward work of all clients", "train_macs": "forward and backward work\nof all clients"}


def axis_of(cost: str, largest: float, macs_column: str) -> tuple[float, str]:
    """Return (divisor, label) of the horizontal axis.

    Args:
        cost: "round", "bytes", "macs" or "seconds".
        largest: value on the axis.
        macs_column: which work "macs" counts, see :func:`bench.analysis.curves.macs_column`.
    """
    if cost == "bytes":
        divisor, unit = prefixed(largest, "B")
        return divisor, f"sent, down and up ({unit})"
    if cost == "macs":
        divisor, unit = prefixed(largest, "MAC")
        return divisor, f"{WORK[macs_column]} ({unit})"
    if cost == "seconds":
        divisor, unit = duration(largest)
        return divisor, f"wall clock of the method ({unit})"
    return 1.0, "round"


def make_logarithmic(panel: Axes, low: float, high: float) -> None:
    """Make the horizontal axis of ``panel`` logarithmic from below ``low`` to above ``high``, with round numbers."""
    left, right = low / 1.3, high * 1.3
    panel.set_xscale("log")
    panel.set_xlim(left, right)
    panel.xaxis.set_major_locator(FixedLocator(round_numbers(left, right)))
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())


def round_numbers(low: float, high: float) -> list[float]:
    """Return some round numbers from ``low`` to ``high``, both above 0, evenly spread on a logarithmic axis.

    >>> round_numbers(0.8, 12.0)
    [1.0, 3.0, 10.0]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in STEPS:
        ticks = [value for decade in decades for step in steps if low <= (value := step * 10.0**decade) <= high]
        if len(ticks) >= TICKS:
            break
    return ticks[:: math.ceil(len(ticks) / MOST)]
