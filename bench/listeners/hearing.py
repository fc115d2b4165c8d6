"""Passing what happens in cells on to listeners."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from bench.cell import Cell
from bench.errors import BenchError, choices, one_line
from bench.launch.events import Again, Ended, Event, Lost, Progress, Stopped
from bench.listeners.base import Listener

KINDS = {
    "csv": ("bench.listeners.csv_file", "CsvFiles", ""),
    "tensorboard": ("bench.listeners.tensorboard", "TensorBoard", "tensorboard"),
    "wandb": ("bench.listeners.wandb", "WeightsAndBiases", "wandb"),
}
"""Word of ``--log``: module and class of the listener, and the package it needs beyond those of the benchmark."""


def kinds_in(words: Iterable[str]) -> list[str]:
    """Return the kinds of log that a user has named, each once; several may stand in a word, with commas between.

    Raises:
        BenchError: there is no such kind.
    """
    kinds = list(dict.fromkeys(kind.strip() for word in words for kind in word.split(",")))
    for kind in kinds:
        if kind not in KINDS:
            raise BenchError(f"--log {kind!r}: there is no such log; {choices(kind, KINDS)}")
    return kinds


def listener(kind: str, folder: Path) -> Listener:
    """Return a listener that writes beside the results in ``folder``.

    Raises:
        BenchError: its package is not installed, or its folder cannot be made.
    """
    module, name, package = KINDS[kind]
    try:
        made: Listener = getattr(importlib.import_module(module), name)(folder)
    except ModuleNotFoundError as error:
        raise BenchError(f"--log {kind}: {error.name!r} is not installed; 'pip install {package}' adds it") from None
    except OSError as error:
        raise BenchError(f"--log {kind}: {folder / 'log'} cannot be written: {one_line(str(error))}") from None
    return made


class Hearing:
    """Passes rounds on to listeners; one that raises is left out from then on, with a line, and costs no result.

    Args:
        cells: those that will be heard of.
        listeners: by the word that names them.
        say: says a line to the user.
    """

    def __init__(self, cells: Sequence[Cell], listeners: dict[str, Listener], say: Callable[[str], None]) -> None:
        self.cells = {cell.folder: cell for cell in cells}
        self.listeners, self.say = listeners, say

    @classmethod
    def of(cls, words: Iterable[str], folder: Path, cells: Sequence[Cell], say: Callable[[str], None]) -> Self:
        """Return a hearing with the listeners that a user has named; see :func:`kinds_in` and :func:`listener`."""
        return cls(cells, {kind: listener(kind, folder) for kind in kinds_in(words)}, say)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._each(lambda heard: heard.close())

    def beside(self, show: Callable[[Event], None]) -> Callable[[Event], None]:
        """Return what hears of events and shows them too."""

        def both(event: Event) -> None:
            show(event)
            self.hear(event)

        return both

    def hear(self, event: Event) -> None:
        """Pass on what an event says of a round or of a cell's end."""
        if isinstance(event, Progress):
            self.round(event.cell, event.row)
        elif isinstance(event, Ended):
            self.ended(event.cell, event.status, event.reason)
        elif isinstance(event, Stopped | Again):
            self.ended(event.cell, "stopped", event.line)
        elif isinstance(event, Lost):
            self.ended(event.cell, "stopped", "taken over by another process")

    def meet(self, *cells: Cell) -> None:
        """Let it know of further cells."""
        self.cells |= {cell.folder: cell for cell in cells}

    def round(self, folder: str, row: Any) -> None:
        """Pass a round on."""
        cell = self.cells[folder]
        self._each(lambda heard: heard.round(cell, row))

    def ended(self, folder: str, status: str, reason: str) -> None:
        """Pass on that a cell has ended."""
        cell = self.cells[folder]
        self._each(lambda heard: heard.ended(cell, status, reason))

    def _each(self, tell: Callable[[Listener], None]) -> None:
        for kind, heard in list(self.listeners.items()):
            try:
                tell(heard)
            except Exception as error:  # another tool's failure, of whatever kind, must not cost a result
                del self.listeners[kind]
                self.say(f"--log {kind}: it failed and is left out from here on: {one_line(str(error)) or repr(error)}")
