"""Networks that are evaluated with statistics of batch normalisation which were taken once, or tracked elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.api import copy_of
from bench.models.normalisation import BatchNorm


def has_statistics(model: nn.Module) -> bool:
    """Return whether a model normalises by the statistics of a batch anywhere."""
    return any(True for _ in _norms(model))


def with_statistics(model: nn.Module, statistics: list[Tensor]) -> nn.Module:
    """Return a copy of a model that is evaluated with the mean of the batches' statistics, all batches alike.

    The mean is taken in double precision and in the order of the batches: it does not depend on who saw which batch.
    """
    model, mean = copy_of(model), torch.stack(statistics).double().mean(0)
    start = 0
    for norm in _norms(model):
        channels = slice(start, start + norm.num_features)
        norm.fix(*mean[:, channels].to(norm.weight))
        start += norm.num_features
    return model


def _norms(model: nn.Module) -> Iterator[BatchNorm]:
    return (module for module in model.modules() if isinstance(module, BatchNorm))
