"""What is timed: cells on stand-in data, of the paper's models where nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.cell import Cell
from bench.config.cells import make_cell

RESNET, CNN, LSTM = "resnet18-cifar10", "cnn-femnist", "lstm-imdb"
CCT, GPT = "cct-cifar100", "gpt-shakespeare"
SUBMODEL_KEEP = 0.2
"""The keep ratio of the paper's headline, for PriSM's sub-models."""
KEEPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)

PAPER_CLIENTS, PAPER_COHORT, PAPER_SAMPLES = 100, 20, 500
TEST_IMAGES = 10_000

COHORTS = (5, 10, 20, 40)
FEDERATIONS = (100, 1_000, 10_000, 100_000)
USUAL_CLIENTS, USUAL_COHORT = PAPER_CLIENTS, PAPER_COHORT
SAMPLES_OF_MANY, EPOCHS_OF_MANY = 2, 10

MIXED_LEVELS, MIXED_COHORT, MIXED_SAMPLES = "a-b-c-d-e", 10, 100
"""HeteroFL's five levels in equal shares, from the full width to a sixteenth."""


@dataclass(frozen=True)
class Workload:
    """The work of one repetition; all clients hold equally many samples.

    Attributes:
        samples: training samples of a client.
        epochs: a client's passes over them.
        note: model and input in words, with whatever differs from the paper.
        model: the task's parameters where they differ from the paper's.
        tier: of the task, that with the paper's model.
        batch: samples of a batch in that tier.
    """

    samples: int
    epochs: int
    note: str
    model: Mapping[str, Any] = field(default_factory=dict)
    tier: str = "paper"
    batch: int = 32


WORKLOADS: dict[str, Workload] = {
    CNN: Workload(400, 2, "paper's size"),
    RESNET: Workload(256, 1, "paper's size (width 64)"),
    LSTM: Workload(192, 1, "paper's size, reviews of 100 tokens instead of 500", {"length": 100}),
    CCT: Workload(128, 1, "paper's size (CCT-6/3x2)", tier="spectral-paper", batch=64),
    GPT: Workload(100, 1, "three blocks of 256 channels", tier="spectral-paper", batch=10),
}


def cohort_of(device: str, workers: int) -> int:
    """Return the clients of a cohort that is trained in seconds: one a worker, on an accelerator the paper's 20.

    Few clients with more samples, since a client of the paper has some hundreds, beside which handing out its
    sub-model counts for little.
    """
    return workers if device == "cpu" else PAPER_COHORT


def training_cell(task: str, cohort: int, keep: float = 1.0, precision: str = "fp32") -> Cell:
    """Return the cell whose cohort is one repetition: FedAvg's full models, or PriSM's where ``keep`` is below 1."""
    workload = WORKLOADS[task]
    training = {
        "clients": cohort,
        "cohort": cohort,
        "samples_per_client": workload.samples,
        "local_epochs": workload.epochs,
        "standin_train": max(cohort * workload.samples, 1000),
    }
    method = "fedavg" if keep == 1 else "prism"
    return _cell(task, method, keep, training | {"precision": precision}, workload.model)


def keep_cell(method: str, cohort: int, precision: str) -> Cell:
    """Return the cell in which sub-models of any keep ratio are timed: ResNet-18, five batches a client."""
    training = {"clients": cohort, "cohort": cohort, "samples_per_client": 160, "local_epochs": 1}
    return _cell(RESNET, method, 1.0, training | {"standin_train": max(cohort * 160, 1000), "precision": precision})


def round_cell(samples: int, precision: str) -> Cell:
    """Return the paper's setting, PriSM on ResNet-18 at keep ratio 0.2 with 20 of 100 clients, evaluated each round.

    Args:
        samples: of a client; the paper's clients have :data:`PAPER_SAMPLES`.
        precision: of training and evaluation.
    """
    training = {
        "samples_per_client": samples,
        "evaluate_every": 1,
        "standin_train": PAPER_CLIENTS * samples,
        "standin_test": TEST_IMAGES,
        "precision": precision,
    }
    return _cell(RESNET, "prism", SUBMODEL_KEEP, training)


def clients_cell(clients: int, cohort: int, precision: str) -> Cell:
    """Return a small cell, PriSM on the CNN, with any number of clients; all read the same data set."""
    training = {
        "clients": clients,
        "cohort": cohort,
        "samples_per_client": SAMPLES_OF_MANY,
        "local_epochs": EPOCHS_OF_MANY,
        "evaluate_every": 300,
        "standin_train": max(FEDERATIONS) * SAMPLES_OF_MANY,
        "standin_test": 128,
        "precision": precision,
    }
    return _cell(CNN, "prism", SUBMODEL_KEEP, training)


def mixed_cell(precision: str) -> Cell:
    """Return a cell of HeteroFL on the CNN, whose clients have one of five capacities."""
    training = {
        "cohort": MIXED_COHORT,
        "samples_per_client": MIXED_SAMPLES,
        "local_epochs": 1,
        "standin_train": PAPER_CLIENTS * MIXED_SAMPLES,
        "precision": precision,
    }
    return _cell(CNN, "heterofl", MIXED_LEVELS, training | {"clients": PAPER_CLIENTS})


def memory_cell(task: str, method: str, keep: float, precision: str) -> Cell:
    """Return a cell of the paper's model and batch size in which one client makes two local steps.

    Clients of another method than FedAvg have keep ratio ``keep``, some the full model, which InclusiveFL needs.
    """
    samples = 2 * WORKLOADS[task].batch
    training = {"clients": 2, "cohort": 1, "samples_per_client": samples, "local_epochs": 1, "standin_train": 1000}
    mixed = 1.0 if keep == 1 else f"{keep:g}:0.5,1:0.5"
    return _cell(task, method, mixed, training | {"precision": precision}, WORKLOADS[task].model)


def _cell(
    task: str, method: str, keep: float | str, training: Mapping[str, Any], model: Mapping[str, Any] | None = None
) -> Cell:
    tier = WORKLOADS[task].tier
    values = {"task": task, "method": method, "keep": keep, "tier": tier, "data": "stand-in", "partition": "iid"}
    return make_cell({**values, "training": training, "model": model or {}}, "perf")
