"""Initial values from a named stream instead of the global random state."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from bench.seeding import key_of

FANS: dict[str, Literal["fan_in", "fan_out"]] = {"kaiming": "fan_out", "kaiming-in": "fan_in"}


def initial_values(seed: int) -> torch.Generator:
    """Return the stream from which a run's initial model is drawn: the same for every method and keep ratio."""
    return torch.Generator().manual_seed(key_of(seed, "initialisation") % 2**63)


@torch.no_grad()
def initialise(
    model: nn.Module, generator: torch.Generator, conv: str = "default", deviation: float | None = None
) -> None:
    """Draw all parameters of a model in place, in the order of its modules.

    Args:
        model: a model with memory on the CPU.
        generator: the stream to draw from.
        conv: "kaiming" for convolutions with He's normal law on the fan-out (ResNets), "kaiming-in" for the same on the
            fan-in, "default" for torch's own uniform law. Linear and LSTM layers follow torch's defaults, embeddings
            are standard normal, normalisation starts as the identity.
        deviation: of a normal law for linear layers and embeddings instead, whose biases then start at 0
            (transformers).

    Raises:
        TypeError: a module has parameters and no rule here, so that nothing stays uninitialised unnoticed.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and conv in FANS:
            nn.init.kaiming_normal_(module.weight, mode=FANS[conv], nonlinearity="relu", generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Linear | nn.Embedding) and deviation is not None:
            module.weight.normal_(0.0, deviation, generator=generator)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            _uniform(module, bound, generator)
        elif isinstance(module, nn.LSTM):
            _uniform(module, 1 / math.sqrt(module.hidden_size), generator)
        elif isinstance(module, nn.Embedding):
            module.weight.normal_(generator=generator)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            module.weight.fill_(1.0)
            module.bias.zero_()
        elif next(module.parameters(recurse=False), None) is not None:
            raise TypeError(f"no rule to initialise a {type(module).__name__}")


def _uniform(module: nn.Module, bound: float, generator: torch.Generator) -> None:
    for tensor in module.parameters(recurse=False):
        tensor.uniform_(-bound, bound, generator=generator)
