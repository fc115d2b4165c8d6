"""What a study that is being tuned tells of itself; sent between processes as plain data."""

from __future__ import annotations

from dataclasses import dataclass


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


Event = Begun | Reached | Note | Done | Left | Broken
