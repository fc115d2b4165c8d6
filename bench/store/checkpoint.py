"""Checkpoints: what an interrupted cell needs to go on where it was.

A file is a line with the checksum of the rest, a line of JSON that says what it belongs to, and what ``torch.save``
made of the state: numbers and tensors alone, read without running any code.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.errors import StorageError, Unfinished
from bench.files import checksum, write_whole

VERSION = 1
EVERY_ROUNDS = 5
EVERY_SECONDS = 60.0
LARGEST_SHARE = 0.02
"""Of a cell's time that may go into its checkpoints: where they are slow and rounds quick, they are made less often."""


class Stopped(Unfinished):
    """A cell was asked to stop and did so after a checkpoint; the text says after which round."""


@dataclass
class Journal:
    """What a cell has written down so far; a resumed cell adds to it.

    Attributes:
        rounds, ranks, levels, clients: rows of the tables of these names.
        log: lines of the log.
        last_line: the last evaluated round in words.
        seconds: how long the interrupted runs took up to their last checkpoints.
    """

    rounds: list[dict[str, Any]] = field(default_factory=list)
    ranks: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    last_line: str = ""
    seconds: float = 0.0
    levels: list[dict[str, Any]] = field(default_factory=list)
    clients: list[dict[str, Any]] = field(default_factory=list)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows by the name of their table."""
        return {"rounds": self.rounds, "ranks": self.ranks, "levels": self.levels, "clients": self.clients}


class Checkpoint:
    """The checkpoint of one unfinished cell.

    Args:
        path: the file.
        made_by: what the cell's numbers depend on: its identity, code, data, device. A file of another is set aside.
    """

    def __init__(self, path: Path, made_by: Mapping[str, Any]) -> None:
        self.path, self.made_by = path, {"version": VERSION, **made_by}
        self.round, self.time, self.cost = 0, time.perf_counter(), 0.0

    def due(self, round_number: int) -> bool:
        """Return whether it is time for another: every so many rounds or seconds, but not at too high a cost."""
        waited = time.perf_counter() - self.time
        often_enough = round_number - self.round >= EVERY_ROUNDS or waited >= EVERY_SECONDS
        return often_enough and waited * LARGEST_SHARE >= self.cost

    def save(self, state: Mapping[str, Any], journal: Journal, rounds: int) -> None:
        """Put the file in place of an older one.

        Args:
            state: see :meth:`bench.simulation.simulator.Simulation.state`.
            journal: what was written down so far.
            rounds: number of rounds of the whole cell.

        Raises:
            StorageError: the disk is full or the folder cannot be written; the older file is untouched.
        """
        start = time.perf_counter()
        about = {**self.made_by, "round": state["round"], "rounds": rounds, "seconds": round(journal.seconds, 3)}
        content = io.BytesIO()
        torch.save({"state": dict(state), "journal": json.dumps(asdict(journal), default=_plain)}, content)
        head, payload = json.dumps(about).encode() + b"\n", content.getvalue()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, checksum(head, payload).encode() + b"\n", head, payload)
        except OSError as error:
            raise StorageError(f"{self.path}: the checkpoint cannot be written: {error.strerror or error}") from None
        self.round, self.time = state["round"], time.perf_counter()
        self.cost = self.time - start

    @contextlib.contextmanager
    def charged(self) -> Iterator[None]:
        """Count what is done with the file that was just written as part of its cost."""
        yield
        now = time.perf_counter()
        self.cost += now - self.time
        self.time = now

    def load(self) -> tuple[dict[str, Any], Journal] | None:
        """Return the state and journal to go on from; None where there is no checkpoint.

        Raises:
            ValueError: it is damaged or belongs to something else, in words.
        """
        try:
            seal, head, payload = self.path.read_bytes().split(b"\n", 2)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(f"it cannot be read ({error.strerror})") from None
        except ValueError:
            raise ValueError("it is not whole") from None
        if seal != checksum(head, b"\n", payload).encode():
            raise ValueError("it is not as it was written")
        about = json.loads(head)
        for name, value in self.made_by.items():
            if about.get(name) != value:
                raise ValueError(f"it was made with another {name}")
        try:
            content = torch.load(io.BytesIO(payload), weights_only=True)
            journal = Journal(**json.loads(content["journal"]))
        except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError):
            raise ValueError("it holds something else than a state") from None
        self.round = about["round"]
        return content["state"], journal

    def set_aside(self) -> Path:
        """Move a file that cannot be used out of the way and return where it is now."""
        place = self.path.with_name(f"{self.path.name}.set-aside")
        try:
            self.path.replace(place)
        except OSError as error:
            raise StorageError(f"{self.path}: the checkpoint cannot be set aside: {error.strerror or error}") from None
        return place

    def discard(self) -> None:
        """Delete the file: the cell is finished."""
        with contextlib.suppress(OSError):  # one that stays is never read again, and swept up with the rest
            self.path.unlink()


def reached(path: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself, "round", "rounds" and "seconds"; empty if there is none that is whole.

    Reads two lines and not the tensors, whose checksum is not looked at.
    """
    try:
        with path.open("rb") as file:
            file.readline()
            about = json.loads(file.readline())
        return {name: about[name] for name in ("round", "rounds", "seconds")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _plain(value: Any) -> Any:
    """Return a number of numpy or torch as Python's own, of the same value."""
    return value.item()
