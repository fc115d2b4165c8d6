"""What a user sees while a study is tuned: a live display on a terminal, one line an event otherwise."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.tuning.events import Begun, Done, Event, Note, Reached

MARKS = {"complete": "[green]complete[/]", "pruned": "[dim]pruned[/]  ", "failed": "[red]failed[/]  "}


class TuneDisplay:
    """The progress of a study.

    Args:
        console: where to write.
        total: number of trials.
        ended: how many of them have ended already.
    """

    def __init__(self, console: Console, total: int, ended: int) -> None:
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
        self.whole = self.bars.add_task("trials", total=total, completed=ended, line="")
        self.running: dict[tuple[str, int], TaskID] = {}

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Begun):
            words = f"  {event.search}, trial {event.number}"
            self.running[event.search, event.number] = self.bars.add_task(words, total=None, line=event.values)
            if not self.console.is_terminal:
                self._line(f"started  {event.search}, trial {event.number}: {event.values}")
        elif isinstance(event, Reached):
            self.bars.update(self.running[event.search, event.number], total=event.of, completed=event.rounds)
        elif isinstance(event, Note):
            self._line(f"         {event.search}: {event.line}")
        elif isinstance(event, Done):
            self._end(event)

    def _end(self, event: Done) -> None:
        self.ended += 1
        task = self.running.pop((event.search, event.number), None)
        if task is not None:
            self.bars.remove_task(task)
        self.bars.update(self.whole, completed=self.ended)
        words = f"{event.search}, trial {event.number} ({self.ended}/{self.total}): {event.line}"
        self.console.print(f"{MARKS[event.state]} {escape(words)}", highlight=False, soft_wrap=True)

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)
