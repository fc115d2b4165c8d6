"""The tiny federations on which a method is checked: real tasks and stand-in data, small enough to run in no time."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Method, Selection, Server, Skip, Update
from bench.config.cells import make_cell
from bench.config.possible import check_room
from bench.conformance.compare import Run, values_of
from bench.conformance.outcome import Failure
from bench.conformance.randomness import disturbed, global_states
from bench.federation.federation import Federation
from bench.plugins import registry
from bench.plugins.asked import asked
from bench.seeding import stream
from bench.simulation.simulator import Simulation
from bench.tasks.base import Task
from bench.training.engine import Engine, InlineEngine

TASKS: dict[str, dict[str, Any]] = {
    "cnn-femnist": {},
    "resnet18-cifar10": {"width": 4},
    "lstm-imdb": {"hidden": 8, "embedding": 6, "length": 7},
}
"""One task of each kind, with a small model."""
FURTHER: dict[str, dict[str, Any]] = {
    "lstm-shakespeare": {"hidden": 8, "embedding": 4},
    "resnet18-cifar100": {"width": 4},
}
"""Small models of tasks that methods are checked on where they are named."""
COUNTED: dict[str, dict[str, Any]] = {
    "resnet18-cifar10": {"width": 16},
    "lstm-imdb": {"hidden": 32, "embedding": 16, "length": 7},
    "lstm-shakespeare": {"hidden": 32, "embedding": 16},
    "resnet18-cifar100": {"width": 16},
}
"""Models that are counted and not trained: the least rank that a method gives a layer must not be all that fits it."""
TRAINING = {
    "rounds": 2,
    "clients": 4,
    "cohort": 2,
    "samples_per_client": 16,
    "batch_size": 8,
    "local_epochs": 1,
    "standin_train": 320,
    "standin_test": 16,
}
"""All clients hold as many samples, so that averages by samples and by clients are the same, in two full batches."""
MIXED, MIXED_WITH_FULL = "0.25:0.5,0.5:0.5", "0.25:0.5,1:0.5"
"""Half of the clients have keep ratio 0.25: the first round's cohort has one of each, the second's two alike. The other
half has 1 for methods that need full clients."""
NOISE = 0.01
"""Standard deviation of what is added to every uploaded number where clients are to have moved."""


@dataclass
class Stage:
    """A federation whose method is set up, for looking at its hooks one by one."""

    federation: Federation
    server: Server

    @property
    def method(self) -> Method:
        """The method under test."""
        return self.federation.method

    def select(self, *keeps: float, round_number: int = 1) -> list[Selection]:
        """Return the selections of a cohort with one client for each keep ratio.

        Raises:
            Failure: they are not one for each client, in the cohort's order.
        """
        samples = int(self.federation.partition.sizes[0])
        clients = tuple(
            Client(number, samples, keep, tuple(np.flatnonzero(self.federation.label_counts(number)).tolist()))
            for number, keep in enumerate(keeps)
        )
        cohort, streams = Cohort(round_number, clients), self.federation.streams("selection", round_number)
        selections = self.method.select(self.server, cohort, streams)
        numbers = [selection.client.number for selection in selections]
        if numbers != list(range(len(clients))):
            raise Failure(
                f"select returned selections for the clients {numbers}",
                f"one for each client of the cohort, {list(range(len(clients)))}",
                "go through cohort.clients once, in its order",
            )
        return selections

    def submodel(self, keep: float) -> nn.Module:
        """Return the sub-model of one client."""
        (selection,) = self.select(keep)
        return self.method.extract(self.server, selection)

    def update(self, selection: Selection, noise: float = 0.0) -> Update:
        """Return what a client sends whose training moved every number by normal noise."""
        submodel = self.method.extract(self.server, selection)
        sent, local = self.method.upload(submodel), self.method.local_state(submodel)
        rng = stream(0, "conformance", 1, selection.client.number)
        moved = {name: tensor + noise * _normal(tensor, rng) for name, tensor in sent.items()}
        return Update(selection, moved, local={name: tensor.detach().clone() for name, tensor in local.items()})

    def aggregate(self, updates: Sequence[Update]) -> dict[str, Tensor]:
        """Let the server take the updates and return the parameters of its model."""
        self.server = self.method.aggregate(self.server, iter(updates), self.federation.streams("aggregation", 1))
        return values_of(self.server.model)

    def inputs(self, samples: int) -> Tensor:
        """Return a batch of test samples as the model reads them."""
        stored = torch.from_numpy(np.array(self.federation.dataset.test.inputs[:samples]))
        return self.federation.task.prepare(stored.to(self.federation.device))


class Subject:
    """A method on a tiny federation.

    Args:
        method: its name.
        task: the task's name.
        plugins: files of methods and tasks the user named.
        parameters: parameters of the method that are not the default.
        spawns: also look at worker processes, which take seconds to start.

    Raises:
        BenchError: there is no such method or task, the task has no model or data, or a parameter is not possible.
    """

    def __init__(
        self,
        method: str,
        task: str,
        plugins: Iterable[Path] = (),
        parameters: Mapping[str, Any] | None = None,
        spawns: bool = True,
    ) -> None:
        self.method, self.task, self.plugins, self.spawns = method, task, tuple(plugins), spawns
        self.parameters = dict(parameters or {})
        entry = registry.method(method, self.plugins)
        assert entry.kind is not None
        self.source, self.needs_full_clients = entry.source, entry.kind.needs_full_clients
        with asked(registry.task(task, self.plugins)):  # what a task does wrong is not the method's
            check_room(self.federation().task)

    def federation(
        self,
        keep: float | str | None = None,
        diagnostics: str = "basic",
        device: str = "cpu",
        models: Mapping[str, Mapping[str, Any]] = TASKS,
    ) -> Federation:
        """Return a fresh federation whose clients have this keep ratio, or those of this profile; by default a mix."""
        if keep is None:
            keep = MIXED_WITH_FULL if self.needs_full_clients else MIXED
        values = {
            "method": self.method,
            "keep": keep,
            "diagnostics": diagnostics,
            "parameters": self.parameters,
            "model": models.get(self.task, FURTHER.get(self.task, {})),
        }
        cell = make_cell(_cell_values(self.task, self.plugins) | values, "check", self.plugins)
        return Federation.build(cell, self.plugins, device)

    def measured_federation(self) -> Federation:
        """Return a fresh federation of mixed keep ratios of which everything is recorded that can be."""
        return self.federation(diagnostics="all")

    def stage(self, device: str = "cpu", keep: float | str | None = None) -> Stage:
        """Return a fresh federation, by default of mixed keep ratios, with its method set up."""
        return _staged(self.federation(keep, device=device))

    def counted_stage(self, keep: float | str) -> Stage:
        """Return the same with a model that is large enough for every keep ratio to make a difference."""
        return _staged(self.federation(keep, models=COUNTED))

    @cached_property
    def skipped(self) -> str:
        """Why the method is not defined for the task, in its own words; empty if it is."""
        try:
            self.stage()
        except Skip as skip:
            return str(skip) or "it is not defined for this task"
        except Exception:  # what setup raises is for the checks to say
            return ""
        return ""

    @cached_property
    def usual_run(self) -> Run:
        """A run in one process."""
        return simulate(self.measured_federation(), global_seed=1)

    @cached_property
    def same_run(self) -> Run:
        """The same once more, with the same state of the global sources of randomness."""
        return simulate(self.measured_federation(), global_seed=1)

    @cached_property
    def other_run(self) -> Run:
        """The same with another state of the global sources of randomness."""
        return simulate(self.measured_federation(), global_seed=2)


def _staged(federation: Federation) -> Stage:
    return Stage(federation, federation.method.setup(federation.initial_model(), federation.task))


def simulate(
    federation: Federation, engine: Engine | None = None, resume: Mapping[str, Any] | None = None, global_seed: int = 1
) -> Run:
    """Run a federation, by default in this process, and return its rounds and last server."""
    simulation = Simulation(federation, engine or InlineEngine(federation))
    with global_states(global_seed) as before:
        rounds = list(simulation.rounds(resume))
        changed = disturbed(before)
    return Run(rounds, simulation.server, changed)


@functools.cache
def fedavg(task: str, plugins: tuple[Path, ...] = ()) -> dict[str, Tensor]:
    """Return the parameters of the server model after FedAvg's run on the same federation."""
    values = _cell_values(task, plugins) | {"method": "fedavg"}
    cell = make_cell(values, "check", plugins)
    return values_of(simulate(Federation.build(cell, plugins)).server.model)


def tier_of(kind: type[Task]) -> str:
    """Return the tier that is checked: "quick", or the first of a task that has none."""
    return "quick" if "quick" in kind.tiers else next(iter(kind.tiers))


def _cell_values(task: str, plugins: tuple[Path, ...]) -> dict[str, Any]:
    kind = registry.task(task, plugins).kind
    tiny = {"tier": tier_of(kind), "data": "stand-in" if kind.stand_in else "real"}
    return {"task": task, "partition": "iid", "model": (TASKS | FURTHER).get(task, {}), "training": TRAINING, **tiny}


def _normal(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(like.shape)).to(like)
