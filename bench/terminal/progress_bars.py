"""Live bars on a terminal; elsewhere nothing but lines.

Bar, count and estimate keep their room in a narrow terminal; names and further words are cut.
"""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from bench.config.duration import in_words

BAR = 24
NARROW_BAR = 10
NARROW = 100
"""Characters of a terminal below which the bar is short and further words are left out."""


class TimeLeft(ProgressColumn):
    """How long the rest will take, by what was done since the task began; "" until there is something to go by.

    A task's field ``part`` is what of it was done, in its own unit and without what was done before it began;
    ``since`` says after how many seconds ``part`` had that value.
    """

    max_refresh = None

    def render(self, task: Task) -> Text:
        """Return the words for one task."""
        left = seconds_left(task)
        return Text("" if left is None else f"{in_words(left)} left", style="progress.remaining", no_wrap=True)


def seconds_left(task: Task) -> float | None:
    """Return how many seconds the rest of a task will take; None where nothing of it is done yet."""
    part, since = float(task.fields.get("part", 0)), float(task.fields.get("since", 0))
    if part <= 0 or task.total is None or task.elapsed is None:
        return None
    rest = task.total - float(task.fields.get("before", 0)) - part
    return max(0.0, since * rest / part - (task.elapsed - since))


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
        self.before = ended
        self._running: dict[TaskID, float] = {}
        narrow = console.width < NARROW
        kept: dict[str, Any] = {"no_wrap": True}
        columns: list[ProgressColumn] = [
            TextColumn("[progress.description]{task.description}", table_column=_cut(ratio=3)),
            BarColumn(NARROW_BAR if narrow else BAR, table_column=Column(min_width=NARROW_BAR)),
            MofNCompleteColumn(table_column=Column(**kept, min_width=len(f"{total}/{total}"))),
            TimeLeft(table_column=Column(**kept, min_width=len("48 h 59 min left"))),
        ]
        if not narrow:
            columns.append(TextColumn("[dim]{task.fields[line]}", table_column=_cut(ratio=2)))
        self.bars = Progress(*columns, console=console, disable=not console.is_terminal, expand=True)
        self.whole = self.bars.add_task(noun, total=total, completed=ended, line="", before=ended)

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def begin(self, name: str, line: str = "") -> TaskID:
        """Add the bar of a part, whose rounds are not known yet."""
        return self.bars.add_task(name, total=None, line=line)

    def advance(self, bar: TaskID, done: int, of: int, line: str | None = None) -> None:
        """Say that a part has done so many of its rounds; the first one that is told may not be the first one."""
        task = next(task for task in self.bars.tasks if task.id == bar)
        before = int(task.fields.get("before", max(done - 1, 0)))
        further: dict[str, Any] = {} if line is None else {"line": line}
        self.bars.update(
            bar, total=of, completed=done, before=before, part=done - before, since=task.elapsed, **further
        )
        self._running[bar] = (done - before) / of
        self._estimate()

    def end(self, bar: TaskID | None, counts: bool = True) -> None:
        """Take the bar of a part away; where it ``counts``, the part has ended."""
        if bar is not None:
            self.bars.remove_task(bar)
            self._running.pop(bar, None)
        self.ended += counts
        self.bars.update(self.whole, completed=self.ended)
        self._estimate()

    def _estimate(self) -> None:
        whole = next(task for task in self.bars.tasks if task.id == self.whole)
        part = self.ended - self.before + sum(self._running.values())
        self.bars.update(self.whole, part=part, since=whole.elapsed)

    def say(self, text: str) -> None:
        """Write a line as it is: names may hold what looks like markup."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


def _cut(ratio: int) -> Column:
    return Column(ratio=ratio, no_wrap=True, overflow="ellipsis")
