"""No figure is taller than a page: its rows of panels are split into files, each with a number in its name and note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PAGE = 11.0  # inches: what no figure is taller than
AROUND = 2.8  # of them: heading, legend and note
SHARE = PAGE - AROUND


@dataclass(frozen=True)
class Page:
    """Rows of panels that stand in one file.

    Attributes:
        shown: what the rows show.
        number, of: which file of how many.
    """

    shown: list[Any]
    number: int = 1
    of: int = 1

    @property
    def suffix(self) -> str:
        """What is added to the file's name: nothing where there is one."""
        return f"-{self.number}" if self.of > 1 else ""

    @property
    def note(self) -> str:
        """Which file this is, as a sentence; empty where there is one."""
        return f"Figure {self.number} of {self.of}: the others have the other rows of panels." if self.of > 1 else ""


def pages(rows: Sequence[Any], heights: Sequence[float] | float, share: float = SHARE) -> list[Page]:
    """Return rows of panels in as few files as fit, filled evenly.

    Args:
        rows: what each row of panels shows.
        heights: of each of them, in inches, or of all.
        share: inches of a page that the panels may have.

    >>> [page.shown for page in pages("abcde", 2.0, share=7.0)]
    [['a', 'b', 'c'], ['d', 'e']]
    """
    tall = [heights] * len(rows) if isinstance(heights, int | float) else list(heights)
    files = 1
    while True:
        parts = _split(list(rows), tall, sum(tall) / files)
        if all(sum(of) <= share or len(of) == 1 for _, of in parts) or files >= len(tall):
            return [Page(shown, number, len(parts)) for number, (shown, _) in enumerate(parts, 1)]
        files += 1


def _split(rows: list[Any], heights: list[float], aim: float) -> list[tuple[list[Any], list[float]]]:
    """Return rows in parts of about ``aim`` inches."""
    parts: list[tuple[list[Any], list[float]]] = []
    for row, height in zip(rows, heights, strict=True):
        if not parts or sum(parts[-1][1]) + height / 2 > aim + 1e-9:
            parts.append(([], []))
        parts[-1][0].append(row)
        parts[-1][1].append(height)
    return parts
