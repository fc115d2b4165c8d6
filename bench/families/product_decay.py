"""Decay of the product of two factors, in the place of weight decay on each of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.models.factorise import low_rank_layers
from bench.models.low_rank import LowRankConv2d


def product_decay(submodel: nn.Module, decay: float, rows: Callable[[Tensor], int] | None = None) -> Tensor | None:
    """Return ``decay / 2 * sum ||U diag(scale) V||_F^2`` over the low-rank layers; None where it is zero.

    PriSM, equation 4; its gradient is what FedHM's code adds to those of the factors.

    Args:
        submodel: what is trained.
        decay: its coefficient.
        rows: how many rows of a U are decayed, the first ones; all if not given.
    """
    layers = low_rank_layers(submodel).values()
    if decay == 0 or not layers:
        return None
    return torch.stack([layer.squared_norm(rows) for layer in layers]).sum() * (decay / 2)


def factor_names(submodel: nn.Module) -> set[str]:
    """Return the names of the parameters that are factors of a low-rank layer."""
    return {
        f"{layer}.{weight}_{side}"
        for layer, module in low_rank_layers(submodel).items()
        for weight in module.factored_weights()
        for side in "uv"
    }


def convolution_biases(submodel: nn.Module) -> set[str]:
    """Return the names of the biases of the low-rank convolutions; PriSM's code groups no other bias with factors."""
    return {
        f"{layer}.bias"
        for layer, module in low_rank_layers(submodel).items()
        if isinstance(module, LowRankConv2d) and module.bias is not None
    }
