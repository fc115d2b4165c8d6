"""What a running sweep tells of itself; sent between processes as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Started:
    """A cell has begun."""

    cell: str


@dataclass(frozen=True)
class Progress:
    """A round is complete; ``line`` says so in words, ``row`` as in the table of rounds."""

    cell: str
    round_number: int
    rounds: int
    line: str
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """Something else worth a line, for example that the cell goes on from a checkpoint."""

    cell: str
    line: str


@dataclass(frozen=True)
class Stopped:
    """A cell was asked to stop and has left a checkpoint; ``line`` says after which round."""

    cell: str
    line: str


@dataclass(frozen=True)
class Lost:
    """A cell was taken over by another process, which runs it now."""

    cell: str


@dataclass(frozen=True)
class Again:
    """A cell will be run again from its last checkpoint, by the same sweep; ``line`` says why."""

    cell: str
    line: str


@dataclass(frozen=True)
class Waiting:
    """All cells that are left are run by other processes: by cell's folder, who has it."""

    holders: Mapping[str, str]


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
        elsewhere: True where another process ran it meanwhile.
        spent: True where the process that ran it shall do nothing more: its method has left a thread running.
    """

    cell: str
    status: str
    reason: str
    seconds: float
    line: str = ""
    fatal: bool = False
    elsewhere: bool = False
    spent: bool = False


Event = Started | Note | Progress | Stopped | Lost | Again | Waiting | Ended
