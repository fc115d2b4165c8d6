"""Live bars on a terminal; elsewhere nothing but lines."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class ProgressBars:
    """One bar for the whole, and one for each part that runs.

    Args:
        console: where to write.
        noun: what the whole is made of, in the plural.
        total: number of parts.
        ended: how many of them have ended already.
    """

    def __init__(self, console: Console, noun: str, total: int, ended: int = 0) -> None:
        self.console, self.total, self.ended = console, total, ended
        self.bars = Progress(
            TextColumn("[progress.description]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[line]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.whole = self.bars.add_task(noun, total=total, completed=ended, line="")

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """Write a line as it is: names may hold what looks like markup."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)
