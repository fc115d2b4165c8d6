"""Convolutions of a basis and coefficients: the kernel that they make, and how far filters are from orthonormal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import random_tensor
from torch import nn
from torch.nn import functional

from bench.models.basis import BasisConv2d, composed_kernel, group_count, orthogonality

KINDS: list[tuple[int, int, int, dict[str, Any]]] = [
    # inputs, channels of a filter, filters, how the convolution is made
    (6, 3, 2, {"kernel_size": 3, "padding": 1, "bias": False}),
    (6, 6, 5, {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False}),
    (5, 2, 3, {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False}),
    (5, 3, 1, {"kernel_size": 5, "padding": "same", "bias": True}),
]


@pytest.mark.parametrize(("inputs", "size", "filters", "how"), KINDS)
def test_it_is_the_dense_convolution_of_the_kernel_that_is_made(
    inputs: int, size: int, filters: int, how: dict[str, Any]
) -> None:
    dense, side = nn.Conv2d(inputs, 4, **how), how["kernel_size"]
    groups = group_count(inputs, size)
    basis, coefficients = random_tensor(filters, size, side, side), random_tensor(4, groups * filters, seed=1)
    kernel = np.zeros((4, inputs, side, side))
    for o, c, i, j in np.ndindex(*kernel.shape):
        group, channel = divmod(c, size)
        kernel[o, c, i, j] = sum(
            float(coefficients[o, group * filters + b]) * float(basis[b, channel, i, j]) for b in range(filters)
        )
    np.testing.assert_allclose(composed_kernel(basis, coefficients, inputs).numpy(), kernel, rtol=1e-4, atol=1e-5)
    layer, images = BasisConv2d(dense, basis, coefficients), random_tensor(2, inputs, 8, 8)
    expected = functional.conv2d(images, torch.from_numpy(kernel).float(), dense.bias, dense.stride, dense.padding)
    torch.testing.assert_close(layer(images), expected, rtol=1e-4, atol=1e-4)
    assert layer.factor_count() == filters * size * side**2 + 4 * groups * filters


def test_a_square_basis_makes_every_kernel() -> None:
    basis = torch.linalg.qr(random_tensor(18, 18)).Q.reshape(18, 2, 3, 3)
    kernel = random_tensor(5, 2, 3, 3, seed=1)
    coefficients = kernel.flatten(1) @ basis.flatten(1).T
    torch.testing.assert_close(composed_kernel(basis, coefficients, 2), kernel, rtol=1e-4, atol=1e-5)


def test_the_distance_from_orthonormal_filters_is_a_mean_of_squares() -> None:
    layer = BasisConv2d(nn.Conv2d(4, 3, 3), random_tensor(3, 2, 3, 3), random_tensor(3, 6))
    basis = layer.get_parameter("weight_basis")
    rows = basis.detach().double().flatten(1).numpy()
    gram = rows @ rows.T - np.eye(3)
    apart = orthogonality(nn.Sequential(layer, nn.Conv2d(1, 1, 1), layer))
    assert apart is not None and apart.item() == pytest.approx((gram**2).mean(), rel=1e-5)  # a shared layer counts once
    apart.backward()
    assert basis.grad is not None
    np.testing.assert_allclose(basis.grad.flatten(1).numpy(), 4 * gram @ rows / 9, rtol=1e-4, atol=1e-5)
    assert orthogonality(nn.Conv2d(1, 1, 1)) is None


def test_a_convolution_with_groups_has_no_basis() -> None:
    with pytest.raises(TypeError, match="with groups or dilation has no basis"):
        BasisConv2d(nn.Conv2d(4, 4, 3, groups=2), random_tensor(1, 2, 3, 3), random_tensor(4, 2))
