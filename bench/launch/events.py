"""What a running sweep tells of itself; sent between processes as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Started:
    """A cell has begun."""

    cell: str


@dataclass(frozen=True)
class Progress:
    """A round is complete; ``line`` says so in words."""

    cell: str
    round_number: int
    rounds: int
    line: str


@dataclass(frozen=True)
class Ended:
    """A cell has ended.

    Attributes:
        cell: its folder's name.
        status: "done", "diverged", "skipped" or "failed".
        reason: why it is not "done".
        seconds: how long it took.
        line: its last evaluated round in words.
        fatal: True where the sweep cannot go on (results cannot be written).
    """

    cell: str
    status: str
    reason: str
    seconds: float
    line: str = ""
    fatal: bool = False


Event = Started | Progress | Ended
