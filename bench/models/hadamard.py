"""Layers whose weights are entry-wise products of two low-rank tensors (FedPara).

A matrix ``W`` of shape ``[m, n]`` is held as ``W = (O_1^T I_1) * (O_2^T I_2)`` with ``O_j`` of shape ``[R, m]`` and
``I_j`` of shape ``[R, n]``: 2 R (m + n) numbers and a rank of up to R^2 (Hyeon-Woo et al., Proposition 1). A kernel
``[O, I, k1, k2]`` has a core ``T_j`` of shape ``[R, R, k1, k2]`` between the two (Proposition 3)::

    W_j[o, i, :, :] = sum over x, y of T_j[x, y, :, :] O_j[x, o] I_j[y, i]

The forward pass forms ``W`` and computes what the dense layer does: only what is sent is small. In every layer the
factors of the weight called ``weight`` are the parameters ``weight_t1``, ``weight_o1``, ``weight_i1`` and the same with
2: the names by which the server finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import FactoredLayer
from bench.models.convolution import convolve
from bench.models.recurrence import without_autocast

HALVES = ("1", "2")


def factor_shapes(shape: tuple[int, ...], rank: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the factors of one half of a weight, by the letter that stands for them."""
    core = {"t": (rank, rank, *shape[2:])} if len(shape) > 2 else {}
    return {**core, "o": (rank, shape[0]), "i": (rank, shape[1])}


def names_of(weight: str, half: str, dimensions: int) -> dict[str, str]:
    """Return by letter the names of the factors of one half of a weight with so many dimensions."""
    return {letter: f"{weight}_{letter}{half}" for letter in ("toi" if dimensions > 2 else "oi")}


def half_of(factors: Mapping[str, Tensor]) -> Tensor:
    """Return the low-rank tensor ``W_j`` of one half, given its factors by letter.

    Two matrix products: first over y, whose sum is the smaller one, then over x.
    """
    o, i = factors["o"], factors["i"]
    if "t" not in factors:
        return o.mT @ i
    core = factors["t"].permute(0, 2, 3, 1) @ i
    return (o.mT @ core.flatten(1)).unflatten(1, core.shape[1:]).permute(0, 3, 1, 2)


def composed(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], offset: float = 0.0, tanh: bool = False
) -> Tensor:
    """Return ``W_1 * (W_2 + offset)``, or the same of ``tanh(W_1)`` and ``tanh(W_2)``.

    Single precision also under autocast, which rounds the weight where it is used.
    """
    with without_autocast(first["o"].device):
        halves = [half_of(first), half_of(second)]
        if tanh:
            halves = [half.tanh() for half in halves]
        return halves[0] * (halves[1] + offset if offset else halves[1])


class HadamardLayer(FactoredLayer):
    """A layer with one or more weights that are entry-wise products.

    Args:
        offset: what is added to the second half, 0 for FedPara and 1 for pFedPara.
        tanh: halves go through a tanh.
    """

    def __init__(self, offset: float, tanh: bool) -> None:
        super().__init__()
        self.offset, self.tanh = offset, tanh
        self.dimensions: dict[str, int] = {}
        """How many dimensions each composed weight has."""

    def hold(self, weight: str, dimensions: int, factors: Mapping[str, Tensor]) -> None:
        """Register the factors of a weight, which are given by their names in this layer."""
        self.dimensions[weight] = dimensions
        for half in HALVES:
            for name in names_of(weight, half, dimensions).values():
                self.register_parameter(name, nn.Parameter(factors[name]))

    def composed(self, weight: str = "weight") -> Tensor:
        """Return a weight as it is now, with gradients; it may also be held as it is."""
        if weight not in self.dimensions:
            return getattr(self, weight)
        names = [names_of(weight, half, self.dimensions[weight]) for half in HALVES]
        first, second = ({letter: getattr(self, name) for letter, name in of_half.items()} for of_half in names)
        return composed(first, second, self.offset, self.tanh)

    def factor_names(self, half: str) -> Iterator[str]:
        """Yield the names of the factors of one half, "1" or "2"."""
        for weight, dimensions in self.dimensions.items():
            yield from names_of(weight, half, dimensions).values()

    def factor_count(self) -> int:
        return sum(getattr(self, name).numel() for half in HALVES for name in self.factor_names(half))


class HadamardConv2d(HadamardLayer):
    """A convolution with a composed kernel."""

    def __init__(self, dense: nn.Conv2d, factors: Mapping[str, Tensor], offset: float, tanh: bool) -> None:
        super().__init__(offset, tanh)
        self.stride, self.padding = dense.stride, cast(Any, dense.padding)
        self.hold("weight", 4, factors)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return convolve(inputs, self.composed(), self.bias, self.stride, self.padding)


class HadamardLinear(HadamardLayer):
    """A linear map with a composed matrix."""

    def __init__(self, dense: nn.Linear, factors: Mapping[str, Tensor], offset: float, tanh: bool) -> None:
        super().__init__(offset, tanh)
        self.hold("weight", 2, factors)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.composed(), self.bias)


class HadamardLSTM(HadamardLayer):
    """An LSTM some of whose stacked matrices (four gates each) are composed; the others are held as they are.

    Inputs are ``[batch, length, features]``; the result is that of ``nn.LSTM(batch_first=True)`` with zero initial
    state.
    """

    calls_dense_lstm = True
    """What is computed is PyTorch's own LSTM, with all that its libraries can and cannot do."""

    def __init__(self, dense: nn.LSTM, factors: Mapping[str, Tensor], offset: float, tanh: bool) -> None:
        super().__init__(offset, tanh)
        self.num_layers, self.hidden_size = dense.num_layers, dense.hidden_size
        for name, tensor in dense.named_parameters():
            if names_of(name, "1", 2)["o"] in factors:
                self.hold(name, 2, factors)
            else:
                self.register_parameter(name, nn.Parameter(tensor.detach().clone()))

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        weights = [
            self.composed(f"{kind}_l{layer}")
            for layer in range(self.num_layers)
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        start = inputs.new_zeros(self.num_layers, len(inputs), self.hidden_size)
        outputs, _, _ = torch.lstm(
            inputs, (start, start), weights, True, self.num_layers, 0.0, self.training, False, True
        )
        return outputs, None


def hadamard_layer(dense: nn.Module, factors: Mapping[str, Tensor], offset: float, tanh: bool) -> HadamardLayer:
    """Return the layer that stands in for a dense one, given the factors of its weights by their names in it.

    Raises:
        TypeError: it has no such form.
    """
    if isinstance(dense, nn.Conv2d) and dense.groups == 1 and set(dense.dilation) == {1}:
        return HadamardConv2d(dense, factors, offset, tanh)
    if isinstance(dense, nn.Linear):
        return HadamardLinear(dense, factors, offset, tanh)
    if isinstance(dense, nn.LSTM) and dense.batch_first and not dense.bidirectional and dense.bias:
        return HadamardLSTM(dense, factors, offset, tanh)
    raise TypeError(f"a {type(dense).__name__} has no form as an entry-wise product here")
