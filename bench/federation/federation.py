"""A federation ready to be trained: task, method, data and who holds what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.api import Client, Cohort, Method
from bench.cell import Cell
from bench.data.dataset import Dataset, Split, answers
from bench.data.transfer import Samples
from bench.errors import BenchError
from bench.federation.capacity import capacities_of, capacity_of_round, dealt_to
from bench.federation.holdout import hold_out
from bench.federation.partition import Partition, split
from bench.models.base import Model, blank
from bench.models.initialise import initial_values
from bench.plugins import registry
from bench.seeding import Streams, stream
from bench.tasks.base import Task


@dataclass
class Federation:
    """Everything a simulation needs.

    Attributes:
        cell: the configuration it was built from.
        task, method: instances with their parameters.
        dataset: the data, both splits.
        partition: which samples each client trains on.
        evaluated: what models are evaluated on: the test set, or what the clients hold out for validation.
        device: where models are trained.
    """

    cell: Cell
    task: Task
    method: Method
    dataset: Dataset
    partition: Partition
    evaluated: Split
    device: torch.device

    @classmethod
    def build(cls, cell: Cell, plugins: Iterable[Path] = (), device: str = "cpu") -> Federation:
        """Return the federation of a cell.

        Args:
            cell: a checked configuration.
            plugins: files of methods and tasks the user named.
            device: where models are trained.

        Raises:
            BenchError: the data is not here, or the partition is impossible.
        """
        plugins = tuple(plugins)
        task = registry.task(cell.task, plugins).build(cell)
        method = registry.method(cell.method, plugins).build(cell)
        dataset = task.data(cell.data)
        partition, evaluated = partition_of(cell, task, dataset), dataset.test
        if task.recipe.validation:
            partition, chosen = hold_out(partition, task.recipe.validation, cell.seed)
            evaluated = Split(dataset.train.inputs[chosen], dataset.train.labels[chosen])
        return cls(cell, task, method, dataset, partition, evaluated, torch.device(device))

    @cached_property
    def capacities(self) -> np.ndarray:
        """The keep ratio of each client, float64 ``[clients]``, where it is fixed for the whole run."""
        return capacities_of(self.cell, len(self.partition))

    def keeps_of(self, numbers: Sequence[int], round_number: int) -> list[float]:
        """Return the keep ratios of a cohort that is drawn in this round, in its order, the same for every method."""
        if self.cell.capacity == "dynamic":
            return [capacity_of_round(self.cell, number, round_number) for number in numbers]
        if self.cell.capacity == "dealt":
            return dealt_to(self.cell, numbers, self.capacities, round_number).tolist()
        return [float(self.capacities[number]) for number in numbers]

    @cached_property
    def reference(self) -> Method:
        """FedAvg, for measures that ask what it would have done in the method's place."""
        return registry.method("fedavg").build(Cell(self.cell.task, "fedavg"))

    def initial_model(self) -> Model:
        """Return the full model with its initial values, the same for every method and keep ratio."""
        with torch.device("meta"):
            model = self.task.model()
        blank(model)
        self.task.initialise(model, initial_values(self.cell.seed))
        return model.to(self.device)

    @property
    def evaluated_on(self) -> str:
        """What models are evaluated on, in words."""
        title = self.dataset.title
        return f"held-out training samples of {title}" if self.validates else title

    @property
    def validates(self) -> bool:
        """Whether models are evaluated on held-out training samples, and never on the test set."""
        return self.task.recipe.validation > 0

    def cohort(self, round_number: int) -> Cohort:
        """Return the clients of a round: drawn uniformly without replacement, the same for every method.

        A cohort that stays for some rounds is the one that is drawn in the first of them, with the capacities of then.
        """
        drawn_in = round_number - (round_number - 1) % self.cohort_rounds
        rng = stream(self.cell.seed, "cohort", drawn_in)
        numbers = rng.choice(len(self.partition), self.task.recipe.cohort, replace=False).tolist()
        return Cohort(round_number, tuple(map(self._client, numbers, self.keeps_of(numbers, drawn_in))))

    def _client(self, number: int, keep: float) -> Client:
        labels = tuple(np.flatnonzero(self.label_counts(number)).tolist())
        return Client(number, int(self.partition.sizes[number]), keep, labels)

    @property
    def cohort_rounds(self) -> int:
        """For how many rounds a cohort stays: as many as the recipe says, and no fewer than the method needs.

        Raises:
            BenchError: the method needs another number, and the recipe's is no multiple of it.
        """
        return rounds_of_a_cohort(self.task, self.method)

    def label_counts(self, number: int) -> np.ndarray:
        """Return how many training samples (of sequences, answers) of each class a client holds, ``[classes]``."""
        if number not in self._label_counts:
            labels = np.asarray(self.dataset.train.labels)[self.partition.client(number)]
            held = answers(labels, self.task.padding)
            self._label_counts[number] = np.bincount(held, minlength=self.dataset.classes)
        return self._label_counts[number]

    @cached_property
    def _label_counts(self) -> dict[int, np.ndarray]:
        return {}

    @cached_property
    def training_samples(self) -> Samples:
        """The samples that the clients train on, in the data set's order: those of all clients together."""
        chosen = np.sort(np.concatenate([self.partition.client(number) for number in range(len(self.partition))]))
        return Samples(Split(self.dataset.train.inputs[chosen], self.dataset.train.labels[chosen]), self.device)

    def client_data(self, number: int) -> tuple[Tensor, Tensor]:
        """Return a client's inputs (as stored) and labels on the device."""
        return self._training_samples[self.partition.client(number)]

    @cached_property
    def _training_samples(self) -> Samples:
        return Samples(self.dataset.train, self.device)

    @cached_property
    def evaluated_samples(self) -> Samples:
        """What models are evaluated on, to be picked in batches."""
        return Samples(self.evaluated, self.device)

    def streams(self, purpose: str, round_number: int) -> Streams:
        """Return the random streams of one purpose in one round."""
        return Streams(self.cell.seed, purpose, round_number)


def rounds_of_a_cohort(task: Task, method: Method) -> int:
    """Return for how many rounds a cohort stays, see :attr:`Federation.cohort_rounds`."""
    wanted, needed = task.recipe.cohort_rounds, method.cohort_rounds
    if needed < 1 or (wanted > 1 and wanted % needed):
        raise BenchError(
            f"cohort_rounds = {wanted} is not possible for the method {method.name!r}, whose cohorts stay for "
            f"{needed} rounds; allowed: 1 or a multiple of {needed}"
        )
    return max(wanted, needed)


def partition_of(cell: Cell, task: Task, dataset: Dataset) -> Partition:
    """Return who holds which training samples: the same for every method and keep ratio."""
    recipe = task.recipe
    if recipe.cohort > recipe.clients:
        raise BenchError(
            f"cohort = {recipe.cohort} clients a round is more than the federation has; "
            f"allowed: 1 to clients = {recipe.clients}"
        )
    # The sizes of a Dirichlet partition are drawn: a tier's number does not apply, one that the user gave is refused.
    drawn = cell.partition == "dirichlet" and "samples_per_client" not in cell.training
    samples = None if drawn else recipe.samples_per_client
    return split(
        cell.partition,
        np.asarray(dataset.train.labels),
        clients=recipe.clients,
        rng=stream(cell.seed, "partition"),
        alpha=None if cell.partition == "iid" else cell.alpha,
        users=None if dataset.train.users is None else np.asarray(dataset.train.users),
        samples_per_client=samples,
        users_per_client=recipe.users_per_client if cell.partition == "natural" else None,
        coarse=np.array(dataset.coarse, dtype=np.int64),
    )
