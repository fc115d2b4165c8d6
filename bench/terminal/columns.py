"""Tables whose words stay whole: columns as wide as their longest words, or a block for each row where room lacks."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

BORDER = 3
"""Characters that a column takes beside its words; the table takes one more."""


class Columns:
    """A table of texts with rich's markup.

    Args:
        title: its heading.
        names: the headings of its columns; the first column names the row.
    """

    def __init__(self, title: str, *names: str) -> None:
        self.title, self.names = title, names
        self.rows: list[tuple[Text, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row, a text for each column."""
        self.rows.append(tuple(Text.from_markup(cell) for cell in cells))

    def widths(self, room: int) -> list[int] | None:
        """Return the columns' widths in a table of ``room`` characters; None where a word would be broken."""
        columns = [list(column) for column in zip(map(Text, self.names), *self.rows, strict=True)]
        least = [max(_longest(text.plain.split()) for text in column) for column in columns]
        # The name of a row is one word.
        least[0] = max(text.cell_len for text in columns[0])
        wanted = [max(_longest(text.plain.split("\n")) for text in column) for column in columns]
        rest = room - 1 - BORDER * len(columns) - sum(least)
        if rest < 0:
            return None
        more = [most - few for most, few in zip(wanted, least, strict=True)]
        share = min(1.0, rest / sum(more)) if sum(more) else 0.0
        return [few + int(share * extra) for few, extra in zip(least, more, strict=True)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self.widths(options.max_width)
        if widths is None:
            yield from self._blocks()
            return
        table = Table(title=Text(self.title), title_justify="left")
        for name, width in zip(self.names, widths, strict=True):
            table.add_column(name, width=width, overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        yield table

    def _blocks(self) -> RenderResult:
        """Yield each row as a block: its name, and below it what it says."""
        yield Text(f"{self.title}:", style="bold")
        for name, *cells in self.rows:
            yield Text.assemble((name.plain, "bold"))
            for heading, cell in zip(self.names[1:], cells, strict=True):
                if cell.plain:
                    yield Padding(Text.assemble((f"{heading}: ", "dim"), cell), (0, 0, 0, 2))


def _longest(texts: list[str]) -> int:
    return max((Text(text).cell_len for text in texts), default=0)
