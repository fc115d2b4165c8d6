"""Layers that hold some entries of their weights and compute as if all others were zero.

A layer holds the kept entries of a weight one behind the other, and where they lie: as a bitmap or as indices,
whichever takes fewer bytes. The forward pass writes them into a weight of the full shape and computes what the dense
layer does: memory for weights and what is sent shrink, operations and activations do not
(:class:`bench.models.base.SparseLayer` says which operations a kernel for sparse weights would leave out).

Entries whose magnitude falls below the layer's threshold count as zero too, as long as they are below it (FIARSE, Wu et
al., NeurIPS 2024). In every layer the entries of the weight called ``weight`` are the parameter ``weight_values``, and
where they lie is the buffer ``weight_mask``: the names by which the server finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from bench.models.base import FactoredLayer, SparseLayer
from bench.models.convolution import convolve

VALUES, MASK, POSITIONS = "_values", "_mask", "_positions"
"""What follows a weight's name in those of its entries, its mask and the places of its entries."""


@dataclass(frozen=True)
class Kept:
    """The kept entries of one weight.

    Attributes:
        values: float ``[kept]``.
        positions: where they lie in the flattened weight, int64 ``[kept]``, ascending.
        shape: the weight's.
    """

    values: Tensor
    positions: Tensor
    shape: torch.Size


def encoded(positions: Tensor, size: int) -> Tensor:
    """Return where entries lie in the cheaper of two forms: a bit for each of ``size``, or an index of 4 bytes each.

    Args:
        positions: int64 ``[kept]``, ascending.
        size: number of entries of the whole weight, fewer than 2^31.

    Returns:
        uint8 ``[ceil(size / 8)]``, the first entry in the highest bit of the first byte, or int32 ``[kept]``.
    """
    if 4 * len(positions) < -(-size // 8):
        return positions.int()
    flags = np.zeros(size, np.uint8)
    flags[positions.cpu().numpy()] = 1
    return torch.from_numpy(np.packbits(flags)).to(positions.device)


def decoded(mask: Tensor, size: int) -> Tensor:
    """Return the positions, int64, of what :func:`encoded` made of them."""
    if mask.dtype == torch.int32:
        return mask.long()
    return torch.from_numpy(np.unpackbits(mask.cpu().numpy(), count=size).nonzero()[0]).to(mask.device)


class MaskedLayer(FactoredLayer, SparseLayer):
    """A layer some of whose weights hold kept entries alone; the others are held as they are.

    Args:
        threshold: magnitude below which an entry counts as zero, a scalar.
        follows_threshold: the gradient follows the threshold too, see :class:`_Thresholded`.
    """

    def __init__(self, threshold: Tensor, follows_threshold: bool) -> None:
        super().__init__()
        self.follows_threshold = follows_threshold
        self.shapes: dict[str, tuple[int, ...]] = {}
        """The full shape of each masked weight."""
        self.register_buffer("threshold", threshold.clone())

    def hold(self, name: str, kept: Kept) -> None:
        """Register the entries of a weight."""
        self.shapes[name] = tuple(kept.shape)
        self.register_parameter(f"{name}{VALUES}", nn.Parameter(kept.values))
        self.register_buffer(f"{name}{MASK}", encoded(kept.positions, kept.shape.numel()))
        # What the mask says, in the form that is read at each step; it is neither sent nor saved.
        self.register_buffer(f"{name}{POSITIONS}", kept.positions.clone(), persistent=False)

    def hold_all(self, dense: nn.Module, kept: Mapping[str, Kept]) -> None:
        """Register the parameters of a dense layer, masked those of which the kept entries are given."""
        for name, tensor in dense.named_parameters(recurse=False):
            if name in kept:
                self.hold(name, kept[name])
            else:
                self.register_parameter(name, nn.Parameter(tensor.detach().clone()))

    def whole(self, name: str) -> Tensor | None:
        """Return a weight in its full shape as it is now, with gradients; None where the layer has none."""
        if name not in self.shapes:
            return getattr(self, name, None)
        values = _Thresholded.apply(getattr(self, f"{name}{VALUES}"), self.threshold, self.follows_threshold)
        shape = self.shapes[name]
        flat = values.new_zeros(torch.Size(shape).numel())
        return flat.index_copy(0, getattr(self, f"{name}{POSITIONS}"), values).view(shape)

    def masked(self) -> Iterator[tuple[str, int, int]]:
        """Yield name, number of entries and number of kept entries of each masked weight."""
        for name, shape in self.shapes.items():
            yield name, torch.Size(shape).numel(), getattr(self, f"{name}{VALUES}").numel()

    def factor_count(self) -> int:
        return sum(kept for name, _, kept in self.masked() if not name.startswith("bias"))

    def pruned(self) -> int:
        """Return how many entries of its matrices and kernels are not held; biases multiply nothing."""
        return sum(size - kept for name, size, kept in self.masked() if not name.startswith("bias"))

    def skipped(self, inputs: Tensor, outputs: Tensor) -> tuple[int, int]:
        # Each entry of a weight is multiplied once for each position of an output, and each such product has one in
        # the gradient of the weight and one in that of the inputs, where something behind them is trained.
        forward = self.pruned() * self.positions(outputs)
        return forward, forward * (1 + inputs.requires_grad)

    def positions(self, outputs: Tensor) -> int:
        """Return how many outputs each channel has, samples together."""
        raise NotImplementedError


class MaskedConv2d(MaskedLayer):
    """A convolution with a masked kernel."""

    def __init__(self, dense: nn.Conv2d, kept: Mapping[str, Kept], threshold: Tensor, follows_threshold: bool) -> None:
        super().__init__(threshold, follows_threshold)
        self.stride, self.padding = dense.stride, cast(Any, dense.padding)
        self.hold_all(dense, kept)

    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.whole("weight")
        assert weight is not None
        return convolve(inputs, weight, self.whole("bias"), self.stride, self.padding)

    def positions(self, outputs: Tensor) -> int:
        return outputs.numel() // outputs.shape[1]


class MaskedLinear(MaskedLayer):
    """A linear map with a masked matrix."""

    def __init__(self, dense: nn.Linear, kept: Mapping[str, Kept], threshold: Tensor, follows_threshold: bool) -> None:
        super().__init__(threshold, follows_threshold)
        self.hold_all(dense, kept)

    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.whole("weight")
        assert weight is not None
        return functional.linear(inputs, weight, self.whole("bias"))

    def positions(self, outputs: Tensor) -> int:
        return outputs.numel() // outputs.shape[-1]


class MaskedLSTM(MaskedLayer):
    """An LSTM with masked matrices and biases.

    Inputs are ``[batch, length, features]``; the result is that of ``nn.LSTM(batch_first=True)`` with zero initial
    state.
    """

    calls_dense_lstm = True
    """What is computed is PyTorch's own LSTM, with all that its libraries can and cannot do."""

    def __init__(self, dense: nn.LSTM, kept: Mapping[str, Kept], threshold: Tensor, follows_threshold: bool) -> None:
        super().__init__(threshold, follows_threshold)
        self.num_layers, self.hidden_size = dense.num_layers, dense.hidden_size
        self.hold_all(dense, kept)

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        weights = [
            self.whole(f"{kind}_l{layer}")
            for layer in range(self.num_layers)
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        start = inputs.new_zeros(self.num_layers, len(inputs), self.hidden_size)
        outputs, _, _ = torch.lstm(
            inputs, (start, start), cast(Any, weights), True, self.num_layers, 0.0, self.training, False, True
        )
        return outputs, None

    def skipped(self, inputs: Tensor, outputs: Tensor) -> tuple[int, int]:
        # The states between the layers and from step to step always have gradients.
        steps = self.positions(outputs)
        first = sum(size - kept for name, size, kept in self.masked() if name == "weight_ih_l0")
        return self.pruned() * steps, (2 * self.pruned() - (0 if inputs.requires_grad else first)) * steps

    def positions(self, outputs: Tensor) -> int:
        return outputs.numel() // outputs.shape[-1]


def masked_layer(dense: nn.Module, kept: Mapping[str, Kept], threshold: Tensor, follows_threshold: bool) -> MaskedLayer:
    """Return the layer that stands in for a dense one, given the kept entries of its parameters by their names in it.

    Raises:
        TypeError: it has no masked form.
    """
    if isinstance(dense, nn.Conv2d) and dense.groups == 1 and set(dense.dilation) == {1}:
        return MaskedConv2d(dense, kept, threshold, follows_threshold)
    if isinstance(dense, nn.Linear):
        return MaskedLinear(dense, kept, threshold, follows_threshold)
    if isinstance(dense, nn.LSTM) and dense.batch_first and not dense.bidirectional and dense.bias:
        return MaskedLSTM(dense, kept, threshold, follows_threshold)
    raise TypeError(f"a {type(dense).__name__} has no masked form")


class _Thresholded(torch.autograd.Function):
    """``w 1(|w| >= theta)`` with a gradient for the indicator as well.

    The indicator's derivative by ``|w|`` is taken to be ``2 theta / (|w| + theta)^2`` where it is 1, and 0 elsewhere.
    By the product rule a kept entry's gradient is ``g (1 + 2 theta |w| / (|w| + theta)^2)``: 1.5 times the arriving one
    at the threshold, and less the further above it. Where that is not asked for it is ``g``.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, threshold: Tensor, follows_threshold: bool) -> Tensor:
        ctx.save_for_backward(values, threshold)
        ctx.follows_threshold = follows_threshold
        return values * (values.abs() >= threshold)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        values, threshold = ctx.saved_tensors
        size = values.abs()
        gradient = gradients[0] * (size >= threshold)
        if ctx.follows_threshold:
            # Where both are zero there is no quotient, and the term is left out.
            slope = (2 * threshold * size / (size + threshold) ** 2).nan_to_num(0.0, 0.0, 0.0)
            gradient = gradient * (1 + slope)
        return gradient, None, None
