"""Tables of the page: what a template needs to write one that can be read, sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        numeric: whether its entries are numbers.
        hint: what its numbers are, shown to who points at the head; the caption says it too where it matters.
        first: which end of it is shown first by who sorts by it: "ascending" or "descending".
    """

    name: str
    numeric: bool = False
    hint: str = ""
    first: str = "ascending"


@dataclass(frozen=True)
class Entry:
    """One entry of a table.

    Attributes:
        text: what is read.
        value: what it is sorted by; None stands last.
        note: smaller words behind it: an interval.
        hint: where it comes from, shown to who points at it.
        mark: a class of the style sheet: "best", "near", "good", "bad", "quiet".
        href: where it leads within the page.
        swatch: a colour that stands before it.
        shade: from 0 to 1, how strongly its ground is coloured; below 0 towards the other colour.
    """

    text: str
    value: float | str | None = None
    note: str = ""
    hint: str = ""
    mark: str = ""
    href: str = ""
    swatch: str = ""
    shade: float | None = None

    @property
    def sorted_by(self) -> str:
        """What the script sorts by, as an attribute; empty stands last."""
        if self.value is None or (isinstance(self.value, float) and math.isnan(self.value)):
            return ""
        number = self.value if isinstance(self.value, str) else repr(float(self.value))
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(number, number)  # as JavaScript reads them


@dataclass(frozen=True)
class Row:
    """A row of a table: its entries, the first of which names it, and what it can be chosen by."""

    entries: tuple[Entry, ...]
    chosen_by: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of the page.

    Attributes:
        id: unique on the page.
        caption: what it shows, in a sentence.
        columns: of which the first names the rows.
        rows: in the order in which they are read without a script.
        filters: by the name of a choice (a key of ``Row.chosen_by``) its words.
        tall: whether it scrolls in a frame of its own.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    sortable: bool = True
    tall: bool = False

    def choices(self, name: str) -> list[str]:
        """Return what rows can be chosen by, in their order; one row may be chosen by several lines."""
        lines = (line for row in self.rows for line in row.chosen_by.get(name, "").split("\n"))
        return list(dict.fromkeys(line for line in lines if line))
