"""What a listener is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bench.cell import Cell


class Listener(Protocol):
    """Hears of the rounds of cells, in the process that shows them on the screen.

    Any number of cells may be running at once. A cell that is interrupted goes on later, also in another process, with
    the round behind its last checkpoint: a round may be heard of twice, and the second time counts.
    """

    def round(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """Hear of a round.

        Args:
            cell: which has completed it.
            row: the round as a row of the table of rounds, see docs/sweeps.md; None is what was not measured.
        """

    def ended(self, cell: Cell, status: str, reason: str) -> None:
        """Hear that a cell has ended: as "done", "diverged", "skipped" or "failed", or "stopped" with a checkpoint."""

    def close(self) -> None:
        """Write what is not written yet."""


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what was measured in a round, without its number."""
    return {name: float(value) for name, value in row.items() if value is not None and name != "round"}


def place(folder: Path, kind: str) -> Path:
    """Return the folder of a kind of log beside the results in ``folder``, and make it."""
    path = folder / "log" / kind
    path.mkdir(parents=True, exist_ok=True)
    return path
