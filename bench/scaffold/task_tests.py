"""The task sketch begins at chance, and methods that cut and that factor its model train on it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import bench
from bench.cell import Cell
from bench.plugins import registry

PLUGIN = Path(__file__).resolve().parents[1] / "tasks" / "sketch.py"
SMALL: dict[str, Any] = {"clients": 4, "cohort": 2, "samples_per_client": 40, "standin_train": 400, "standin_test": 60}


def test_it_begins_at_chance() -> None:
    task = registry.task("sketch", [PLUGIN]).build(Cell("sketch", "fedavg", training=SMALL))
    data, model = task.data("stand-in"), task.model()
    task.initialise(model, torch.Generator().manual_seed(0))
    inputs, labels = (torch.from_numpy(part[:100].copy()) for part in (data.train.inputs, data.train.labels))
    assert task.loss(model(task.prepare(inputs)), labels).item() == pytest.approx(math.log(data.classes), abs=0.5)


@pytest.mark.parametrize("method", ["prism", "heterofl"])
def test_methods_train_on_it(method: str) -> None:
    rounds = bench.run(task="sketch", method=method, keep=0.5, plugin=PLUGIN, rounds=2, inline=True, **SMALL)
    assert list(rounds["status"]) == ["done"] * 3 and rounds["train_loss"].iloc[1:].notna().all()
