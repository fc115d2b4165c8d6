"""Shortcuts of every second position: each form of the layer against the strided convolution in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers import RESNET, initial, small_task
from torch import Tensor, nn
from torch.nn import functional

from bench.models.convolution import Conv2d
from bench.models.hadamard import HadamardConv2d
from bench.models.low_rank import Factors, LowRankConv2d
from bench.models.split_convolution import SplitConv2d, joined_kernel
from methods.origdrop import PaddedConv2d

INPUTS, OUTPUTS, RANK = 3, 5, 2


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_layer() -> Conv2d:
    layer = Conv2d(INPUTS, OUTPUTS, 1, 2).double()
    with torch.no_grad():
        layer.weight.copy_(random(OUTPUTS, INPUTS, 1, 1))
        layer.bias.copy_(random(OUTPUTS, seed=1))  # type: ignore[union-attr]
    return layer


def factors_of(rows: int, columns: int) -> Factors:
    return Factors(random(rows, RANK, seed=2), random(RANK, columns, seed=3), random(RANK, seed=4).abs())


def padded(outputs: Tensor) -> Tensor:
    return functional.pad(outputs, (0, 0, 0, 0, 0, OUTPUTS - RANK))


def forms() -> dict[str, tuple[nn.Module, Callable[[nn.Module], Tensor], Callable[[Tensor], Tensor]]]:
    """Return each form of the layer, how its kernel is composed, and what becomes of the convolution's outputs."""
    hadamard = {
        f"weight_{factor}{half}": random(*shape, seed=5 + number)
        for half in ("1", "2")
        for number, (factor, shape) in enumerate(
            {"t": (RANK, RANK, 1, 1), "o": (RANK, OUTPUTS), "i": (RANK, INPUTS)}.items()
        )
    }
    low_rank = LowRankConv2d(dense_layer(), factors_of(OUTPUTS, INPUTS))
    split = SplitConv2d(dense_layer(), factors_of(OUTPUTS, INPUTS))
    composed = HadamardConv2d(dense_layer(), hadamard, 0.0, False)
    shape = torch.Size((OUTPUTS, INPUTS, 1, 1))
    return {
        "dense": (dense_layer(), lambda layer: layer.weight, lambda outputs: outputs),
        "narrow": (PaddedConv2d(dense_layer(), RANK), lambda layer: layer.weight, padded),
        "factored": (low_rank, lambda layer: layer.factors().product().reshape(shape), lambda outputs: outputs),
        "split": (split, lambda layer: joined_kernel(layer.factors().product(), shape), lambda outputs: outputs),
        "product of products": (composed, lambda layer: layer.composed(), lambda outputs: outputs),
    }


@pytest.mark.parametrize("form", ["dense", "narrow", "factored", "split", "product of products"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 4), (8, 7)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_form_is_the_strided_convolution(form: str, size: tuple[int, int], layout: torch.memory_format) -> None:
    layer, composed, after = forms()[form]
    inputs = random(2, INPUTS, *size, seed=9).contiguous(memory_format=layout).requires_grad_()
    leaves = [inputs, *layer.parameters()]
    found = layer(inputs)
    gradient = random(*found.shape, seed=10)
    expected = after(functional.conv2d(inputs, composed(layer), layer.bias, 2))  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(found, leaves, gradient), torch.autograd.grad(expected, leaves, gradient), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("architecture", ["resnet18", "resnet20"])
def test_a_network_in_single_precision_is_the_strided_one_in_double(architecture: str) -> None:
    task = small_task(RESNET, architecture=architecture, width=2)
    model = initial(task)
    exact = initial(task).double()
    for module in exact.modules():
        if isinstance(module, Conv2d):
            module.forward = lambda inputs, layer=module: nn.Conv2d.forward(layer, inputs)  # type: ignore[method-assign]
    images = random(4, 3, 32, 32, seed=1)
    targets = torch.tensor([1, 5, 0, 9])
    for network, samples in (model, images.float().contiguous(memory_format=torch.channels_last)), (exact, images):
        functional.cross_entropy(network(samples), targets).backward()
    for (name, one), other in zip(model.named_parameters(), exact.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        error = float((one.grad.double() - other.grad).norm() / other.grad.norm())
        assert error < 2e-4, (name, error)
