"""Convolutions composed of a basis of small filters and of coefficients (FLANC).

A kernel of M inputs is cut into ``G = ceil(M / n)`` groups of n channels. The m filters of the basis, of shape
``[m, n, k, k]``, are applied to each group, and a 1 x 1 convolution makes the outputs of the G m maps. So the same
basis serves networks of every width, and only the coefficients, ``[N, G m]``, know how wide theirs is::

    W[o, g n + c, :, :] = sum over b of C[o, g m + b] B[b, c, :, :]

The last group is filled up with channels of zeros where n does not divide M.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import FactoredLayer
from bench.models.convolution import convolve
from bench.models.recurrence import without_autocast

BASIS, COEFFICIENTS = "weight_basis", "weight_coefficients"
"""The parameters of a layer whose weight is composed: the names by which the server finds them."""


def group_count(inputs: int, size: int) -> int:
    """Return how many groups of ``size`` channels hold so many inputs."""
    return -(-inputs // size)


def composed_kernel(basis: Tensor, coefficients: Tensor, inputs: int) -> Tensor:
    """Return the kernel that a basis and coefficients make.

    Args:
        basis: ``[filters, size, height, width]``.
        coefficients: ``[outputs, groups * filters]``.
        inputs: of the kernel, at most ``groups * size``.

    Returns:
        ``[outputs, inputs, height, width]``.
    """
    by_group = coefficients.unflatten(1, (-1, len(basis)))
    return torch.einsum("ogb,bcij->ogcij", by_group, basis).flatten(1, 2)[:, :inputs]


class BasisConv2d(FactoredLayer):
    """A convolution with the filters of a basis, then a 1 x 1 convolution to the outputs.

    Args:
        dense: the convolution it stands in for; its bias is copied, its weight is not read.
        basis: ``[filters, size, height, width]``.
        coefficients: ``[outputs, groups * filters]``.

    Raises:
        TypeError: the convolution has groups or dilation.
    """

    def __init__(self, dense: nn.Conv2d, basis: Tensor, coefficients: Tensor) -> None:
        super().__init__()
        if dense.groups != 1 or set(dense.dilation) != {1}:
            raise TypeError("a convolution with groups or dilation has no basis here")
        self.inputs, self.stride, self.padding = dense.in_channels, dense.stride, cast(Any, dense.padding)
        self.register_parameter(BASIS, nn.Parameter(basis))
        self.register_parameter(COEFFICIENTS, nn.Parameter(coefficients))
        self.bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        basis, coefficients = self.get_parameter(BASIS), self.get_parameter(COEFFICIENTS)
        size = basis.shape[1]
        groups = group_count(self.inputs, size)
        if groups * size > self.inputs:
            inputs = functional.pad(inputs, (0, 0, 0, 0, 0, groups * size - self.inputs))
        # Groups of channels become samples: the same filters for all of them.
        maps = convolve(inputs.reshape(-1, size, *inputs.shape[2:]), basis, None, self.stride, self.padding)
        maps = maps.reshape(-1, groups * len(basis), *maps.shape[2:])
        return functional.conv2d(maps, coefficients[:, :, None, None], self.bias)

    def factor_count(self) -> int:
        return self.get_parameter(BASIS).numel() + self.get_parameter(COEFFICIENTS).numel()


def orthogonality(model: nn.Module) -> Tensor | None:
    """Return the sum over a model's bases of the mean square of ``B B^T - 1``, a scalar; None where there are none.

    B has a row for each filter.
    """
    squares = []
    for layer in model.modules():
        if isinstance(layer, BasisConv2d):
            rows = layer.get_parameter(BASIS).flatten(1)
            with without_autocast(rows.device):
                products = rows @ rows.T
            squares.append((products - torch.eye(len(rows), device=rows.device, dtype=rows.dtype)).square().mean())
    return torch.stack(squares).sum() if squares else None
