"""Convolutions as one matrix product, against PyTorch's own."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from helpers import RESNET, initial, small_task
from torch import Tensor, nn
from torch.nn import functional

from bench.cost.operations import operations
from bench.models import convolution
from bench.models.convolution import FEW_POSITIONS, Conv2d, convolve

Pair = tuple[int, int]
Case = tuple[int, int, int | Pair, int | Pair, int | Pair]
# Height, width, kernel, stride and padding: outputs of 1 x 1 up to 4 x 4.
SMALL: list[Case] = [
    (4, 4, 3, 1, 1),
    (4, 4, 3, 2, 1),
    (8, 8, 3, 2, 1),
    (7, 7, 3, 2, 1),
    (3, 3, 3, 1, 0),
    (6, 5, 3, 1, 0),
    (9, 9, 3, 2, 0),
    (2, 8, 3, 1, 1),
    (1, 16, 3, 1, 1),
    (16, 1, 3, 1, 1),
    (1, 1, 3, 1, 1),
    (2, 2, 3, 1, 1),
    (2, 2, 3, 2, 1),
    (3, 4, 5, 1, 1),
    (3, 3, 5, 1, 1),
    (5, 7, 5, 2, 0),
    (6, 8, 5, 2, 1),
    (4, 3, (3, 5), (2, 1), (0, 2)),
]
LARGE: list[Case] = [(5, 4, 3, 1, 1), (1, 17, 3, 1, 1), (10, 10, 3, 2, 1), (8, 8, 3, 1, 1)]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pair(value: int | Pair) -> Pair:
    return value if isinstance(value, tuple) else (value, value)


def is_product(outputs: Tensor) -> bool:
    return type(outputs.grad_fn).__name__ == "_ProductBackward"


def results(inputs: Tensor, weight: Tensor, stride: Pair, padding: Pair, ours: bool) -> tuple[Tensor, ...]:
    """Return outputs and the gradients of inputs and weight for random gradients of the outputs."""
    inputs, weight = inputs.detach().requires_grad_(), weight.detach().requires_grad_()
    compute = convolve if ours else functional.conv2d
    outputs = compute(inputs, weight, None, stride, padding)
    gradient = random(*outputs.shape, seed=9, dtype=outputs.dtype)
    return outputs, *torch.autograd.grad(outputs, (inputs, weight), gradient)


@pytest.mark.parametrize(("height", "width", "kernel", "stride", "padding"), SMALL + LARGE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("channels", [(1, 1), (3, 5)])
def test_outputs_and_gradients_are_pytorchs(
    height: int,
    width: int,
    kernel: int | Pair,
    stride: int | Pair,
    padding: int | Pair,
    dtype: torch.dtype,
    channels: Pair,
) -> None:
    into, out = channels
    inputs, weight = random(2, into, height, width, dtype=dtype), random(out, into, *pair(kernel), seed=1, dtype=dtype)
    found = results(inputs, weight, pair(stride), pair(padding), ours=True)
    assert is_product(found[0]) == (math.prod(found[0].shape[2:]) <= 16)
    expected = results(inputs.double(), weight.double(), pair(stride), pair(padding), ours=False)
    # Sums of up to 200 products; gradients of the outputs are rounded to single precision too.
    accuracy = 1e-12 if dtype == torch.float64 else 2e-5
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=accuracy, atol=accuracy)


def test_gradients_are_those_of_differences() -> None:
    inputs, weight = random(2, 2, 4, 3).requires_grad_(), random(3, 2, 3, 3, seed=1).requires_grad_()

    def product(inputs: Tensor, weight: Tensor) -> Tensor:
        return convolve(inputs, weight, None, (2, 1), (1, 1))

    assert is_product(product(inputs, weight))
    assert torch.autograd.gradcheck(product, (inputs, weight))


@pytest.mark.parametrize(("height", "width", "product"), [(4, 4, True), (2, 8, True), (1, 17, False), (5, 4, False)])
def test_the_rule_of_sixteen_positions(height: int, width: int, product: bool) -> None:
    assert FEW_POSITIONS == 16
    weight = random(2, 2, 3, 3).requires_grad_()
    assert is_product(convolve(random(1, 2, height, width), weight, None, (1, 1), (1, 1))) == product


def test_what_is_left_to_pytorch() -> None:
    inputs, weight = random(1, 2, 4, 4), random(2, 2, 3, 3).requires_grad_()
    assert not is_product(convolve(inputs, random(2, 2, 1, 1).requires_grad_(), None, (1, 1), (0, 0)))
    for bias, padding in ((random(2), (1, 1)), (None, "same"), (random(2), "same")):
        found = convolve(inputs, weight, bias, (1, 1), padding)
        assert not is_product(found)
        torch.testing.assert_close(found, functional.conv2d(inputs, weight, bias, 1, 1))
    single = convolve(inputs[0], weight, None, (1, 1), (1, 1))
    torch.testing.assert_close(single, functional.conv2d(inputs, weight, None, 1, 1)[0])


@pytest.mark.parametrize("size", [(2, 2), (2, 9), (9, 2), (4, 4)])
def test_a_kernel_larger_than_the_map_is_refused_in_pytorchs_words(size: Pair) -> None:
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        convolve(random(2, 3, *size), random(4, 3, 5, 5), None, (1, 1), (0, 0))


def test_no_samples() -> None:
    inputs, weight = random(0, 3, 4, 4).requires_grad_(), random(4, 3, 3, 3).requires_grad_()
    outputs = convolve(inputs, weight, None, (1, 1), (1, 1))
    assert is_product(outputs) and outputs.shape == (0, 4, 4, 4)
    d_inputs, d_weight = torch.autograd.grad(outputs.sum(), (inputs, weight))
    assert d_inputs.shape == (0, 3, 4, 4) and torch.equal(d_weight, torch.zeros_like(weight))


def layouts(values: Tensor) -> dict[str, Tensor]:
    """Return the same values in other layouts."""
    height, width = values.shape[2:]
    wide = torch.cat([values, values + 1], dim=1).contiguous(memory_format=torch.channels_last)
    return {
        "channels last": values.contiguous(memory_format=torch.channels_last),
        "channels of a wider map": wide[:, : values.shape[1]],
        "every other position": values.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, ::2, ::2],
        "part of a larger map": functional.pad(values, (1, 2, 3, 4), value=7)[:, :, 3 : 3 + height, 1 : 1 + width],
        "turned": values.transpose(2, 3).contiguous().transpose(2, 3),
    }


@pytest.mark.parametrize("layout", layouts(torch.zeros(1, 1, 1, 1)))
@pytest.mark.parametrize("padding", [0, 1])
def test_layouts_do_not_matter(layout: str, padding: int) -> None:
    inputs, weight = random(2, 3, 4, 3), random(5, 3, 3, 3, seed=1)
    expected = results(inputs, weight, (1, 1), pair(padding), ours=False)
    for values in (
        results(layouts(inputs)[layout], weight, (1, 1), pair(padding), ours=True),
        results(inputs, layouts(weight)[layout], (1, 1), pair(padding), ours=True),
    ):
        torch.testing.assert_close(values, expected)


def test_expanded_inputs_and_gradients() -> None:
    inputs, weight = random(1, 3, 1, 1).expand(2, 3, 4, 4), random(5, 3, 3, 3, seed=1).requires_grad_()
    gradients = []
    for compute in (convolve, functional.conv2d):
        means = compute(inputs, weight, None, (1, 1), (1, 1)).mean((2, 3))
        gradients.append(torch.autograd.grad(means.square().sum(), weight)[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("needed", list(itertools.product([False, True], repeat=2)))
def test_each_gradient_is_the_same_without_the_other(needed: tuple[bool, bool]) -> None:
    tensors = random(2, 3, 4, 4), random(5, 3, 3, 3, seed=1)
    expected = results(*tensors, (1, 1), (1, 1), ours=True)[1:]
    for tensor, need in zip(tensors, needed, strict=True):
        tensor.requires_grad_(need)
    outputs = convolve(*tensors, None, (1, 1), (1, 1))
    assert outputs.requires_grad == any(needed)
    if any(needed):
        outputs.backward(random(*outputs.shape, seed=9))
    for tensor, need, gradient in zip(tensors, needed, expected, strict=True):
        assert (tensor.grad is not None) == need
        assert tensor.grad is None or torch.equal(tensor.grad, gradient)


@pytest.mark.parametrize(("height", "width", "kernel", "stride", "padding"), SMALL[:8])
def test_bfloat16_under_autocast(height: int, width: int, kernel: int, stride: int, padding: int) -> None:
    inputs, weight = random(2, 3, height, width, dtype=torch.float32), random(5, 3, kernel, kernel, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, d_inputs, d_weight = results(inputs, weight, pair(stride), pair(padding), ours=True)
    assert is_product(outputs)
    assert outputs.dtype == torch.bfloat16 and d_inputs.dtype == d_weight.dtype == torch.float32
    rounded = inputs.bfloat16().double(), weight.bfloat16().double()
    gradient = random(*outputs.shape, seed=9, dtype=torch.bfloat16).double()
    exact = [values.requires_grad_() for values in rounded]
    expected = functional.conv2d(exact[0], exact[1], None, stride, padding)
    unit = 2.0**-8
    near(outputs, expected, 1.01 * unit * expected.abs() + 1e-5)
    d_exact = torch.autograd.grad(expected, exact, gradient)
    near(d_weight, d_exact[1], 1.01 * unit * d_exact[1].abs() + 1e-5)
    # Each product of a window is rounded, and each of the sums over up to nine windows.
    sizes = [values.detach().abs().requires_grad_() for values in rounded]
    (largest,) = torch.autograd.grad(
        functional.conv2d(sizes[0], sizes[1], None, stride, padding), sizes[0], gradient.abs()
    )
    near(d_inputs, d_exact[0], kernel**2 * unit * largest + 1e-5)


def near(values: Tensor, expected: Tensor, error: Tensor) -> None:
    worst = ((values.detach().double() - expected.detach()).abs() / error).max()
    assert worst <= 1, f"{float(worst):.2f} times the largest error that rounding explains"


def test_nan_and_infinity_pass_through() -> None:
    inputs, weight = random(2, 3, 4, 4), random(5, 3, 3, 3, seed=1)
    inputs[0, 1, 0, 0], inputs[1, 2, 3, 3] = math.nan, math.inf
    found, expected = (compute(inputs, weight, None, (1, 1), (1, 1)) for compute in (convolve, functional.conv2d))
    assert torch.equal(found.isfinite(), expected.isfinite()) and not found.isfinite().all()


def test_repeated_runs_are_the_same() -> None:
    tensors = random(8, 26, 4, 4, dtype=torch.float32), random(26, 26, 3, 3, dtype=torch.float32)
    first = results(*tensors, (1, 1), (1, 1), ours=True)
    again = results(*tensors, (1, 1), (1, 1), ours=True)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_a_gradient_of_the_gradient_is_refused() -> None:
    """It would be silently wrong: what the backward pass reads of the inputs leaves no trace for autograd."""
    inputs, weight = random(2, 3, 4, 4).requires_grad_(), random(5, 3, 3, 3).requires_grad_()
    outputs = convolve(inputs, weight, None, (1, 1), (1, 1))
    (d_inputs,) = torch.autograd.grad(outputs.square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        d_inputs.sum().backward()


def test_the_layer_is_pytorchs_with_the_same_weight() -> None:
    for size, bias in itertools.product((4, 9), (False, True)):
        layer = Conv2d(3, 5, 3, 2, 1, bias=bias)
        plain = nn.Conv2d(3, 5, 3, 2, 1, bias=bias)
        plain.load_state_dict(layer.state_dict())
        inputs = random(2, 3, size, size, dtype=torch.float32)
        torch.testing.assert_close(layer(inputs), plain(inputs))


@pytest.mark.parametrize("settings", [{"groups": 3}, {"dilation": 2}, {"padding_mode": "circular"}])
def test_the_layer_has_no_settings_that_it_would_ignore(settings: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Conv2d(3, 6, 3, **settings)  # type: ignore[arg-type]


def test_the_count_of_operations_is_that_of_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task(RESNET)
    model = initial(task)
    counted = operations(copy.deepcopy(model), task).macs
    monkeypatch.setattr(convolution, "_is_small", lambda *_: False)
    assert counted == operations(model, task).macs > 0


def test_a_resnet_is_the_same_with_and_without_products(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task(RESNET)
    model, (inputs, labels) = initial(task), (random(8, 3, 32, 32, dtype=torch.float32), torch.arange(8))

    def loss_and_gradients() -> tuple[Tensor, ...]:
        loss = functional.cross_entropy(model(inputs), labels)
        return loss, *torch.autograd.grad(loss, list(model.parameters()))

    product = loss_and_gradients()
    monkeypatch.setattr(convolution, "_is_small", lambda *_: False)
    for one, other in zip(product, loss_and_gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
