"""The compact convolutional transformer for small images (Hassani et al., arXiv 2104.05704)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.attention import Scaled
from bench.models.base import Axes, Axis
from bench.models.convolution import Conv2d
from bench.models.initialise import initialise
from bench.models.transformer import DEVIATION, STREAM, Factored, Transformer, rows_of

TOKENS = "tokeniser"
"""The channels between the two convolutions of the tokeniser."""

POSITIONS_DEVIATION = 0.2
"""Of the initial positions."""


class Tokeniser(Scaled):
    """Twice a 3 x 3 convolution without bias, ReLU and a max-pool that halves the map; positions become tokens."""

    def __init__(self, image_channels: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(image_channels, hidden, 3, 1, 1, bias=False)
        self.conv2 = Conv2d(hidden, embedding, 3, 1, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return ``[samples, positions, embedding]``, positions row by row."""
        hidden = images
        for conv in (self.conv1, self.conv2):
            # The ReLU of the largest is the largest ReLU: after the pool it has a quarter of the work.
            hidden = torch.relu_(functional.max_pool2d(self.scaled(conv(hidden)), 3, 2, 1))
        # Of channels-last maps this is no copy; of others every layer behind would make one.
        return hidden.flatten(2).transpose(1, 2).contiguous()


class CCT(Transformer):
    """Convolutions that make tokens, learned positions, blocks, and a mean of the tokens with learned weights.

    As the authors' code has it (SHI-Labs/Compact-Transformers), without dropout and stochastic depth: queries, keys and
    values have no biases, the GELU is that of the error function, and the second shortcut of a block begins behind its
    normalisation. With 256 channels, four heads, six blocks and 64 channels between the convolutions it is CCT-6/3x2.
    The first affine layer is the tokeniser's first convolution, the last the classifier; the pool's single row has one
    singular value, which is never left out, and stays as it is.

    Args:
        channels: see :meth:`default_channels`.
        heads: heads of each block.
        classes: number of outputs.
        size: height and width of the images.
        image_channels: 3 for colours, 1 for grey images.
        factored: see :class:`bench.models.transformer.Transformer`.
    """

    causal, bias, normed_shortcut = False, False, True
    gelu = "none"
    tokeniser: Tokeniser
    positions: nn.Embedding
    pool: nn.Linear

    def __init__(
        self,
        channels: Mapping[str, int],
        heads: int = 4,
        classes: int = 10,
        size: tuple[int, int] = (32, 32),
        image_channels: int = 3,
        factored: Factored = "all",
    ) -> None:
        stream, tokens = channels[STREAM], -(-size[0] // 4) * -(-size[1] // 4)
        tokeniser = Tokeniser(image_channels, channels[TOKENS], stream)
        before = {"tokeniser": tokeniser, "positions": rows_of(tokens, stream)}
        super().__init__(channels, heads, classes, factored, before, {"pool": nn.Linear(stream, 1)})
        self.size, self.image_channels = size, image_channels

    @classmethod
    def default_channels(cls, embedding: int = 256, heads: int = 4, layers: int = 6, ratio: int = 2) -> dict[str, int]:
        """Return the channels of each group; between the convolutions a quarter of the residual stream's."""
        return {TOKENS: max(embedding // 4, 1)} | cls.block_channels(embedding, heads, layers, ratio)

    def parts(self) -> list[tuple[str, ...]]:
        return [("tokeniser.conv1.",), ("tokeniser.conv2.", "positions."), *super().parts()[1:]]

    def _factored_before(self) -> tuple[str, ...]:
        return ("tokeniser.conv2.weight",)

    def _embedded(self, inputs: Tensor) -> Tensor:
        return self.tokeniser(inputs) + self.scaled(self.positions.weight)

    def _read(self, hidden: Tensor, ends: bool) -> Tensor:
        """Return the tokens' mean, with the weights of the pool at the end; with equal ones before it."""
        if not ends:
            return hidden.mean(1)
        weights = self.pool(hidden).softmax(1)
        return (weights.transpose(1, 2) @ hidden)[:, 0]

    def _outer_axes(self) -> dict[str, Axes]:
        return {
            "tokeniser.conv1.weight": (Axis(TOKENS), None, None, None),
            "tokeniser.conv2.weight": (Axis(STREAM), Axis(TOKENS), None, None),
            "positions.weight": (None, Axis(STREAM)),
            "pool.weight": (None, Axis(STREAM)),
            "pool.bias": (None,),
        }

    def _like(self, channels: Mapping[str, int]) -> Self:
        return type(self)(channels, self.heads, self.classes, self.size, self.image_channels, self.factored)


@torch.no_grad()
def initialise_cct(model: CCT, generator: torch.Generator) -> None:
    """Draw all parameters as the released code does: normal laws, for convolutions He's on the fan-in."""
    initialise(model, generator, conv="kaiming-in", deviation=DEVIATION)
    model.positions.weight.mul_(POSITIONS_DEVIATION / DEVIATION)
