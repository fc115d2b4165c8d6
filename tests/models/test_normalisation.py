"""Normalisation with shortcut and ReLU, compiled and by PyTorch, against the formula in double precision."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from normalising import Path, compare, exact, images, layer_of, layouts, random
from torch import Tensor
from torch.nn import functional

from bench import kernels
from bench.models.normalisation import GroupNorm

CHANNELS = (1, 3, 13, 16, 26, 64, 103)
MAPS = ((2, 1, 1), (1, 1, 2), (1, 3, 1), (3, 5, 7), (4, 4, 4), (5, 8, 6))  # samples, height, width
DTYPES = (torch.float32, torch.bfloat16)

compiled = pytest.mark.skipif(kernels.library() is None, reason="there is no C++ compiler here")


@pytest.fixture(params=[pytest.param("compiled", marks=compiled), "PyTorch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let a test run twice: by the compiled loops and without them."""
    if request.param == "PyTorch":
        monkeypatch.setattr(kernels, "library", lambda: None)
    return request.param


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_values_and_gradients_are_the_formulas(path: Path, kind: str, dtype: torch.dtype, channels: int) -> None:
    layer = layer_of(kind, channels)
    for (samples, height, width), added, relu in itertools.product(MAPS, (False, True), (False, True)):
        shape = (samples, channels, height, width)
        compare(path, layer, images(*shape, dtype=dtype), images(*shape, seed=1, dtype=dtype) if added else None, relu)


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("relu", [False, True])
def test_the_formula_has_the_gradients_of_pytorch_in_double_precision(kind: str, relu: bool) -> None:
    """The yardstick of all other tests, against a second computation."""
    layer, gradient = layer_of(kind, 6), random(3, 6, 4, 5, seed=2).double()
    z, shortcut = (random(3, 6, 4, 5, seed=seed).double().requires_grad_() for seed in (0, 1))
    gain, bias = (values.detach().double().requires_grad_() for values in (layer.weight, layer.bias))
    if isinstance(layer, GroupNorm):
        normalised = functional.group_norm(z, layer.num_groups, gain, bias, layer.eps)
    else:
        normalised = functional.batch_norm(z, None, None, gain, bias, True, 0.0, layer.eps)
    outputs = (normalised + shortcut).relu() if relu else normalised + shortcut
    gradients = torch.autograd.grad(outputs, (z, gain, bias, shortcut), gradient)
    expected, _ = exact(layer, z.detach(), shortcut.detach(), relu, gradient)
    torch.testing.assert_close(outputs.detach(), expected.outputs)
    found = (expected.d_inputs, expected.d_gain, expected.d_bias, expected.d_shortcut)
    torch.testing.assert_close(gradients, found)


@compiled
def test_bfloat16_is_rounded_to_the_nearest_and_ties_to_even() -> None:
    layer = layer_of("batch", 16)
    layer.weight.data = torch.zeros(16)
    layer.bias.data = (1 + torch.arange(16) * 2.0**-9) * torch.tensor([1.0, -1.0]).repeat(8)  # ties at each second
    outputs = layer(images(2, 16, 1, 2, dtype=torch.bfloat16)).detach()
    assert torch.equal(outputs, layer.bias.detach().bfloat16()[:, None, None].expand_as(outputs))


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_many_rows(path: Path, kind: str) -> None:
    """More rows than a block adds up, and a last block that is not full."""
    compare(path, layer_of(kind, 6), images(5, 6, 37, 21), images(5, 6, 37, 21, seed=1), relu=True)


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("channels", [3, 16])
def test_means_far_from_zero(path: Path, kind: str, channels: int) -> None:
    layer, z = layer_of(kind, channels), 1e4 + images(4, channels, 5, 6)
    bounds = compare(path, layer, z, None, relu=False)
    if path == "compiled":
        assert bounds.outputs.max() < 0.04  # a bound far from the deviation, which is one


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("value", [0.0, 1.0, -3.25])
def test_constant_channels_are_their_bias(path: Path, kind: str, value: float) -> None:
    layer, z = layer_of(kind, 26), torch.full((3, 26, 4, 5), value)
    compare(path, layer, z, None, relu=False)
    bias = layer.bias.detach()[:, None, None].expand(3, 26, 4, 5)
    torch.testing.assert_close(layer(z).detach(), bias, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 5])
@pytest.mark.parametrize("added", [False, True])
def test_a_diverged_channel_is_seen(
    path: Path, kind: str, dtype: torch.dtype, value: float, position: int, added: bool
) -> None:
    layer, z = layer_of(kind, 8), images(3, 8, 3, 3, dtype=dtype)
    z[1, 2].view(-1)[position] = value
    z.requires_grad_()
    outputs = layer(z, images(3, 8, 3, 3, seed=1, dtype=dtype) if added else None, relu=True)
    spoilt = torch.zeros(3, 8, dtype=torch.bool)
    spoilt[slice(None) if kind == "batch" else 1, 2] = True  # eight groups of one channel
    assert torch.equal(outputs.isnan().all((2, 3)), spoilt)
    assert torch.equal(outputs.isnan().any((2, 3)), spoilt)
    (d_inputs,) = torch.autograd.grad(outputs.float().sum(), z)
    assert torch.equal(d_inputs.isnan().any((2, 3)), spoilt)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_shortcut_is_seen(path: Path, value: float) -> None:
    shortcut = images(2, 3, 4, 4)
    shortcut[1, 2, 3, 0] = value
    outputs = layer_of("batch", 3)(images(2, 3, 4, 4), shortcut, relu=True)
    assert (~outputs.isfinite()).nonzero().tolist() == [[1, 2, 3, 0]]


@compiled
@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("size", [1e18, 1e20, 1e30])
def test_values_too_large_to_be_squared_are_normalised_or_seen(kind: str, size: float) -> None:
    outputs = layer_of(kind, 8)(size * images(3, 8, 4, 4))
    assert outputs.isnan().all() if size > 1e19 else outputs.std() > 0.5


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize("layout", layouts(torch.zeros(1, 1, 1, 1)))
def test_layouts_do_not_matter(path: Path, kind: str, channels: int, layout: str) -> None:
    layer, shape = layer_of(kind, channels), (3, channels, 4, 6)
    z, shortcut, gradient = (layouts(images(*shape, seed=seed))[layout] for seed in range(3))
    compare(path, layer, z, images(*shape, seed=1), relu=True)
    compare(path, layer, images(*shape), shortcut, relu=True)

    def d_inputs(arriving: Tensor) -> Tensor:
        leaf = images(*shape).requires_grad_()
        return torch.autograd.grad(layer(leaf, relu=True), leaf, arriving)[0]

    assert torch.equal(d_inputs(gradient), d_inputs(gradient.contiguous(memory_format=torch.channels_last)))


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_expanded_tensors(path: Path, kind: str) -> None:
    """The gradient of a mean has one value for all positions, and no stride."""
    layer, z = layer_of(kind, 8), images(3, 8, 4, 6).requires_grad_()
    (found,) = torch.autograd.grad(layer(z, relu=True).mean((2, 3)).square().sum(), z)
    outputs = layer(z, relu=True)
    spread = (2 * outputs.mean((2, 3), keepdim=True) / 24).expand_as(outputs).contiguous()
    torch.testing.assert_close(found, torch.autograd.grad(outputs, z, spread)[0], rtol=1e-4, atol=1e-6)
    compare(path, layer, random(3, 8, 1, 1).expand(3, 8, 4, 6), random(1, 8, 4, 6).expand(3, 8, 4, 6), relu=True)
    compare(path, layer, z, None, relu=False, gradient=random(3, 8, 1, 1, seed=3).expand(3, 8, 4, 6))


def test_a_shortcut_in_single_precision_beside_bfloat16(path: Path) -> None:
    """As autocast may have it: the sum has the type of what is normalised, each gradient that of its tensor."""
    z = images(3, 8, 4, 4, dtype=torch.bfloat16).requires_grad_()
    shortcut = images(3, 8, 4, 4, seed=1).requires_grad_()
    outputs = layer_of("batch", 8)(z, shortcut, relu=True)
    d_inputs, d_shortcut = torch.autograd.grad(outputs, (z, shortcut), torch.ones_like(outputs))
    assert (outputs.dtype, d_inputs.dtype, d_shortcut.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    assert torch.equal(d_shortcut, (outputs > 0).float())


def test_under_autocast(path: Path) -> None:
    layer, convolution = layer_of("batch", 8), torch.nn.Conv2d(8, 8, 3, padding=1)
    z = images(3, 8, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(convolution(z), z, relu=True)
        mixed.float().square().sum().backward()
    assert mixed.dtype == torch.bfloat16
    whole = layer(convolution(z), z, relu=True)
    assert (mixed - whole).abs().max() < 0.05
    assert all(values.grad is not None and values.grad.dtype == torch.float32 for values in layer.parameters())


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("needed", list(itertools.product([False, True], repeat=4)))
def test_each_gradient_is_the_same_without_the_others(path: Path, kind: str, needed: tuple[bool, ...]) -> None:
    def gradients(needs: tuple[bool, ...]) -> list[Tensor | None]:
        layer, z, shortcut = layer_of(kind, 8), images(2, 8, 4, 4), images(2, 8, 4, 4, seed=1)
        tensors = (z, layer.weight, layer.bias, shortcut)
        for tensor, need in zip(tensors, needs, strict=True):
            tensor.requires_grad_(need)
        outputs = layer(z, shortcut, relu=True)
        assert outputs.requires_grad == any(needs)
        if any(needs):
            outputs.square().sum().backward()
        return [tensor.grad for tensor in tensors]

    for found, whole, need in zip(gradients(needed), gradients((True,) * 4), needed, strict=True):
        assert (found is not None) == need
        assert found is None or (whole is not None and torch.equal(found, whole))


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_repeated_runs_are_the_same(path: Path, kind: str) -> None:
    def once() -> tuple[Tensor, ...]:
        layer, z = layer_of(kind, 26), images(8, 26, 8, 8).requires_grad_()
        outputs = layer(z, images(8, 26, 8, 8, seed=1), relu=True)
        return outputs, *torch.autograd.grad(outputs.square().sum(), (z, *layer.parameters()))

    first = once()
    for _ in range(3):
        assert all(torch.equal(one, other) for one, other in zip(once(), first, strict=True))


@pytest.mark.parametrize("channels", [3, 16, 26])
def test_samples_of_group_normalisation_are_independent(path: Path, channels: int) -> None:
    layer, z = layer_of("group", channels), images(5, channels, 5, 3)
    alone = torch.cat([layer(z[sample : sample + 1]) for sample in range(5)])
    assert torch.equal(layer(z), alone)
    z[2] = math.nan
    assert torch.equal(layer(z)[[0, 1, 3, 4]], alone[[0, 1, 3, 4]])


def test_evaluation_normalises_as_training_does(path: Path) -> None:
    layer, z = layer_of("batch", 8), images(2, 8, 4, 4)
    trained = layer.train()(z)
    with torch.no_grad():
        assert torch.equal(layer.eval()(z), trained)


def test_inputs_are_left_alone(path: Path) -> None:
    z, shortcut = images(2, 8, 4, 4), images(2, 8, 4, 4, seed=1)
    before = z.clone(), shortcut.clone()
    layer_of("group", 8)(z, shortcut, relu=True)
    assert torch.equal(z, before[0]) and torch.equal(shortcut, before[1])


@compiled
def test_parameters_may_be_views() -> None:
    """PyTorch's own gradient of batch normalisation is wrong there."""
    layer, z = layer_of("batch", 8), images(2, 8, 4, 4)
    expected = layer(z)
    for values in layer.parameters():
        values.data = torch.stack([values.data, values.data + 9], dim=1)[:, 0]
        assert not values.is_contiguous()
    assert torch.equal(layer(z), expected)
    compare("compiled", layer, z, None, relu=True)


@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("shape", [(0, 8, 4, 4), (2, 8, 0, 4)])
def test_nothing_to_normalise(path: Path, kind: str, shape: tuple[int, ...]) -> None:
    z = torch.zeros(shape).requires_grad_()
    assert layer_of(kind, 8)(z, torch.zeros(shape), relu=True).shape == shape


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_one_value_alone_is_refused(path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer_of(kind, 8)(torch.ones(1, 8, 1, 1))


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_wrong_shapes_are_refused(path: Path, kind: str) -> None:
    """The loops see memory only: what does not fit must not reach them."""
    layer, z = layer_of(kind, 8), images(2, 8, 4, 4)
    with pytest.raises(RuntimeError):
        layer(images(2, 16, 4, 4))
    with pytest.raises(RuntimeError):
        layer(z, images(2, 8, 4, 5))
    if kind == "batch":
        with pytest.raises(ValueError, match="4D"):
            layer(z[0])


def test_a_shortcut_may_be_spread(path: Path) -> None:
    layer, z, shortcut = layer_of("batch", 8), images(2, 8, 4, 4), random(1, 8, 1, 1)
    torch.testing.assert_close(layer(z, shortcut), layer(z) + shortcut)


@pytest.mark.parametrize("kind", ["batch", "group"])
def test_double_precision_is_computed_in_double_precision(path: Path, kind: str) -> None:
    layer, z = layer_of(kind, 8), images(3, 8, 4, 4).double()
    expected, _ = exact(layer, z, None, True, z)
    torch.testing.assert_close(layer.double()(z, relu=True).detach(), expected.outputs, rtol=1e-12, atol=1e-12)


def test_parameters_of_another_type_are_not_read_as_single_precision(path: Path) -> None:
    layer, z = layer_of("batch", 8), images(3, 8, 4, 4, dtype=torch.bfloat16)
    expected = layer(z).detach()
    torch.testing.assert_close(layer.bfloat16()(z).detach(), expected, rtol=0.03, atol=0.03)


def test_the_default_device_does_not_matter(path: Path) -> None:
    layer, z = layer_of("batch", 8), images(2, 8, 4, 4)
    expected = layer(z)
    with torch.device("meta"):
        assert torch.equal(layer(z), expected)


@compiled
def test_a_gradient_of_the_gradient_is_refused() -> None:
    """It would be silently wrong: the loops leave no trace for autograd."""
    layer, z = layer_of("batch", 8), images(2, 8, 4, 4).requires_grad_()
    (d_inputs,) = torch.autograd.grad(layer(z).square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        d_inputs.square().sum().backward()


@compiled
@pytest.mark.parametrize("kind", ["batch", "group"])
def test_both_paths_agree_within_rounding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, z, shortcut = layer_of(kind, 26), images(5, 26, 7, 9), images(5, 26, 7, 9, seed=1)
    fused = layer(z, shortcut, relu=True)
    monkeypatch.setattr(kernels, "library", lambda: None)
    plain = layer(z, shortcut, relu=True)
    assert type(fused.grad_fn) is not type(plain.grad_fn)
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=2e-6)
