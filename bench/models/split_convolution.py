"""A convolution as a horizontal one and a vertical one: FedHM's low-rank form.

A kernel ``W`` of shape ``[N, M, k1, k2]`` is read as the matrix whose row ``(n, i)`` and column ``(m, j)`` hold
``W[n, m, i, j]``. A factorisation ``U V`` of rank r then is a convolution of ``1 x k2`` from the M channels to r,
followed by one of ``k1 x 1`` to the N outputs: a position of the output sums over i and j, and each sum is one of the
two. The stride and the padding of a dimension belong to the convolution that runs along it.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.models.convolution import convolve
from bench.models.low_rank import Factors, LowRankLayer


def split_matrix(weight: Tensor) -> Tensor:
    """Return a kernel ``[N, M, k1, k2]`` as the matrix that FedHM decomposes, ``[N * k1, M * k2]``.

    The matrix of a linear layer is returned as it is.
    """
    return weight if weight.ndim == 2 else weight.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def joined_kernel(matrix: Tensor, shape: torch.Size) -> Tensor:
    """Return the weight of a shape, ``[N, M, k1, k2]`` or a matrix's, whose :func:`split_matrix` is the given one."""
    if len(shape) == 2:
        return matrix
    outputs, inputs, height, width = shape
    return matrix.reshape(outputs, height, inputs, width).permute(0, 2, 1, 3)


class SplitConv2d(LowRankLayer):
    """A 1 x k2 convolution to ``rank`` channels, then a k1 x 1 convolution to the outputs (FedHM).

    Args:
        dense: the convolution it stands in for; its bias is copied.
        factors: of :func:`split_matrix`, ``u`` of shape ``[N * k1, rank]`` and ``v`` of shape ``[rank, M * k2]``.

    Raises:
        TypeError: the convolution has groups or dilation.
    """

    def __init__(self, dense: nn.Conv2d, factors: Factors) -> None:
        super().__init__()
        if dense.groups != 1 or set(dense.dilation) != {1}:
            raise TypeError("a convolution with groups or dilation has no split form here")
        self.shape, padding = tuple(dense.weight.shape), cast(Any, dense.padding)
        self.strides = (1, dense.stride[1]), (dense.stride[0], 1)
        self.paddings = (padding, padding) if isinstance(padding, str) else ((0, padding[1]), (padding[0], 0))
        self.hold("weight", factors)
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        u, v = self.factors().folded()
        outputs, channels, height, width = self.shape
        across = v.reshape(-1, channels, 1, width)
        down = u.reshape(outputs, height, -1).transpose(1, 2).unsqueeze(3).contiguous()
        # PyTorch's plain convolution (double precision) has no backward pass for kernels that are not contiguous.
        hidden = convolve(inputs, across, None, self.strides[0], self.paddings[0])
        return convolve(hidden, down, self.bias, self.strides[1], self.paddings[1])
