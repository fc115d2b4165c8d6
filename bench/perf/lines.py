"""Lines with intervals, as both figures draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from bench.figures.style import FILLS, LINES

PRECISIONS = ("fp32", "bf16", "tf32")
"""In the order of their lines and fills."""


def look(precision: str) -> dict[str, Any]:
    """Return how a precision looks: the colour tells something else."""
    place = PRECISIONS.index(precision)
    return {"linestyle": LINES[place], "fillstyle": FILLS[place]}


def with_range(
    axes: Axes, rows: Sequence[Mapping[str, Any]], x: str, y: str, ends: tuple[str, str], **style: Any
) -> None:
    """Draw a line through the rows, in the order of ``x``, with bars from the least to the most repetition."""
    ordered = sorted(rows, key=lambda row: row[x])
    centre = [row[y] for row in ordered]
    below = [middle - row[ends[0]] for middle, row in zip(centre, ordered, strict=True)]
    above = [row[ends[1]] - middle for middle, row in zip(centre, ordered, strict=True)]
    axes.errorbar([row[x] for row in ordered], centre, yerr=[below, above], capsize=2, elinewidth=0.9, **style)
