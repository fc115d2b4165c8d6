"""The desk of a sweep on a Ray cluster: an actor beside the driver that the nodes talk to.

It alone touches the driver's files: it keeps checkpoints, so that a cell whose node is lost goes on elsewhere, and
reads the data that a node lacks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from bench.errors import StorageError
from bench.files import write_whole
from bench.launch.events import Event, Note, Started, Waiting
from bench.launch.ray_task import TRIES
from bench.store.cells import Store
from bench.store.leases import Leases


class Desk:
    """What the nodes and the driver share.

    Args:
        results: the sweep's folder on the driver's machine.
        data: the driver's cache of data sets.
    """

    def __init__(self, results: Path, data: Path) -> None:
        self.unfinished, self.data = Store(results).unfinished, data
        self.leases = Leases(self.unfinished)
        self._tries: dict[tuple[str, str], list[str]] = {}  # by cell's folder and lease
        self._current: dict[str, str] = {}
        self._news: list[Event] = []
        self._stopping = False
        self._data: dict[str, dict[str, Any]] = {}

    def begin(self, cell: str, token: str, try_: str) -> tuple[int, bytes | None]:
        """Hear that a cell begins on some node; return which try this is, from 1, and the checkpoint to go on from."""
        tries = self._tries.setdefault((cell, token), [])
        tries.append(try_)
        self._current[cell] = try_
        if 1 < len(tries) <= TRIES:
            self._news.append(Note(cell, "lost its process or node and begins again"))
        path = self.unfinished / cell / "checkpoint.pt"
        return len(tries), path.read_bytes() if path.exists() else None

    def tell(self, try_: str, event: Event) -> None:
        """Take an event for the driver, unless it comes from a node that was given up."""
        assert not isinstance(event, Waiting)
        first = any(tries[0] == try_ for tries in self._tries.values())
        if self.is_current(event.cell, try_) and (first or not isinstance(event, Started)):
            self._news.append(event)

    def keep(self, cell: str, try_: str, content: bytes) -> str | None:
        """Keep a checkpoint; return an empty text, why it could not be written, or None if the cell is another's."""
        tokens = [token for (name, token), tries in self._tries.items() if name == cell and try_ in tries]
        path = self.unfinished / cell / "checkpoint.pt"
        try:
            if not self.is_current(cell, try_) or self.leases.token(cell) not in tokens:
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            return str(StorageError(f"{path}: the checkpoint cannot be written: {error.strerror or error}"))
        return ""

    def is_current(self, cell: str, try_: str) -> bool:
        """Return whether no later try of the cell has begun."""
        return self._current.get(cell) == try_

    def data_set(self, name: str) -> dict[str, Any]:
        """Return the files of a data set as objects of the cluster, by name; they are read when first asked for."""
        if name not in self._data:
            files = (path for path in (self.data / name).iterdir() if path.is_file())
            self._data[name] = {path.name: ray.put(path.read_bytes()) for path in files}
        return self._data[name]

    def stop(self) -> None:
        """Have all cells stop after their round."""
        self._stopping = True

    def stopping(self) -> bool:
        """Return whether cells shall stop."""
        return self._stopping

    def news(self) -> list[Event]:
        """Return what was told since the last call."""
        news, self._news = self._news, []
        return news
