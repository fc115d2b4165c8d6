"""TensorBoard: ``tensorboard --logdir results/NAME/log/tensorboard`` while a sweep runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from bench.cell import Cell
from bench.listeners.base import numbers, place


class TensorBoard:
    """Writes a run for each cell; what a round is that is run again replaces (``purge_step``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = place(folder, "tensorboard")
        self.writers: dict[str, SummaryWriter] = {}

    def round(self, cell: Cell, row: Mapping[str, Any]) -> None:
        writer = self.writers.get(cell.folder)
        if writer is None:
            writer = SummaryWriter(str(self.folder / cell.folder), purge_step=row["round"])
            self.writers[cell.folder] = writer
            writer.add_text("cell", f"```json\n{json.dumps(cell.canonical(), indent=1)}\n```")
        for name, value in numbers(row).items():
            writer.add_scalar(name, value, row["round"])
        writer.flush()

    def ended(self, cell: Cell, status: str, reason: str) -> None:
        writer = self.writers.pop(cell.folder, None)
        if writer is not None:
            writer.add_text("status", f"{status} {reason}".rstrip())
            writer.close()

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
        self.writers.clear()
