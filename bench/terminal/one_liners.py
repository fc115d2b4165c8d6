"""Listings with one line an entry, however narrow the terminal: the last column is cut at a word."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

GAP = 2
"""Characters between two columns."""
LEAST = 12
"""Characters of the last column; where the others leave less room than that, those behind the first are left out."""
CUT = "…"


class OneLiners:
    """Entries in columns, one line each, and below them what must be read as a whole.

    Args:
        title: its heading.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[tuple[str, ...]] = []
        self.notes: list[Text] = []

    def add_row(self, *cells: str) -> None:
        """Add an entry, a text for each column, as many as the others have; the first is its name."""
        self.rows.append(cells)

    def add_note(self, text: str) -> None:
        """Add a line with rich's markup that is not cut."""
        self.notes.append(Text.from_markup(text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(f"{self.title}:", style="bold")
        if self.rows:
            yield from self._lines(options.max_width)
        yield from self.notes

    def _lines(self, width: int) -> list[Text]:
        columns = list(zip(*self.rows, strict=True))
        widths = [max(len(word) for word in column) + GAP for column in columns[:-1]]
        if width - sum(widths) < LEAST:
            columns, widths = [columns[0], columns[-1]], widths[:1]
        room = width - sum(widths)
        lines = []
        for name, *others, last in zip(*columns, strict=True):
            between = "".join(word.ljust(of) for word, of in zip(others, widths[1:], strict=True))
            words = (name.ljust(widths[0]), "bold"), (between, "dim"), shortened(last, room)
            lines.append(Text.assemble(*words, no_wrap=True, overflow="crop"))
        return lines


def shortened(text: str, room: int) -> str:
    """Return a text cut at a word where it has more than ``room`` characters.

    >>> shortened("every client trains the full model", 20)
    'every client trains…'
    """
    if len(text) <= room:
        return text
    whole, _, part = text[:room].rpartition(" ")
    return (whole or part[: max(room - 1, 0)]).rstrip(" ,;:") + CUT
