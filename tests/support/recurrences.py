"""The factored LSTM's layer on made-up numbers, and what comes of it forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import grad

from bench.models.recurrence import low_rank_lstm_layer


def arguments(length: int, batch: int, hidden: int, features: int = 9, seed: int = 0) -> list[Tensor]:
    """Return a sequence, both pairs of factors and a bias; the gates have a deviation of about one."""
    rng = torch.Generator().manual_seed(seed)
    rank, low = max(1, hidden // 3), 4
    shapes = [(length, batch, features), (4 * hidden, low), (low, features), (4 * hidden, rank), (rank, hidden)]
    scales = [1.0, low**-0.5, features**-0.5, rank**-0.5, hidden**-0.5]
    tensors = [torch.randn(shape, generator=rng) * scale for shape, scale in zip(shapes, scales, strict=True)]
    return [*tensors, torch.randn(4 * hidden, generator=rng) / 2]


def layer(sequence: Tensor, a: Tensor, b: Tensor, u: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return low_rank_lstm_layer(sequence, (a, b), (u, v), bias)


def results(
    function: Callable[..., Tensor], tensors: list[Tensor], dtype: torch.dtype, precision: str, last: bool = False
) -> list[Tensor]:
    """Return the hidden states and the gradients of a weighed sum of them, or of the last ones only."""
    inputs = [tensor.to(dtype).requires_grad_() for tensor in (tensor.clone() for tensor in tensors)]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        states = function(*inputs)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(9)).to(dtype)
    total = (states[-1] * weights[-1]).sum() if last else (states * weights).sum()
    return [states.detach(), *grad(total, inputs)]
