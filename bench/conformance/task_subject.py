"""A task on a tiny federation, as the kit looks at it: FedAvg on a few samples of the task's own data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.cell import Cell
from bench.config.cells import make_cell
from bench.conformance.compare import Run
from bench.conformance.subject import simulate, tier_of
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.federation.federation import Federation
from bench.plugins import registry
from bench.tasks.base import Task

SAMPLES = 16
"""Of the batches that are looked at, and of each client of the tiny runs."""
TINY = {
    "rounds": 2,
    "clients": 2,
    "cohort": 2,
    "samples_per_client": SAMPLES,
    "batch_size": SAMPLES // 2,
    "local_epochs": 1,
    "evaluate_every": 1,
    "standin_train": 320,
    "standin_test": 64,
}
ONE_STEP = {"rounds": 1, "clients": 1, "cohort": 1, "local_epochs": 1, "validation": 0.0}


class TaskSubject:
    """A task to be checked.

    Args:
        task: its name.
        plugins: files of tasks the user named.
        model: parameters of the task that are not those of its tier.

    Raises:
        BenchError: there is no such task, or a parameter is not possible.
    """

    def __init__(self, task: str, plugins: Iterable[Path] = (), model: Mapping[str, Any] | None = None) -> None:
        self.task, self.plugins, self.model = task, tuple(plugins), dict(model or {})
        entry = registry.task(task, self.plugins)
        self.source, self.kind = entry.source, entry.kind
        self.tier = tier_of(self.kind)
        self.cell_of(self.tier)

    def cell_of(self, tier: str, **values: Any) -> Cell:
        """Return a checked cell of FedAvg on the task."""
        given = {"task": self.task, "method": "fedavg", "tier": tier, "model": self.model} | values
        return make_cell(given, "check", self.plugins)

    def built(self, tier: str) -> Task:
        """Return the task of a tier as it comes, with all of the recipe's numbers."""
        return registry.task(self.task, self.plugins).build(self.cell_of(tier))

    def federation(self, **training: Any) -> Federation:
        """Return a fresh tiny federation, with these changes of its training."""
        data = "stand-in" if self.kind.stand_in else "real"
        cell = self.cell_of(self.tier, data=data, partition="iid", training={**TINY, **training})
        return Federation.build(cell, self.plugins)

    def one_step(self) -> Federation:
        """Return a federation of one client that makes one step at the recipe's learning rate and batch size."""
        recipe = self.kind.tiers[self.tier]
        rows = {"samples_per_client": recipe.batch_size, "batch_size": recipe.batch_size}
        return self.federation(**ONE_STEP, **rows, standin_train=max(TINY["standin_train"], recipe.batch_size))

    @cached_property
    def unavailable(self) -> str:
        """Why there is no data to run anything on; empty where there is."""
        try:
            self.federation()
        except BenchError as error:
            return str(error)
        except Exception:  # what the task's own code raises is for the checks to say
            return ""
        return ""

    @cached_property
    def usual_run(self) -> Run:
        """A run in this process."""
        return simulate(self.federation(), global_seed=1)

    @cached_property
    def same_run(self) -> Run:
        """The same once more."""
        return simulate(self.federation(), global_seed=1)

    @cached_property
    def other_run(self) -> Run:
        """The same with another state of the global sources of randomness."""
        return simulate(self.federation(), global_seed=2)


def whole_of(subject: TaskSubject, source: str) -> Dataset | None:
    """Return all of a task's data, "real" or "stand-in", at its tier's numbers; None where it is not here."""
    try:
        return subject.built(subject.tier).data(source)
    except BenchError:
        return None


@torch.no_grad()
def mean_loss(federation: Federation, model: torch.nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the loss of a model on stored samples, as it is evaluated."""
    task = federation.task
    return float(task.loss(model.eval()(task.prepare(inputs)), labels))
