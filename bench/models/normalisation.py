"""Normalisation with what follows it, shortcut and ReLU, in as few passes over memory as possible.

On the CPU these are bound by memory: fused, they take half the time of PyTorch's single operations (a quarter for
group normalisation of channels-last tensors).
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from bench import kernels


class BatchNorm(nn.BatchNorm2d):
    """Normalisation by the statistics of the current batch, in training and in evaluation (PriSM, section 2.2).

    In evaluation by other statistics once those are fixed: see :meth:`fix`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=False)

    def fix(self, mean: Tensor, variance: Tensor) -> None:
        """Evaluate with these statistics, ``[channels]`` each, from now on; training goes on by those of the batch."""
        self.running_mean, self.running_var = mean, variance

    def forward(self, inputs: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """Return the normalised inputs plus the shortcut, behind a ReLU if that is asked for."""
        by_batch = self.training or self.running_mean is None
        if by_batch and _fusable(inputs, self.weight, self.bias, shortcut):
            return _Fused.apply(inputs, self.weight, self.bias, shortcut, None, self.eps, relu)
        return _followed(super().forward(inputs), shortcut, relu)


class GroupNorm(nn.GroupNorm):
    """Normalisation of groups of channels, each sample by itself."""

    def forward(self, inputs: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """Return the normalised inputs plus the shortcut, behind a ReLU if that is asked for."""
        if _fusable(inputs, self.weight, self.bias, shortcut):
            return _Fused.apply(inputs, self.weight, self.bias, shortcut, self.num_groups, self.eps, relu)
        if inputs.device.type == "cpu":
            # PyTorch's takes four times as long on channels-last tensors.
            normalised = super().forward(inputs.contiguous()).contiguous(memory_format=torch.channels_last)
        else:
            normalised = super().forward(inputs)
        return _followed(normalised, shortcut, relu)


def _followed(normalised: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
    """Return a normalised tensor with what follows it, in PyTorch's own operations."""
    if shortcut is not None:
        normalised = normalised.add_(shortcut)
    return functional.relu_(normalised) if relu else normalised


def _fusable(inputs: Tensor, gain: Tensor, bias: Tensor, shortcut: Tensor | None) -> bool:
    """Tell whether the loops can take these tensors: they see memory only, and no errors.

    All others are left to PyTorch's operations, which compute them or say what is wrong with them (a single value a
    channel has no deviation).
    """
    if inputs.device.type != "cpu" or inputs.dtype not in kernels.SUFFIXES or inputs.ndim != 4:
        return False
    channels = inputs.shape[1]
    vectors = all(
        tensor.shape == (channels,) and tensor.dtype == torch.float32 and tensor.device == inputs.device
        for tensor in (gain, bias)
    )
    alike = shortcut is None or (shortcut.shape == inputs.shape and shortcut.device == inputs.device)
    return vectors and alike and inputs.numel() > channels and kernels.library() is not None


class _Shape(ctypes.Structure):
    """Rows of channels in segments of rows and groups of channels, see the C++ source."""

    _fields_ = [(name, ctypes.c_int64) for name in ("segments", "rows", "channels", "groups")]


class _Fused(torch.autograd.Function):
    """The compiled loops; ``groups`` is None for batch normalisation."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        gain: Tensor,
        bias: Tensor,
        shortcut: Tensor | None,
        groups: int | None,
        epsilon: float,
        relu: bool,
    ) -> Tensor:
        inputs, gain, bias = _channels_last(inputs), gain.contiguous(), bias.contiguous()
        if shortcut is not None:
            shortcut = _channels_last(shortcut.to(inputs.dtype))
        samples, channels, height, width = inputs.shape
        positions = height * width
        if groups is None:
            shape = _Shape(1, samples * positions, channels, channels)
        else:
            shape = _Shape(samples, positions, channels, groups)
        outputs = torch.empty_like(inputs)
        mean, inverse = inputs.new_empty((2, shape.segments * shape.groups), dtype=torch.float32).unbind()
        _call("forward", inputs, shape, inputs, shortcut, outputs, gain, bias, epsilon, relu, mean, inverse)
        needed = outputs if relu and shortcut is not None else None  # else the ReLU's sign follows from the inputs
        ctx.save_for_backward(inputs, needed, gain, bias, mean, inverse)
        ctx.shape, ctx.relu, ctx.with_shortcut = shape, relu, shortcut is not None
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, outputs, gain, bias, mean, inverse = ctx.saved_tensors
        arriving = _channels_last(gradients[0].to(inputs.dtype))
        d_shortcut = torch.empty_like(inputs) if ctx.with_shortcut else None
        d_inputs, d_gain, d_bias = torch.empty_like(inputs), torch.empty_like(gain), torch.empty_like(bias)
        _call("backward", inputs, ctx.shape, arriving, inputs, outputs, d_shortcut, d_inputs, mean, inverse, gain, bias,
              ctx.relu, d_gain, d_bias)  # fmt: skip
        return d_inputs, d_gain, d_bias, d_shortcut, None, None, None


def _channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor as rows of channels; ``Tensor.to`` would leave slices of such a tensor as they are."""
    return tensor.contiguous(memory_format=torch.channels_last)


def _call(pass_: str, like: Tensor, *arguments: Any) -> None:
    """Call the loop of a pass for a tensor's type; tensors go as pointers, None as a null pointer."""
    function = getattr(kernels.library(), f"{pass_}_{kernels.SUFFIXES[like.dtype]}")
    function(*map(_argument, arguments))


def _argument(value: Any) -> Any:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, bool):  # before float: ctypes would pass it as an int
        return ctypes.c_bool(value)
    if isinstance(value, float):
        return ctypes.c_float(value)
    return ctypes.byref(value) if isinstance(value, ctypes.Structure) else value
