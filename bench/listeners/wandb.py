"""Weights & Biases: a run for each cell, in a group for each sweep.

Without a network, ``WANDB_MODE=offline`` keeps the runs in ``results/NAME/log/wandb`` until ``wandb sync``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from bench.cell import Cell
from bench.listeners.base import numbers, place

PROJECT = "submodel-bench"


class WeightsAndBiases:
    """Begins a run with a cell's first round; its identity names the run, so that one interrupted is taken up again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.group = place(folder, "wandb"), folder.name
        self.runs: dict[str, Any] = {}

    def round(self, cell: Cell, row: Mapping[str, Any]) -> None:
        run = self.runs.get(cell.folder)
        if run is None:
            run = wandb.init(
                project=PROJECT,
                dir=str(self.folder),
                group=self.group,
                name=cell.folder,
                id=cell.identity,
                resume="allow",
                reinit="create_new",
                config=cell.canonical(),
                settings=wandb.Settings(console="off", silent=True),
            )
            self.runs[cell.folder] = run
        run.log(numbers(row), step=row["round"])

    def ended(self, cell: Cell, status: str, reason: str) -> None:
        run = self.runs.pop(cell.folder, None)
        if run is not None:
            run.summary["status"], run.summary["reason"] = status, reason
            run.finish(exit_code=int(status == "failed"))

    def close(self) -> None:
        for run in self.runs.values():
            run.finish()
        self.runs.clear()
