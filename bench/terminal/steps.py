"""Steps that are told by name before they begin: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID

from bench.terminal.progress_bars import ProgressBars


class Steps(ProgressBars):
    """The progress of what is done step by step.

    Args:
        console: where to write.
        noun: what the steps are, in the plural.
        total: their number.
    """

    def __init__(self, console: Console, noun: str, total: int) -> None:
        super().__init__(console, noun, total)
        self._running_step: TaskID | None = None

    def begin_step(self, name: str) -> None:
        """Say that the step before is over and that one of this name begins."""
        self.end(self._running_step, counts=self._running_step is not None)
        self._running_step = self.begin(escape(f"  {name}"))
