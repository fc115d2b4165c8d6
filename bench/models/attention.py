"""Multi-head attention whose projections are matrices of their own, so that each can be factored and cut by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Scaled(nn.Module):
    """A module that divides the outputs of its layers in training.

    Attributes:
        hidden_scale: what they are divided by (HeteroFL's scaler).
    """

    def __init__(self) -> None:
        super().__init__()
        self.hidden_scale = 1.0

    def scaled(self, hidden: Tensor) -> Tensor:
        """Return outputs of a layer, divided in training."""
        return hidden / self.hidden_scale if self.training and self.hidden_scale != 1 else hidden


class Attention(Scaled):
    """Attention of each position to all positions, or to itself and those before it.

    Scores are divided by the square root of the head's own size, that of a narrowed head too, as in HeteroFL's released
    transformer.

    Args:
        embedding: channels of inputs and outputs.
        heads: number of heads; a narrower network has as many.
        size: channels of each head.
        causal: whether a position sees none behind it.
        bias: whether queries, keys and values have biases; the output always has.
    """

    def __init__(self, embedding: int, heads: int, size: int, causal: bool, bias: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query = nn.Linear(embedding, heads * size, bias)
        self.key = nn.Linear(embedding, heads * size, bias)
        self.value = nn.Linear(embedding, heads * size, bias)
        self.output = nn.Linear(heads * size, embedding)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what each position reads, ``[samples, positions, embedding]`` as the inputs."""
        layers = self.query, self.key, self.value
        query, key, value = (self._by_head(self.scaled(layer(hidden))) for layer in layers)
        read = attend(query, key, value, self.causal)
        return self.scaled(self.output(read.transpose(1, 2).flatten(2)))

    def _by_head(self, hidden: Tensor) -> Tensor:
        """Return ``[samples, heads, positions, size]``."""
        return hidden.unflatten(2, (self.heads, -1)).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Return ``softmax(Q K^T / sqrt(size)) V`` by a fused kernel where PyTorch has one.

    Args:
        query, key, value: ``[samples, heads, positions, size]``.
        causal: whether a position sees none behind it.
    """
    if query.device.type == "meta":
        # Costs are counted there, of the fused kernel: else PyTorch would take products that keep all probabilities.
        read, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal)
        return read
    return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
