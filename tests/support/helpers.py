"""A tiny federation, and the values that many tests of the core compare."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TRAINING
from torch import Tensor, nn

from bench.api import Client, Cohort, Method, Selection, Server, Streams, Update
from bench.cell import Cell
from bench.config.cells import make_cell
from bench.federation.federation import Federation
from bench.models.base import Model, blank
from bench.numerics.runtime import prepared
from bench.plugins import registry
from bench.simulation.round import Round
from bench.simulation.simulator import Simulation
from bench.tasks.base import Task
from bench.training import engine as engine_module
from bench.training.engine import InlineEngine, ParallelEngine, open_engine
from bench.training.local import Job, Trained, train_client

RESNET, CNN, LSTM = "resnet18-cifar10", "cnn-femnist", "lstm-imdb"
TASKS = (RESNET, CNN, LSTM)
CCT, GPT = "cct-cifar100", "gpt-shakespeare"
CIFAR100, TINY_IMAGENET, CHARACTERS = "resnet18-cifar100", "cct-tinyimagenet", "lstm-shakespeare"
SMALL_MODEL: dict[str, dict[str, Any]] = {
    RESNET: {"width": 4},
    CNN: {},
    LSTM: {"hidden": 8, "embedding": 6, "length": 7},
    CCT: {"embedding": 8, "heads": 2, "layers": 2},
    GPT: {"embedding": 8, "heads": 2, "layers": 2},
    CIFAR100: {"width": 4},
    TINY_IMAGENET: {"embedding": 8, "heads": 2, "layers": 1},
    CHARACTERS: {"hidden": 8},
}
SMALL_TRAINING: dict[str, Any] = {**TRAINING, "evaluate_every": 1}


def small_cell(method: str, task: str = RESNET, training: Mapping[str, Any] | None = None, **values: Any) -> Cell:
    """Return a cell that trains in a fraction of a second."""
    settings = {
        "task": task,
        "method": method,
        "partition": "iid",
        "model": SMALL_MODEL[task],
        "training": {**SMALL_TRAINING, **(training or {})},
        **values,
    }
    return make_cell(settings, "test")


def federation(method: str, task: str = RESNET, **values: Any) -> Federation:
    return Federation.build(small_cell(method, task, **values))


def run(built: Federation) -> tuple[list[Round], dict[str, Tensor]]:
    """Run a federation in this process and return its rounds and the trained server model's parameters."""
    servers: list[Server] = []
    setup = built.method.setup

    def remembered(model: nn.Module, task: Task) -> Server:
        servers.append(setup(model, task))
        return servers[-1]

    built.method.setup = remembered  # type: ignore[method-assign]
    with prepared():
        rounds = list(Simulation(built, InlineEngine(built)).rounds())
    return rounds, values_of(servers[-1].model)


def small_task(name: str, **model: Any) -> Task:
    return registry.task(name).build(small_cell("fedavg", name, model={**SMALL_MODEL[name], **model}))


def paper_task(name: str, **model: Any) -> Task:
    return registry.task(name).build(Cell(name, "fedavg", tier="paper", model=model))


def initial(task: Task, seed: int = 0) -> Model:
    """Return a task's full model with random values."""
    with torch.device("meta"):
        model = task.model()
    blank(model)
    task.initialise(model, torch.Generator().manual_seed(seed))
    return model


def method_of(name: str, **parameters: Any) -> Method:
    return registry.method(name).build(Cell(RESNET, name, parameters=parameters))


def cohort_of(*keeps: float, samples: int = 10, round_number: int = 1) -> Cohort:
    """Return a cohort with one client for each keep ratio, with different numbers of samples."""
    clients = tuple(Client(number, samples * (number + 1), keep) for number, keep in enumerate(keeps))
    return Cohort(round_number, clients)


def selections_of(method: Method, server: Server, cohort: Cohort) -> list[Selection]:
    return method.select(server, cohort, Streams(3, "selection", cohort.round_number))


def update_of(method: Method, server: Server, selection: Selection, noise: float = 0.0, seed: int = 0) -> Update:
    """Return what a client sends whose training moved every trainable tensor by normal noise."""
    submodel = method.extract(server, selection)
    generator = torch.Generator().manual_seed(1000 * seed + selection.client.number)
    uploaded = {
        name: tensor + noise * torch.randn(tensor.shape, generator=generator)
        for name, tensor in method.upload(submodel).items()
    }
    local = {name: tensor.detach().clone() for name, tensor in method.local_state(submodel).items()}
    return Update(selection, uploaded, local=local)


def values_of(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of a model's parameters."""
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def batch_of(task: Task, samples: int = 3, seed: int = 0) -> Tensor:
    """Return a random batch of the model's input shape."""
    example = task.example(samples, "cpu")
    generator = torch.Generator().manual_seed(seed)
    if example.dtype == torch.int64:
        return torch.randint(0, 1001, example.shape, generator=generator)
    return torch.rand(example.shape, generator=generator)


def used_global_states() -> tuple[Any, ...]:
    """Draw from each global source of randomness, so that setting a seed would show, and return their states."""
    torch.rand(3)
    np.random.random(3)
    random.random()
    return global_states()


def global_states() -> tuple[Any, ...]:
    """Return the state of each global source of randomness in a form that can be compared."""
    return pickle.dumps(np.random.get_state()), random.getstate(), torch.get_rng_state().numpy().tobytes()


def numbers(rounds: Iterable[Round]) -> list[Any]:
    """Return all that a run measured except time and memory."""
    measured = [replace(this, seconds={}, peak_memory_bytes=0) for this in rounds]
    return [asdict(this) for this in measured]


class PoolHere:
    """Stands for a pool of processes, which take seconds to start.

    What goes to a process and comes back is packed and unpacked all the same, and the calls find a federation of their
    own, built from the cell alone.
    """

    def __init__(self, workers: int, prepare: Callable[..., None], *arguments: Any) -> None:
        self._prepare, self._prepared = lambda: prepare(*_sent(arguments)), False

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Do a call at once."""
        if not self._prepared:
            self._prepare()
            self._prepared = True
        done: Future[Any] = Future()
        done.set_result(_sent(function(*_sent(arguments))))
        return done

    def close(self) -> None:
        """Nothing was opened."""


def _sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value, protocol=5))


def run_sent(built: Federation) -> tuple[list[Any], dict[str, Tensor]]:
    """Run as with two worker processes, but in this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "Pool", PoolHere)
        return run_with(built, 2)


def run_with(built: Federation, workers: int) -> tuple[list[Any], dict[str, Tensor]]:
    """Run with worker processes; return the numbers and the parameters of the server."""
    models: list[nn.Module] = []
    full_model = built.method.full_model

    def remembered(server: Server) -> nn.Module:
        models.append(full_model(server))
        return models[-1]

    built.method.full_model = remembered  # type: ignore[method-assign]
    with prepared():
        engine = open_engine(built, (), workers)
        assert isinstance(engine, ParallelEngine if workers > 1 else InlineEngine)
        try:
            rounds = numbers(Simulation(built, engine).rounds())
        finally:
            engine.close()
    return rounds, values_of(models[-1])


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


class Recorder(InlineEngine):
    """An engine that keeps what it was asked and what came of it."""

    def __init__(self, built: Federation) -> None:
        super().__init__(built)
        self.jobs: list[tuple[Job, int]] = []
        self.results: list[Trained] = []

    def train(self, jobs: Iterable[Job]) -> Iterator[Trained]:
        for job in jobs:
            momentum = (job.momentum or {}).values()
            sent = [*job.submodel.parameters(), *job.submodel.buffers(), *momentum]
            self.jobs.append((job, sum(tensor.nbytes for tensor in sent)))
            self.results.append(train_client(job, self.federation))
            yield self.results[-1]
