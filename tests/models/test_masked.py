"""Layers that hold some entries of their weights: masks as bits or indices, sums, and the gradient at the threshold."""

from __future__ import annotations

import pytest
import torch
from aggregation import random_tensor
from torch import Tensor, nn
from torch.nn import functional

from bench.models.masked import Kept, MaskedLayer, decoded, encoded, masked_layer


def kept_of(tensor: Tensor, share: float, seed: int = 0) -> Kept:
    flags = torch.rand(tensor.numel(), generator=torch.Generator().manual_seed(seed)) < share
    positions = flags.nonzero()[:, 0]
    return Kept(tensor.detach().flatten()[positions].clone(), positions, tensor.shape)


def dense_of(kept: Kept, threshold: float = 0.0) -> Tensor:
    """Return the weight entry by entry."""
    flat = [0.0] * kept.shape.numel()
    for value, place in zip(kept.values.tolist(), kept.positions.tolist(), strict=True):
        flat[place] = value if abs(value) >= threshold else 0.0
    return torch.tensor(flat).view(kept.shape)


def masked_of(dense: nn.Module, share: float, threshold: float, follows: bool = True) -> tuple[MaskedLayer, nn.Module]:
    """Return the masked layer and a dense one with zeros in its stead."""
    kept = {name: kept_of(tensor, share, seed) for seed, (name, tensor) in enumerate(dense.named_parameters())}
    layer = masked_layer(dense, kept, torch.tensor(threshold), follows)
    for name, tensor in dense.named_parameters():
        tensor.data = dense_of(kept[name], threshold)
    return layer, dense


@pytest.mark.parametrize(("size", "kept"), [(1, 0), (1, 1), (9, 9), (64, 1), (70, 3), (640, 20), (640, 19), (641, 20)])
def test_a_mask_takes_the_fewer_bytes_and_says_where_entries_lie(size: int, kept: int) -> None:
    positions = torch.randperm(size, generator=torch.Generator().manual_seed(1))[:kept].sort().values
    mask = encoded(positions, size)
    assert mask.numel() * mask.element_size() == min((size + 7) // 8, 4 * kept)
    assert torch.equal(decoded(mask, size), positions)


LAYERS = [
    (lambda: nn.Conv2d(3, 5, 3, 2, 1), (2, 3, 7, 7)),
    (lambda: nn.Conv2d(3, 5, 5, padding="same", bias=False), (2, 3, 6, 6)),
    (lambda: nn.Linear(6, 4), (3, 6)),
    (lambda: nn.LSTM(4, 3, 2, batch_first=True), (2, 5, 4)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_masked_layer_is_the_dense_one_with_zeros(make: object, shape: tuple[int, ...], share: float) -> None:
    torch.manual_seed(0)
    layer, dense = masked_of(make(), share, threshold=0.1)  # type: ignore[operator]
    inputs = random_tensor(*shape)
    mine, theirs = layer(inputs), dense(inputs)
    torch.testing.assert_close(*((x[0] if isinstance(x, tuple) else x) for x in (mine, theirs)))


@pytest.mark.parametrize("follows", [True, False])
def test_the_gradient_follows_the_threshold(follows: bool) -> None:
    """g (1 + 2 t |w| / (|w| + t)^2) where |w| >= t, and 0 below; worked out one entry after the other."""
    layer, dense = masked_of(nn.Linear(5, 4), 0.7, threshold=0.2, follows=follows)
    inputs = random_tensor(3, 5)
    layer(inputs).square().sum().backward()
    dense(inputs).square().sum().backward()
    for name, whole in dense.named_parameters():
        values, positions = getattr(layer, f"{name}_values"), getattr(layer, f"{name}_positions")
        assert whole.grad is not None and values.grad is not None
        below = 0
        for value, gradient, place in zip(values.tolist(), values.grad.tolist(), positions.tolist(), strict=True):
            size = abs(value)
            factor = (1 + (2 * 0.2 * size / (size + 0.2) ** 2 if follows else 0)) if size >= 0.2 else 0
            below += size < 0.2
            assert gradient == pytest.approx(factor * float(whole.grad.flatten()[place]), rel=1e-4, abs=1e-6)
        assert 0 < below < len(values) or name == "bias"


def test_the_factor_is_largest_at_the_threshold_and_none_where_all_is_zero() -> None:
    values = torch.tensor([0.5, -0.5, 50.0, 0.4])
    layer = masked_layer(
        nn.Linear(4, 1, bias=False),
        {"weight": Kept(values, torch.arange(4), torch.Size((1, 4)))},
        torch.tensor(0.5),
        True,
    )
    layer(torch.ones(1, 4)).sum().backward()
    assert layer.weight_values.grad.tolist() == pytest.approx([1.5, 1.5, 1 + 50 / 50.5**2, 0.0])
    zero = masked_layer(
        nn.Linear(1, 1, bias=False),
        {"weight": Kept(torch.zeros(1), torch.arange(1), torch.Size((1, 1)))},
        torch.tensor(0.0),
        True,
    )
    functional.mse_loss(zero(torch.ones(1, 1)), torch.ones(1, 1)).backward()
    assert zero.weight_values.grad.tolist() == [-2.0]


def test_layers_without_a_masked_form_are_named() -> None:
    with pytest.raises(TypeError, match="a GroupNorm has no masked form"):
        masked_layer(nn.GroupNorm(1, 2), {}, torch.tensor(0.0), True)
