"""What compact convolutional transformers on colour images share, whatever their size and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from bench.models.cct import CCT, initialise_cct
from bench.models.transformer import check_heads
from bench.parameters import parameter
from bench.tasks.images import ImageTask, crop_and_flip, standardise


@dataclass(frozen=True)
class CCTParams:
    """The shape of the network; the defaults are those of CCT-6/3x2."""

    embedding: int = parameter(256, "channels of the residual stream, which the heads share evenly", low=1)
    heads: int = parameter(4, "heads of each block, a divisor of the embedding", low=1)
    layers: int = parameter(6, "blocks", low=1)
    factored: Literal["all", "mlp"] = parameter(
        "all", "spectral methods factor all layers but the first and the last, or a block's two linear layers alone"
    )

    def __post_init__(self) -> None:
        """Refuse heads that cannot share the embedding.

        Raises:
            ValueError: in one sentence.
        """
        check_heads(self.embedding, self.heads)


class CCTImages(ImageTask):
    """Base of the tasks of a compact convolutional transformer, whose images are standardised one by one and mirrored.

    Class attributes:
        classes: number of classes.
        side: height and width of the images.
    """

    classes: ClassVar[int]
    side: ClassVar[int]
    Params = CCTParams

    def model(self) -> CCT:
        channels = CCT.default_channels(self.params.embedding, self.params.heads, self.params.layers)
        return CCT(channels, self.params.heads, self.classes, (self.side, self.side), factored=self.params.factored)

    def initialise(self, model: torch.nn.Module, generator: torch.Generator) -> None:
        assert isinstance(model, CCT)
        initialise_cct(model, generator)

    def prepare(self, inputs: Tensor) -> Tensor:
        return standardise(inputs)

    def augment(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        return crop_and_flip(inputs, rng, padding=0)

    def example(self, samples: int, device: str) -> Tensor:
        return torch.empty(samples, 3, self.side, self.side, device=device)
