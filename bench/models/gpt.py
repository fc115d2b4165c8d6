"""A small GPT-2 that predicts the next token at each position."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Axis
from bench.models.initialise import initialise
from bench.models.transformer import DEVIATION, STREAM, Block, Factored, Transformer, rows_of

RATIO = 4
"""Channels between the linear layers of a block, relative to the residual stream: GPT-2's."""


class GPT(Transformer):
    """Reads token ids ``[batch, length]`` and returns scores ``[batch, length, classes]`` of what follows each.

    Blocks are those of GPT-2 (Radford et al., 2019): causal attention with biases, GELU by a hyperbolic tangent,
    normalisation before each half and before the classifier, learned positions; without dropout. The first affine layer
    is the embedding, the last the classifier. GPT-2 ties the two into one matrix; here they are two, since rows of
    the classifier are the classes that clients may lack, and rows of the embedding are what all of them read.

    Args:
        channels: see :meth:`default_channels`.
        heads: heads of each block.
        vocabulary: number of token ids, which are the classes too.
        context: the most tokens that are read at once.
        factored: see :class:`bench.models.transformer.Transformer`.
    """

    causal, bias, normed_shortcut = True, True, False
    gelu = "tanh"
    embedding: nn.Embedding
    positions: nn.Embedding

    def __init__(
        self, channels: Mapping[str, int], heads: int, vocabulary: int, context: int, factored: Factored = "all"
    ) -> None:
        size = channels[STREAM]
        before = {"embedding": rows_of(vocabulary, size), "positions": rows_of(context, size)}
        super().__init__(channels, heads, vocabulary, factored, before, {})
        self.context = context

    @classmethod
    def default_channels(cls, embedding: int, heads: int, layers: int) -> dict[str, int]:
        """Return the channels of each group for a residual stream of ``embedding`` channels."""
        return cls.block_channels(embedding, heads, layers, RATIO)

    def _embedded(self, inputs: Tensor) -> Tensor:
        return self.scaled(self.embedding(inputs) + self.positions.weight[: inputs.shape[1]])

    def _outer_axes(self) -> dict[str, Axes]:
        return {"embedding.weight": (None, Axis(STREAM)), "positions.weight": (None, Axis(STREAM))}

    def _like(self, channels: Mapping[str, int]) -> Self:
        return type(self)(channels, self.heads, self.classes, self.context, self.factored)


@torch.no_grad()
def initialise_gpt(model: GPT, generator: torch.Generator) -> None:
    """Draw all parameters as GPT-2's: normal, and the smaller the more blocks add to the residual stream."""
    initialise(model, generator, deviation=DEVIATION)
    for block in model.blocks:
        assert isinstance(block, Block)
        for layer in (block.attention.output, block.contract):
            layer.weight.mul_(1 / math.sqrt(2 * model.depth))
