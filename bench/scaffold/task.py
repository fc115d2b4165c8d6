"""Sketch: a narrow network on handwritten characters, spread over the clients at random.

Say here which data, model and settings these are, and where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.api import parameter
from bench.models.cnn import CNN
from bench.models.initialise import initialise
from bench.tasks.base import Recipe
from bench.tasks.images import ImageTask, normalise


@dataclass(frozen=True)
class SketchParams:
    """What users set of the model with ``--set``."""

    width: int = parameter(16, "channels of each convolution", low=2)


class Sketch(ImageTask):
    """Two convolutions on 28 x 28 characters of 62 classes."""

    summary = "a narrow network on handwritten characters"
    paper = "authors, title, venue, year"
    dataset = "femnist"  # a name of 'bench data list'
    partition = "iid"
    Params = SketchParams
    tiers = {
        "quick": Recipe(rounds=20, clients=20, cohort=5, samples_per_client=100, standin_train=3000),
        "paper": Recipe(rounds=300, clients=100, cohort=20, lr=0.05, evaluate_every=10),
    }

    def model(self) -> CNN:
        return CNN({"conv1": self.params.width, "conv2": self.params.width}, classes=62)

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        initialise(model, generator)

    def prepare(self, inputs: Tensor) -> Tensor:
        return normalise(inputs, (0.5,), (0.5,))

    def example(self, samples: int, device: str) -> Tensor:
        return torch.empty(samples, 1, 28, 28, device=device)
