"""Convolutions in the form that the CPU's library computes right and fast.

Those on the small maps of deep layers are one matrix product: the library's own take twice as long. Those of 1 x 1 with
a stride take the positions first, see :func:`convolve`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

FEW_POSITIONS = 16
"""Outputs a channel and sample up to which a product is faster: 4 x 4, measured for 26 to 512 channels."""


class Conv2d(nn.Conv2d):
    """A convolution by :func:`convolve`, of square kernels without groups and dilation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, bias=bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return convolve(inputs, self.weight, self.bias, self.stride, self.padding)


def convolve(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...] | str
) -> Tensor:
    """Return a convolution without groups and dilation, see :func:`torch.nn.functional.conv2d`.

    Args:
        inputs: ``[samples, inputs, height, width]``.
        weight: ``[outputs, inputs, height, width]``.
        bias: ``[outputs]`` or None.
        stride, padding: of both dimensions; "same" pads as much as the kernel needs.
    """
    if weight.shape[2:].numel() == 1 and max(stride) > 1 and not isinstance(padding, str) and not any(padding):
        # The same numbers. The strided form of oneDNN 3.10 (PyTorch 2.11) writes past its workspace where a processor
        # without AVX-512 has fewer than 8 input channels, one with it fewer than 16 (uxlfoundation/oneDNN issue 6035).
        inputs, stride = inputs[:, :, :: stride[0], :: stride[1]], (1, 1)
    if bias is not None or isinstance(padding, str) or not _is_small(inputs, weight, stride, padding):
        return functional.conv2d(inputs, weight, bias, stride, padding)
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        inputs, weight = inputs.to(kind), weight.to(kind)
    return _Product.apply(inputs, weight, stride, padding)


def _is_small(inputs: Tensor, weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]) -> bool:
    if inputs.device.type != "cpu" or inputs.ndim != 4 or weight.shape[2:].numel() == 1:
        return False
    height, width = _size(inputs, weight, stride, padding)
    return min(height, width) > 0 and height * width <= FEW_POSITIONS


def _size(inputs: Tensor, weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of the output."""
    sizes = zip(inputs.shape[2:], padding, weight.shape[2:], stride, strict=True)
    height, width = ((size + 2 * pad - kernel) // step + 1 for size, pad, kernel, step in sizes)
    return height, width


class _Product(torch.autograd.Function):
    """Rows of the matrix are the windows of all output positions; all tensors are channels last."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        size, kernel = _size(inputs, weight, stride, padding), weight.shape[2:]
        padded = functional.pad(inputs.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
        sample, row, column, channel = padded.stride()
        steps = (sample, row * stride[0], column * stride[1], row, column, channel)
        windows = padded.as_strided((len(inputs), *size, *kernel, inputs.shape[1]), steps).flatten(0, 2).flatten(1)
        rows = weight.permute(0, 2, 3, 1).flatten(1)
        ctx.save_for_backward(windows, rows)
        ctx.inputs, ctx.kernel, ctx.size, ctx.stride, ctx.padding = inputs.shape, kernel, size, stride, padding
        return (windows @ rows.T).unflatten(0, (len(inputs), *size)).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        windows, rows = ctx.saved_tensors
        samples, channels, height, width = ctx.inputs
        d_outputs = gradients[0].permute(0, 2, 3, 1).flatten(0, 2)
        d_weight = (d_outputs.T @ windows).unflatten(1, (*ctx.kernel, channels)).permute(0, 3, 1, 2)
        d_windows = (d_outputs @ rows).unflatten(0, (samples, *ctx.size)).unflatten(3, (*ctx.kernel, channels))
        above, left = ctx.padding
        padded = d_windows.new_zeros(samples, height + 2 * above, width + 2 * left, channels)
        for i in range(ctx.kernel[0]):
            for j in range(ctx.kernel[1]):
                below, right = i + ctx.stride[0] * ctx.size[0], j + ctx.stride[1] * ctx.size[1]
                padded[:, i : below : ctx.stride[0], j : right : ctx.stride[1]] += d_windows[:, :, :, i, j]
        d_inputs = padded[:, above : above + height, left : left + width].permute(0, 3, 1, 2)
        return d_inputs.contiguous(memory_format=torch.channels_last), d_weight, None, None
