"""Importance by magnitude: which entries of a model FIARSE keeps, and which channels, from the same scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from bench.models.base import Model


def maskable(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of each parameter that has scores: weights and biases of affine layers, LSTMs among them.

    Normalisation and embeddings have none.
    """
    for layer, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.LSTM):
            for name, tensor in module.named_parameters(recurse=False):
                yield f"{layer}.{name}" if layer else name, tensor


def kept_count(keep: float, size: int) -> int:
    """Return how many of ``size`` entries a keep ratio leaves, rounded down as the authors do, at least one."""
    return max(int(round(keep * size, 6)), 1)


def threshold_of(scores: Tensor, keep: float) -> Tensor:
    """Return the largest magnitude that so large a share of the entries reach, a scalar.

    Args:
        scores: magnitudes, float ``[entries]``.
        keep: share of them to be kept.
    """
    return scores.kthvalue(len(scores) - kept_count(keep, len(scores)) + 1).values


@torch.no_grad()
def thresholds(weights: Mapping[str, Tensor], keep: float, by_layer: bool) -> dict[str, Tensor]:
    """Return the threshold of each weight, by its name: one for all, or one for each layer with its bias.

    Args:
        weights: those that have scores, by name.
        keep: share of the entries to be kept, of all together or of each layer.
        by_layer: each layer has its own.
    """
    groups: dict[str, list[str]] = {}
    for name in weights:
        groups.setdefault(name.rpartition(".")[0] if by_layer else "", []).append(name)
    found: dict[str, Tensor] = {}
    for names in groups.values():
        scores = torch.cat([weights[name].detach().abs().flatten() for name in names])
        found |= dict.fromkeys(names, threshold_of(scores, keep))
    return {name: found[name] for name in weights}


@torch.no_grad()
def channel_scores(model: Model) -> dict[str, Tensor]:
    """Return for each group of channels the sum of the magnitudes of all entries that belong to a channel, float64.

    An entry belongs to the channel that it makes and to the one that it reads, where both are cut.
    """
    sizes, axes = model.channels(), model.axes()
    device = next(model.parameters()).device
    scores = {group: torch.zeros(size, dtype=torch.float64, device=device) for group, size in sizes.items()}
    for name, tensor in maskable(model):
        for dimension, axis in enumerate(axes[name]):
            if axis is not None:
                along = (
                    tensor.detach().abs().double().transpose(0, dimension).reshape(tensor.shape[dimension], -1).sum(1)
                )
                scores[axis.group] += along.reshape(axis.outer, sizes[axis.group], axis.inner).sum((0, 2))
    return scores
