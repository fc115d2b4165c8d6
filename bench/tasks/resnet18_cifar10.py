"""ResNet-18 on CIFAR-10 (PriSM, Tables 2 and 5; Korzhenkov and Louizos, 2024), or ResNet-20 (EmbracingFL, 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bench.models.initialise import initialise
from bench.models.resnet import ResNet, ResNet18, ResNet20
from bench.parameters import parameter
from bench.tasks.base import Recipe
from bench.tasks.images import ImageTask, crop_and_flip, normalise, standardise

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""PriSM's code normalises CIFAR-10 with the statistics of ImageNet."""

ARCHITECTURES: dict[str, type[ResNet]] = {"resnet18": ResNet18, "resnet20": ResNet20}


@dataclass(frozen=True)
class ResNetParams:
    """The shape of the network and what it reads; a width that is not given is the paper's."""

    architecture: Literal["resnet18", "resnet20"] = parameter(
        "resnet18", "four stages of two blocks, or three of three with a quarter of the channels"
    )
    width: int | None = parameter(
        None, "channels of the stem; if not given the papers' 64 for resnet18 and 16 for resnet20", low=1
    )
    norm: Literal["batch", "group"] = parameter("batch", "statistics of the current batch, or group normalisation")
    inputs: Literal["prism", "spectral"] = parameter(
        "prism", "ImageNet's statistics, crops and flips; or each image standardised and flips only"
    )
    factored: Literal["3x3", "all"] = parameter(
        "3x3", "spectral methods factor the 3 x 3 convolutions behind the stem, or the 1 x 1 shortcuts too"
    )

    def __post_init__(self) -> None:
        if self.width is None:
            object.__setattr__(self, "width", ARCHITECTURES[self.architecture].default_width)


class ResNet18Cifar10(ImageTask):
    name = "resnet18-cifar10"
    summary = "ResNet-18 (or ResNet-20) with 3 x 3 stem on 32 x 32 colour images of 10 classes"
    paper = (
        "PriSM, Tables 2 and 5; tier spectral-paper: Korzhenkov and Louizos, arXiv 2410.24106; "
        "ResNet-20: EmbracingFL, arXiv 2406.15125"
    )
    dataset = "cifar10"
    partition = "lda"
    Params = ResNetParams
    tiers = {
        "paper": Recipe(rounds=1000, samples_per_client=500, evaluate_every=20),
        "spectral-paper": Recipe(rounds=1000, cohort=10, samples_per_client=500, weight_decay=1e-4, evaluate_every=20),
        "quick": Recipe(
            rounds=30,
            clients=10,
            cohort=3,
            samples_per_client=200,
            evaluate_every=5,
            standin_train=2000,
            standin_test=500,
        ),
    }
    tier_partitions = {"spectral-paper": ("lda-prior", 1.0)}
    tier_params = {
        "quick": {"width": 8},
        "spectral-paper": {"norm": "group", "inputs": "spectral", "factored": "all"},
    }

    def model(self) -> ResNet:
        architecture = ARCHITECTURES[self.params.architecture]
        channels = architecture.default_channels(self.params.width)
        return architecture(channels, classes=10, norm=self.params.norm, factored=self.params.factored)

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        initialise(model, generator, conv="kaiming")

    def prepare(self, inputs: Tensor) -> Tensor:
        if self.params.inputs == "spectral":
            return standardise(inputs)
        return normalise(inputs, IMAGENET_MEAN, IMAGENET_DEVIATION)

    def augment(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        return crop_and_flip(inputs, rng, padding=0 if self.params.inputs == "spectral" else 4)

    def example(self, samples: int, device: str) -> Tensor:
        return torch.empty(samples, 3, 32, 32, device=device)
