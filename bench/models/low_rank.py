"""Layers that hold a weight as a product of two thin factors.

A weight ``W`` of shape ``[outputs, inputs]`` (a convolution kernel is read as ``[outputs, inputs * k * k]``) is held
as ``W = U diag(scale) V`` with ``U`` of shape ``[outputs, rank]`` and ``V`` of shape ``[rank, inputs]``. ``U`` and
``V`` are trained; ``scale`` is a frozen buffer (the singular values of PriSM's paper, the multipliers of the spectral
estimators) or absent. The forward pass multiplies by one factor after the other and never forms ``W``, so that a
client's computation and memory really shrink with the rank.

In every layer the factors of the weight called ``weight`` are the parameters ``weight_u`` and ``weight_v`` and the
buffers ``weight_scale`` and ``weight_damping``: the names by which the server finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import FactoredLayer
from bench.models.convolution import convolve
from bench.models.recurrence import low_rank_lstm_layer


@dataclass(frozen=True)
class Factors:
    """The factors of one weight.

    Attributes:
        u: ``[outputs, rank]``.
        v: ``[rank, inputs]``, inputs flattened as in ``weight.reshape(outputs, -1)``.
        scale: ``[rank]``, frozen; None for all ones.
        damping: ``[rank]``, frozen factors of the gradients of ``u`` and ``v``; None for all ones.
    """

    u: Tensor
    v: Tensor
    scale: Tensor | None = None
    damping: Tensor | None = None

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return ``U diag(scale)`` and ``V``: a frozen scale costs a multiplication of the small factor only."""
        return (self.u if self.scale is None else self.u * self.scale), self.v

    def product(self) -> Tensor:
        """Return ``U diag(scale) V``, shape ``[outputs, inputs]``."""
        u, v = self.folded()
        return u @ v


class LowRankLayer(FactoredLayer):
    """A layer with one or more factored weights."""

    def hold(self, weight: str, factors: Factors) -> None:
        """Register the factors of a weight."""
        self.register_parameter(f"{weight}_u", nn.Parameter(factors.u.contiguous()))
        self.register_parameter(f"{weight}_v", nn.Parameter(factors.v.contiguous()))
        self.register_buffer(f"{weight}_scale", factors.scale)
        self.register_buffer(f"{weight}_damping", factors.damping)

    def factors(self, weight: str = "weight") -> Factors:
        """Return the factors of a weight as they are now, with gradients."""
        return Factors(*(getattr(self, f"{weight}_{part}") for part in ("u", "v", "scale", "damping")))

    def damp_gradients(self) -> None:
        """Multiply the gradients of each kernel's vectors by its damping, where there is one."""
        for weight in self.factored_weights():
            factors = self.factors(weight)
            if factors.damping is None:
                continue
            if factors.u.grad is not None:
                factors.u.grad.mul_(factors.damping)
            if factors.v.grad is not None:
                factors.v.grad.mul_(factors.damping[:, None])

    def factored_weights(self) -> list[str]:
        """Return the names of the factored weights."""
        return [name[:-2] for name, _ in self.named_parameters(recurse=False) if name.endswith("_u")]

    def factor_count(self) -> int:
        factors = [self.factors(weight) for weight in self.factored_weights()]
        return sum(held.u.numel() + held.v.numel() for held in factors)

    def squared_norm(self, rows: Callable[[Tensor], int] | None = None) -> Tensor:
        """Return the sum of ``||U diag(scale) V||_F^2`` over the layer's weights, a scalar with gradients.

        Computed from the rank x rank Gram matrices of the factors, so that the product is never formed (PriSM,
        equation 4).

        Args:
            rows: how many rows of a U count, the first ones; all if not given.
        """
        norms = []
        for weight in self.factored_weights():
            u, v = self.factors(weight).folded()
            u = u if rows is None else u[: rows(u)]
            norms.append(((u.T @ u) * (v @ v.T)).sum())
        return torch.stack(norms).sum()


class LowRankConv2d(LowRankLayer):
    """A k x k convolution to ``rank`` channels, then a 1 x 1 convolution to the outputs."""

    def __init__(self, dense: nn.Conv2d, factors: Factors) -> None:
        super().__init__()
        if dense.groups != 1 or set(dense.dilation) != {1}:
            raise TypeError("a convolution with groups or dilation has no low-rank form here")
        self.stride, self.padding, self.kernel = dense.stride, cast(Any, dense.padding), dense.weight.shape[1:]
        self.hold("weight", factors)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        u, v = self.factors().folded()
        hidden = convolve(inputs, v.unflatten(1, self.kernel), None, self.stride, self.padding)
        return functional.conv2d(hidden, u[:, :, None, None], self.bias)


class LowRankLinear(LowRankLayer):
    """A linear map to ``rank`` features, then one to the outputs."""

    def __init__(self, dense: nn.Linear, factors: Factors) -> None:
        super().__init__()
        self.hold("weight", factors)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        u, v = self.factors().folded()
        return functional.linear(functional.linear(inputs, v), u, self.bias)


class LowRankLSTM(LowRankLayer):
    """An LSTM whose stacked input and recurrent matrices (four gates each) are factored.

    The released code of PriSM trains a dense LSTM instead; this one has the cost of its rank. Inputs are
    ``[batch, length, features]``; the result is that of ``nn.LSTM(batch_first=True)`` with zero initial state.
    """

    def __init__(self, dense: nn.LSTM, factors: dict[str, Factors]) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = dense.num_layers, dense.hidden_size
        for layer in range(self.num_layers):
            for matrix in (f"weight_ih_l{layer}", f"weight_hh_l{layer}"):
                self.hold(matrix, factors[matrix])
            bias = getattr(dense, f"bias_ih_l{layer}"), getattr(dense, f"bias_hh_l{layer}")
            self.register_parameter(f"bias_ih_l{layer}", nn.Parameter(bias[0].detach().clone()))
            self.register_parameter(f"bias_hh_l{layer}", nn.Parameter(bias[1].detach().clone()))

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        sequence = inputs.transpose(0, 1)
        for layer in range(self.num_layers):
            bias = getattr(self, f"bias_ih_l{layer}") + getattr(self, f"bias_hh_l{layer}")
            into, recurrent = self.factors(f"weight_ih_l{layer}"), self.factors(f"weight_hh_l{layer}")
            sequence = low_rank_lstm_layer(sequence, into.folded(), recurrent.folded(), bias)
        return sequence.transpose(0, 1), None
