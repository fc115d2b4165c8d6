"""Sweeps that were run by one engine or another, and what they told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import sweep_of, timeless

from bench.cell import Cell
from bench.config.cells import Sweep, read_sweep
from bench.launch.events import Event
from bench.launch.sweep import Hire, records, run, write_tables
from bench.store.cells import Store

CELLS = """
    [[cells]]
    method = ["orthdrop", "fedavg"]
    keep = 0.5
    seed = [0, 1]
    [cells.training]
    samples_per_client = 8
    standin_test = 20
"""


class Swept:
    """A sweep that was run, and what it told."""

    def __init__(
        self, folder: Path, hire: Hire, cells: str = CELLS, plugins: tuple[Path, ...] = (), **how: Any
    ) -> None:
        self.sweep: Sweep = read_with(folder, cells, plugins)
        self.store, self.plugins = Store(folder / "results"), plugins
        self.events: list[Event] = []
        how = {"jobs": 2, "device": "cpu", **how}
        hear = how.pop("hear", lambda event: None)

        def on_event(event: Event) -> None:
            self.events.append(event)
            hear(event)

        self.ended = run(list(self.sweep.cells), self.store, plugins=plugins, on_event=on_event, hire=hire, **how)

    @staticmethod
    def cells_of(folder: Path, cells: str, plugins: tuple[Path, ...]) -> tuple[Cell, ...]:
        return read_with(folder, cells, plugins).cells

    @property
    def tables(self) -> dict[str, Any]:
        known = records(self.sweep, self.store, self.plugins)
        return {name: timeless(table) for name, table in write_tables(self.sweep, self.store, known).items()}

    def reason(self, method: str) -> str:
        known = records(self.sweep, self.store, self.plugins)
        return next(record.reason for record in known if record.cell.method == method)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.store.unfinished.iterdir() if path.is_dir())


def read_with(folder: Path, cells: str, plugins: tuple[Path, ...]) -> Sweep:
    return read_sweep(sweep_of(folder, cells), plugins)
