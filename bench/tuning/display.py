"""What a user sees while a study is tuned: a live display on a terminal, one line an event otherwise."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID

from bench.terminal.progress_bars import ProgressBars
from bench.tuning.events import Begun, Done, Event, Note, Reached

MARKS = {"complete": "[green]complete[/]", "pruned": "[dim]pruned[/]  ", "failed": "[red]failed[/]  "}


class TuneDisplay(ProgressBars):
    """The progress of a study.

    Args:
        console: where to write.
        total: number of trials.
        ended: how many of them have ended already.
    """

    def __init__(self, console: Console, total: int, ended: int) -> None:
        super().__init__(console, "trials", total, ended)
        self.running: dict[tuple[str, int], TaskID] = {}

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Begun):
            words = escape(f"  {event.search}, trial {event.number}")
            self.running[event.search, event.number] = self.begin(words, escape(event.values))
            if not self.console.is_terminal:
                self.say(f"started  {event.search}, trial {event.number}: {event.values}")
        elif isinstance(event, Reached):
            self.advance(self.running[event.search, event.number], event.rounds, event.of)
        elif isinstance(event, Note):
            self.say(f"         {event.search}: {event.line}")
        elif isinstance(event, Done):
            self._end(event)

    def _end(self, event: Done) -> None:
        self.end(self.running.pop((event.search, event.number), None))
        words = f"{event.search}, trial {event.number} ({self.ended}/{self.total}): {event.line}"
        self.console.print(f"{MARKS[event.state]} {escape(words)}", highlight=False, soft_wrap=True)
