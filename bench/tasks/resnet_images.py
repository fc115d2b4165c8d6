"""What residual networks on 32 x 32 colour images share, whatever their classes: the two CIFARs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from bench.models.initialise import initialise
from bench.models.resnet import ResNet, ResNet18, ResNet20
from bench.parameters import parameter
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


class ResNetImages(ImageTask):
    """Base of the tasks of ResNet-18 (or ResNet-20) on 32 x 32 colour images.

    Class attributes:
        classes: number of classes.
    """

    classes: ClassVar[int]
    Params = ResNetParams

    def model(self) -> ResNet:
        architecture = ARCHITECTURES[self.params.architecture]
        channels = architecture.default_channels(self.params.width)
        return architecture(channels, classes=self.classes, norm=self.params.norm, factored=self.params.factored)

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
