"""The two-convolution network on FEMNIST (PriSM, Tables 3 and 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench.models.cnn import CNN, KERNELS
from bench.models.initialise import initialise
from bench.parameters import parameter
from bench.tasks.base import Recipe
from bench.tasks.images import ImageTask, normalise


@dataclass(frozen=True)
class CNNParams:
    """The shape of the network."""

    variant: Literal["paper", "released"] = parameter("paper", "64@5x5, 64@3x3 (paper) or 32@5x5, 64@5x5 (released)")


class CNNFemnist(ImageTask):
    name = "cnn-femnist"
    summary = "two convolutions on 28 x 28 handwritten characters, clients are groups of writers"
    paper = "PriSM, Tables 3 and 6"
    dataset = "femnist"
    partition = "natural"
    Params = CNNParams
    tiers = {
        "paper": Recipe(rounds=300, lr=0.01, users_per_client=10, evaluate_every=10),
        "quick": Recipe(
            rounds=25,
            clients=20,
            cohort=5,
            samples_per_client=100,
            lr=0.1,
            evaluate_every=5,
            standin_train=3000,
            standin_test=1000,
        ),
    }

    def model(self) -> CNN:
        first, second, kernel = KERNELS[self.params.variant]
        return CNN({"conv1": first, "conv2": second}, classes=62, second_kernel=kernel)

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        initialise(model, generator)

    def prepare(self, inputs: Tensor) -> Tensor:
        return normalise(inputs, (0.0,), (1.0,))

    def example(self, samples: int, device: str) -> Tensor:
        return torch.empty(samples, 1, 28, 28, device=device)
