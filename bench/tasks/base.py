"""A task: data, model, loss and local training, all that a method may not touch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Dataset
from bench.models.base import Model
from bench.parameters import parameter

LAST_EVALUATIONS = 3
"""Rounds at a run's end that are always evaluated."""


@dataclass(frozen=True)
class Recipe:
    """How the federation is trained: the same for every method of a comparison."""

    rounds: int = parameter(100, "communication rounds", low=1)
    clients: int = parameter(100, "clients of the federation", low=1)
    cohort: int = parameter(20, "clients that take part in a round", low=1)
    cohort_rounds: int = parameter(1, "rounds for which a cohort stays together", low=1)
    samples_per_client: int | None = parameter(None, "training samples of each client; all if not given", low=1)
    users_per_client: int | None = parameter(None, "natural users grouped into one client", low=1)
    local_epochs: int = parameter(2, "passes over a client's data in a round", low=1)
    batch_size: int = parameter(32, "samples of a local batch", low=1)
    drop_last: bool = parameter(False, "leave out a client's last, smaller batch")
    lr: float = parameter(0.1, "learning rate of the first round", above=0.0, search=(1e-3, 1.0), log=True)
    lr_end: float = parameter(1e-4, "learning rate towards which the cosine falls", low=0.0)
    momentum: float = parameter(0.9, "momentum of the local SGD", low=0.0, high=1.0)
    weight_decay: float = parameter(5e-4, "L2 weight decay of the local SGD", low=0.0)
    clip_norm: float | None = parameter(None, "largest norm of a local gradient; not clipped if not given", above=0.0)
    validation: float = parameter(
        0.0, "share of a client's samples held out; if above 0, evaluated on instead of the test set", low=0.0, high=0.5
    )
    evaluate_every: int = parameter(1, "rounds between evaluations; the last three rounds are always evaluated", low=1)
    evaluation_batch: int = parameter(128, "test samples of a batch (batch statistics depend on it)", low=1)
    precision: Literal["fp32", "tf32", "bf16"] = parameter("fp32", "numbers that models compute in; tf32 is for GPUs")
    recompute: bool = parameter(False, "blocks keep their input alone and compute the rest anew in the backward pass")
    standin_train: int = parameter(5000, "generated training samples where stand-in data is used", low=1)
    standin_test: int = parameter(1000, "generated test samples where stand-in data is used", low=1)

    def local_steps(self, samples: int) -> int:
        """Return the number of steps that a client of so many samples makes in a round."""
        whole, rest = divmod(samples, self.batch_size)
        return self.local_epochs * (whole + (rest > 0 and not (self.drop_last and whole > 0)))

    def evaluates(self, round_number: int) -> bool:
        """Return whether a round (from 1) is evaluated: every so often, and the last, whose mean is the headline."""
        return round_number % self.evaluate_every == 0 or round_number > self.rounds - LAST_EVALUATIONS

    def lr_of(self, round_number: int) -> float:
        """Return the learning rate of a round (from 1): cosine annealing from ``lr`` to ``lr_end``.

        ``lr(t) = lr_end + (lr - lr_end) (1 + cos(pi t / T)) / 2`` with t = round - 1, constant within a round.
        """
        progress = (round_number - 1) / self.rounds
        return self.lr_end + (self.lr - self.lr_end) * (1 + float(np.cos(np.pi * progress))) / 2


@dataclass(frozen=True)
class NoParams:
    """Parameters of a task that has none."""


class Task(ABC):
    """Base of the tasks.

    Class attributes:
        name: what users type.
        summary: one line for ``bench list``.
        paper: where model and settings come from.
        dataset: name of the data set it reads.
        partition: the kind of partition used where a cell names none.
        tier_partitions: kind and alpha of the partition used in a tier where a cell names none, if not ``partition``.
        tiers: recipes by name; "paper" has the paper's settings, "quick" is for a small machine.
        tier_params: parameters of the task that go with a tier, for example a smaller width.
        Params: a frozen dataclass of the task's own parameters.
        stand_in: True where generated data can take the place of the data set.
        shared_samples: how many test samples of the data set, as it is published, are training samples too.
        padding: the label that is no answer, where labels are sequences ``[samples, length]``, one for each place of a
            sample; None where each sample has one label.
        reads_steps: True where the model reads ``[samples, steps]`` step by step, each at the same cost.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    dataset: ClassVar[str]
    partition: ClassVar[str] = "lda"
    tiers: ClassVar[Mapping[str, Recipe]]
    tier_partitions: ClassVar[Mapping[str, tuple[str, float | None]]] = {}
    tier_params: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    Params: ClassVar[type] = NoParams
    stand_in: ClassVar[bool] = True
    shared_samples: ClassVar[int] = 0
    padding: ClassVar[int | None] = None
    reads_steps: ClassVar[bool] = False

    def __init__(self, recipe: Recipe, params: Any = None) -> None:
        self.recipe = recipe
        self.params = self.Params() if params is None else params

    @abstractmethod
    def model(self) -> Model:
        """Return the full model, built on the current default device and uninitialised if that is "meta"."""

    @abstractmethod
    def initialise(self, model: Model, generator: torch.Generator) -> None:
        """Draw the model's initial values in place."""

    def data(self, source: str) -> Dataset:
        """Return the data, "real" or "stand-in".

        Raises:
            BenchError: the data is not here, with what to do about it.
        """
        from bench.data.sources import load
        from bench.data.standin import load_standin

        if source == "real":
            return load(self.dataset)
        return load_standin(self.dataset, self.recipe.standin_train, self.recipe.standin_test)

    @abstractmethod
    def prepare(self, inputs: Tensor) -> Tensor:
        """Return what the model reads: images as float32, tokens as int64.

        Args:
            inputs: samples as they are stored (uint8 images, int16 tokens), first dimension samples.
        """

    def augment(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        """Return training samples, still as stored, with the task's random augmentation; by default unchanged."""
        return inputs

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, a scalar: over its samples, or over the places that are no padding."""

    @abstractmethod
    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return which answers of a batch are right, boolean in the form of the labels; padding never is."""

    @abstractmethod
    def example(self, samples: int, device: str) -> Tensor:
        """Return an input batch of the model's shape with no meaningful content, for counting costs."""
