"""What is timed: a cohort of full models of each task, small enough that a repetition takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.cell import Cell
from bench.config import make_cell
from bench.errors import BenchError, choices

CLIENTS_PER_CORE = 2


@dataclass(frozen=True)
class Workload:
    """The work of one repetition; all clients hold equally many samples.

    Attributes:
        samples: training samples of a client.
        epochs: a client's passes over them.
        model: the task's parameters where they differ from the paper's.
        note: model and input in words, with whatever differs from the paper.
    """

    samples: int
    epochs: int
    note: str
    model: Mapping[str, Any] = field(default_factory=dict)


WORKLOADS: dict[str, Workload] = {
    "cnn-femnist": Workload(300, 2, "paper's size"),
    "resnet18-cifar10": Workload(64, 1, "paper's size (width 64)"),
    "lstm-imdb": Workload(96, 1, "paper's size, reviews of 100 tokens instead of 500", {"length": 100}),
}


def chosen(tasks: Sequence[str]) -> list[str]:
    """Return the tasks to time, each once; all of them where none is named.

    Raises:
        BenchError: a task is unknown.
    """
    for name in tasks:
        if name not in WORKLOADS:
            raise BenchError(f"--task {name!r} cannot be timed; {choices(name, WORKLOADS)}")
    return list(dict.fromkeys(tasks)) or list(WORKLOADS)


def cell_of(task: str, cores: int) -> Cell:
    """Return the cell whose cohort is one repetition: FedAvg's full models on stand-in data.

    The cohort grows with the number of cores, so that every worker process has the same number of clients.
    """
    workload = WORKLOADS[task]
    clients = CLIENTS_PER_CORE * cores
    training = {
        "clients": clients,
        "cohort": clients,
        "samples_per_client": workload.samples,
        "local_epochs": workload.epochs,
        "standin_train": max(clients * workload.samples, 1000),
    }
    values = {"task": task, "method": "fedavg", "tier": "paper", "data": "stand-in", "partition": "iid"}
    return make_cell({**values, "training": training, "model": workload.model}, "perf")
