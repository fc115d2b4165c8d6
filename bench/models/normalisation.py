"""Normalisation with what follows it, shortcut and ReLU, in as few passes over memory as possible.

On the CPU these are bound by memory: fused, they take half the time of PyTorch's single operations (a quarter for
group normalisation of channels-last tensors).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from bench import kernels


class BatchNorm(nn.BatchNorm2d):
    """Normalisation by the statistics of the current batch, in training and in evaluation (PriSM, section 2.2).

    In evaluation by other statistics once those are fixed: see :meth:`fix`.

    Attributes:
        input_scale: what inputs are divided by in training (HeteroFL's scaler).
        seen: where the statistics of the last batch are noted, see :func:`watched`; None notes nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=False)
        self.input_scale = 1.0
        self.seen: list[Tensor] | None = None

    def fix(self, mean: Tensor, variance: Tensor) -> None:
        """Evaluate with these statistics, ``[channels]`` each, from now on; training goes on by those of the batch."""
        self.running_mean, self.running_var = mean, variance

    def forward(self, inputs: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """Return the normalised inputs plus the shortcut, behind a ReLU if that is asked for."""
        by_batch, epsilon = self.training or self.running_mean is None, _epsilon(self)
        if by_batch and _fusable(inputs, self.weight, self.bias, shortcut):
            return _Fused.apply(inputs, self.weight, self.bias, shortcut, None, epsilon, relu, self.seen)
        self._check_input_dim(inputs)
        if self.seen is not None:
            self.seen[:] = [torch.stack(torch.var_mean(inputs.detach().float(), (0, 2, 3))[::-1])]
        fixed = (None, None) if by_batch else (self.running_mean, self.running_var)
        normalised = functional.batch_norm(inputs, *fixed, self.weight, self.bias, by_batch, eps=epsilon)
        return _followed(normalised, shortcut, relu)


class GroupNorm(nn.GroupNorm):
    """Normalisation of groups of channels, each sample by itself.

    Attributes:
        input_scale: what inputs are divided by in training (HeteroFL's scaler).
    """

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__(groups, channels)
        self.input_scale = 1.0

    def forward(self, inputs: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """Return the normalised inputs plus the shortcut, behind a ReLU if that is asked for."""
        epsilon = _epsilon(self)
        if _fusable(inputs, self.weight, self.bias, shortcut):
            return _Fused.apply(inputs, self.weight, self.bias, shortcut, self.num_groups, epsilon, relu, None)
        # PyTorch's takes four times as long on channels-last tensors of the CPU.
        on_cpu = inputs.device.type == "cpu"
        given = inputs.contiguous() if on_cpu else inputs
        normalised = functional.group_norm(given, self.num_groups, self.weight, self.bias, epsilon)
        if on_cpu:
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        return _followed(normalised, shortcut, relu)


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[Callable[[], Tensor]]:
    """Note meanwhile what reaches each normalisation by the statistics of the batch.

    Yields:
        A function that returns mean and unbiased variance of each channel in the last batch, float32
        ``[2, channels of all layers]``, layers in the order of the model's modules.
    """
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    seen: list[list[Tensor]] = [[] for _ in norms]
    for norm, own in zip(norms, seen, strict=True):
        norm.seen = own
    try:
        yield lambda: torch.cat([statistics for (statistics,) in seen], 1)
    finally:
        for norm in norms:
            norm.seen = None


def _epsilon(norm: BatchNorm | GroupNorm) -> float:
    """Return what is added to the variance: ``x / s`` with epsilon is normalised as ``x`` with ``epsilon s^2``."""
    return norm.eps * norm.input_scale**2 if norm.training else norm.eps


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


_TENSOR = ctypes.c_void_p
_SIGNATURES = {
    "forward": [ctypes.POINTER(_Shape), *[_TENSOR] * 5, ctypes.c_float, ctypes.c_bool, *[_TENSOR] * 2],
    "backward": [ctypes.POINTER(_Shape), *[_TENSOR] * 9, ctypes.c_bool, *[_TENSOR] * 2],
}
"""What the loops of the C++ source take, in its order."""


class _Fused(torch.autograd.Function):
    """The compiled loops; ``groups`` is None for batch normalisation, whose statistics ``seen`` may collect."""

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
        seen: list[Tensor] | None,
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
        if seen is not None:
            count = samples * positions
            variance = (inverse**-2 - epsilon).clamp_(min=0) * (count / (count - 1))
            seen[:] = [torch.stack([mean, variance])]
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
        return d_inputs, d_gain, d_bias, d_shortcut, None, None, None, None


def _channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor as rows of channels; ``Tensor.to`` would leave slices of such a tensor as they are."""
    return tensor.contiguous(memory_format=torch.channels_last)


def _call(pass_: str, like: Tensor, *arguments: Any) -> None:
    """Call the loop of a pass for a tensor's type; tensors go as pointers, None as a null pointer."""
    function = getattr(kernels.library(), f"{pass_}_{kernels.SUFFIXES[like.dtype]}")
    if function.argtypes is None:  # declared once: ctypes then converts in C what it would else ask Python for
        function.argtypes, function.restype = _SIGNATURES[pass_], None
    function(*[value.data_ptr() if isinstance(value, Tensor) else value for value in arguments])
