"""What a user sees while something runs: a live display on a terminal, one line an event otherwise."""

from __future__ import annotations

import statistics
import time
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import TaskID
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.config.duration import in_words
from bench.launch.apart import Seen
from bench.launch.events import Again, Ended, Event, Lost, Note, Started, Stopped, Waiting
from bench.launch.events import Progress as RoundDone
from bench.terminal.progress_bars import BAR, ProgressBars

MARKS = {"done": "[green]done[/]", "diverged": "[yellow]diverged[/]", "skipped": "[dim]skipped[/]"}


WORTH_SECONDS = 60.0
"""From when on the display of a run says how long the rest will take."""


class SweepDisplay(ProgressBars):
    """The progress of a sweep.

    Args:
        console: where to write.
        total: number of cells to run.
    """

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console, "cells", total)
        self.running: dict[str, TaskID] = {}

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Started):
            self.running[event.cell] = self.begin(escape(f"  {_short(event.cell)}"))
            self._line(f"started   {event.cell}")
        elif isinstance(event, RoundDone):
            line = escape(_tail(event.line))
            self.advance(self.running[event.cell], event.round_number, event.rounds, line)
        elif isinstance(event, Note | Stopped | Again):
            self._line(f"          {event.cell} {event.line}", always=True)
        elif isinstance(event, Waiting):
            whose = ", ".join(f"{cell} ({holder})" for cell, holder in event.holders.items())
            noun = "cell" if len(event.holders) == 1 else "cells"
            self._line(f"waiting for {len(event.holders)} {noun} run elsewhere: {whose}", always=True)
        elif isinstance(event, Lost):
            self._line(f"          {event.cell} was taken over by another process", always=True)
        else:
            self._end(event)
        if isinstance(event, Stopped | Lost | Again) and event.cell in self.running:
            self.end(self.running.pop(event.cell), counts=False)

    def _end(self, event: Ended) -> None:
        self.end(self.running.pop(event.cell, None))
        mark = MARKS.get(event.status, f"[red]{event.status}[/]")
        words = escape(event.reason or event.line)
        where = ", elsewhere" if event.elsewhere else ""
        self.console.print(
            f"{mark:<9} {escape(event.cell)} ({self.ended}/{self.total}, {event.seconds:.0f} s{where})"
            f"{': ' if words else ''}{words}",
            highlight=False,
            soft_wrap=True,
        )

    def _line(self, text: str, always: bool = False) -> None:
        if always or not self.console.is_terminal:
            self.say(text)


def _short(cell: str) -> str:
    """Return the name of a cell without the hash that ends it, for which a bar has no room."""
    return cell.rpartition("-")[0] or cell


def _tail(line: str) -> str:
    return line.partition(", ")[2]


class RunDisplay:
    """The rounds of one cell as a growing table."""

    COLUMNS = ("round", "accuracy", "test loss", "training loss", "MB", "seconds")

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self.rows: list[tuple[str, ...]] = []
        self.caption = ""
        self.done = 0, 0, ""
        self.spent: list[float] = []
        self.start = time.perf_counter()
        self.live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        else:
            self.note(self.title)
        return self

    def __exit__(self, *error: object) -> None:
        if self.live:
            self.live.update(self._table(len(self.rows)), refresh=True)
            self.live.stop()

    def show(self, seen: Seen) -> None:
        """Show one round."""
        split = "validation" if seen.validates else "test"
        self.caption = f"{seen.evaluated_on}; {seen.evaluated:,} {split} samples"
        self.rows.append(
            (
                f"{seen.number}/{seen.rounds}",
                f"{seen.acc:.2%}" if seen.acc is not None else "",
                f"{seen.loss:.4f}" if seen.loss is not None else "",
                f"{seen.train_loss:.4f}" if seen.train_loss is not None else "",
                f"{seen.sent_bytes / 1e6:.2f}" if seen.number else "",
                f"{seen.seconds:.2f}" if seen.number else "",
            )
        )
        left = self._left(seen)
        self.done = seen.number, seen.rounds, left
        if self.live:
            self.live.update(Group(self._table(max(5, self.console.height - 10)), self._bar()), refresh=True)
        else:
            words = [f"{name} {value}" for name, value in zip(self.COLUMNS, self.rows[-1], strict=True) if value]
            self.note(", ".join([*words, seen.title, *([left] if left else [])]))

    def _left(self, seen: Seen) -> str:
        """Return how long the rest will take; of lines, where it is a minute or more. Empty before the first round."""
        if not seen.number:
            return ""
        self.spent.append(seen.seconds)
        rest = (seen.rounds - seen.number) * statistics.fmean(self.spent)
        return f"about {in_words(rest)} left" if self.live or rest >= WORTH_SECONDS else ""

    def _bar(self) -> RenderableType:
        number, rounds, left = self.done
        line = Table.grid(padding=(0, 1))
        line.add_row(ProgressBar(rounds, number, width=BAR), f"{number}/{rounds} rounds", Text(left, style="cyan"))
        return line

    def note(self, line: str) -> None:
        """Say something else."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _table(self, most: int) -> RenderableType:
        table = Table(title=escape(self.title), caption=escape(self.caption))
        for name in self.COLUMNS:
            table.add_column(name, justify="right")
        for row in self.rows[-most:]:
            table.add_row(*row)
        return table
