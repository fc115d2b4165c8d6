"""From a full model to a low-rank sub-model and the cut of a narrow one."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.models.base import Axes, Model, blank
from bench.models.low_rank import Factors, LowRankConv2d, LowRankLayer, LowRankLinear, LowRankLSTM


def factorised(model: nn.Module, factors: Mapping[str, Factors]) -> nn.Module:
    """Return a copy of a model in which each named weight is held by its factors instead.

    Args:
        model: the full model; it is not changed and shares no memory with the copy.
        factors: factors by the weight's name ("stages.0.0.conv1.weight", "lstm.weight_ih_l0").

    Raises:
        TypeError: a named weight belongs to a layer that has no low-rank form.
    """
    by_layer: dict[str, dict[str, Factors]] = defaultdict(dict)
    for name, value in factors.items():
        layer, _, weight = name.rpartition(".")
        by_layer[layer][weight] = value
    return with_layers(model, {layer: low_rank(model.get_submodule(layer), own) for layer, own in by_layer.items()})


def with_layers(model: nn.Module, layers: Mapping[str, nn.Module]) -> nn.Module:
    """Return a copy of a model with other layers in the place of the named ones; the rest is copied."""
    # deepcopy takes from the memo what it has "already copied": the new layers stand in for the old ones, whose
    # weights are never copied.
    return copy.deepcopy(model, {id(model.get_submodule(name)): layer for name, layer in layers.items()})


def low_rank(dense: nn.Module, factors: dict[str, Factors]) -> LowRankLayer:
    """Return the low-rank layer that stands in for a dense one, given the factors of its weights by name."""
    if isinstance(dense, nn.Conv2d):
        return LowRankConv2d(dense, factors["weight"])
    if isinstance(dense, nn.Linear):
        return LowRankLinear(dense, factors["weight"])
    if isinstance(dense, nn.LSTM):
        return LowRankLSTM(dense, factors)
    raise TypeError(f"a {type(dense).__name__} has no low-rank form")


def low_rank_layers(model: nn.Module) -> dict[str, LowRankLayer]:
    """Return the low-rank layers of a sub-model by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LowRankLayer)}


def cut(tensor: Tensor, axes: Axes, kept: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
    """Return the entries of a parameter that belong to the kept channels, as a new tensor.

    Args:
        tensor: a parameter of the full model.
        axes: the group of each dimension.
        kept: the kept channels of each group.
        sizes: the number of channels of each group in the full model.
    """
    for dimension, axis in enumerate(axes):
        if axis is not None:
            tensor = tensor.index_select(dimension, axis.positions(kept[axis.group], sizes[axis.group]))
    return tensor.clone()


def leading(tensor: Tensor, axes: Axes, counts: Mapping[str, int]) -> Tensor:
    """Return the entries of a parameter that belong to the first channels of each group, gradients included.

    A view, but of stacked gates a copy.

    Args:
        tensor: a parameter of a model that is at least as wide.
        axes: the group of each dimension.
        counts: the number of channels of each group.
    """
    for dimension, axis in enumerate(axes):
        if axis is None:
            continue
        length = counts[axis.group] * axis.inner
        if axis.outer == 1:
            tensor = tensor.narrow(dimension, 0, length)
        else:
            stacked = tensor.unflatten(dimension, (axis.outer, -1)).narrow(dimension + 1, 0, length)
            tensor = stacked.flatten(dimension, dimension + 1)
    return tensor


def block_index(axes: Axes, kept: Mapping[str, Tensor], sizes: Mapping[str, int]) -> tuple[Tensor | slice, ...]:
    """Return the index of the same entries within the full parameter, for reading and writing in place."""
    cut_dimensions = [dimension for dimension, axis in enumerate(axes) if axis is not None]
    index: list[Tensor | slice] = [slice(None)] * len(axes)
    for place, dimension in enumerate(cut_dimensions):
        axis = axes[dimension]
        assert axis is not None
        positions = axis.positions(kept[axis.group], sizes[axis.group])
        # Index tensors of different dimensions combine as an outer product once they broadcast against each other.
        shape = [1] * len(cut_dimensions)
        shape[place] = len(positions)
        index[dimension] = positions.reshape(shape)
    return tuple(index)


@torch.no_grad()
def narrowed(model: Model, kept: Mapping[str, Tensor]) -> Model:
    """Return the narrow model that consists of the kept channels of a full model.

    Args:
        model: the full model; it is not changed and shares no memory with the result.
        kept: for each group of channels the kept ones, int64 and ascending.
    """
    sizes, axes = model.channels(), model.axes()
    narrow = blank(model.narrow({group: len(indices) for group, indices in kept.items()}))
    assert isinstance(narrow, Model)
    full = dict(model.named_parameters())
    for name, tensor in narrow.named_parameters():
        tensor.data = cut(full[name], axes[name], kept, sizes)
    return narrow
