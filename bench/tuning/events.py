"""What a study that is being tuned tells of itself; sent between processes as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.cell import Cell


@dataclass(frozen=True)
class Begun:
    """A trial has begun, or goes on; ``values`` are its values in words."""

    search: str
    number: int
    values: str


@dataclass(frozen=True)
class Reached:
    """A trial has completed so many of its rounds; ``line`` says how good it is."""

    search: str
    number: int
    rounds: int
    of: int
    line: str


@dataclass(frozen=True)
class Completed:
    """A cell of a trial has completed a round; ``row`` is it as a row of the table of rounds."""

    search: str
    cell: Cell
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Closed:
    """A cell of a trial has ended: as "done", "diverged", "skipped" or "failed", or "stopped" with a checkpoint."""

    search: str
    cell: Cell
    status: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Something else worth a line."""

    search: str
    line: str


@dataclass(frozen=True)
class Done:
    """A trial has ended.

    Attributes:
        search: the label and task.
        number: of the trial.
        state: "complete", "pruned" or "failed".
        line: its accuracy, or why it has none.
    """

    search: str
    number: int
    state: str
    line: str


@dataclass(frozen=True)
class Left:
    """A process ends its work on a search: all its trials have ended, or it was asked to stop."""

    search: str


@dataclass(frozen=True)
class Broken:
    """Nothing can go on, for example because results cannot be written."""

    search: str
    reason: str


Event = Begun | Reached | Completed | Closed | Note | Done | Left | Broken
