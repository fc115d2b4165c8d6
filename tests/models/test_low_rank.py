"""Low-rank layers: the function and the gradients of the dense layer whose weight is the product of the factors."""

from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch
from helpers import LSTM, RESNET, TASKS, batch_of, initial, small_task
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import matrix
from bench.models.factorise import factorised, low_rank, with_layers
from bench.models.low_rank import Factors, LowRankConv2d, LowRankLayer, LowRankLinear, LowRankLSTM
from bench.models.recurrence import low_rank_lstm_layer
from bench.spectral.decompose import decompose, rank_of

Sigma = Literal["frozen", "absorbed"]
SIGMAS: tuple[Sigma, ...] = ("frozen", "absorbed")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def factors_of(weight: Tensor, rank: int | None = None, sigma: Sigma = "frozen") -> Factors:
    """Return the leading factors of a weight."""
    u, s, v = torch.linalg.svd(matrix(weight.detach()), full_matrices=False)
    u, s, v = u[:, :rank], s[:rank], v[:rank]
    if sigma == "frozen":
        return Factors(u, v, s)
    return Factors(u * s.sqrt(), s.sqrt()[:, None] * v)


def randomised(layer: nn.Module, seed: int = 0) -> nn.Module:
    layer.double()
    for place, tensor in enumerate(layer.parameters()):
        tensor.data = random_tensor(*tensor.shape, seed=100 * seed + place)
    return layer


def conv(**settings: object) -> nn.Conv2d:
    layer = randomised(nn.Conv2d(3, 7, **settings))  # type: ignore[arg-type]
    assert isinstance(layer, nn.Conv2d)
    return layer


CONVS = [
    {"kernel_size": 3, "padding": 1, "bias": False},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 5, "padding": "same"},
    {"kernel_size": (1, 3), "stride": (2, 1), "padding": (0, 1)},
    {"kernel_size": 3},
]


@pytest.mark.parametrize("settings", CONVS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_conv_with_all_kernels_is_the_dense_one(settings: dict[str, object], sigma: Sigma) -> None:
    dense, images = conv(**settings), random_tensor(2, 3, 8, 9)
    layer = low_rank(dense, {"weight": factors_of(dense.weight, sigma=sigma)})
    assert isinstance(layer, LowRankConv2d)
    torch.testing.assert_close(layer(images), dense(images))


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_with_all_kernels_is_the_dense_one(sigma: Sigma, bias: bool) -> None:
    dense = randomised(nn.Linear(5, 9, bias=bias))
    assert isinstance(dense, nn.Linear)
    inputs = random_tensor(4, 2, 5)
    layer = low_rank(dense, {"weight": factors_of(dense.weight, sigma=sigma)})
    assert isinstance(layer, LowRankLinear)
    torch.testing.assert_close(layer(inputs), dense(inputs))


def lstm_of(features: int = 3, hidden: int = 5) -> nn.LSTM:
    layer = randomised(nn.LSTM(features, hidden, 2, batch_first=True))
    assert isinstance(layer, nn.LSTM)
    for tensor in layer.parameters():
        tensor.data *= 0.5
    return layer


def lstm_factors(dense: nn.LSTM, rank: int | None = None, sigma: Sigma = "frozen") -> dict[str, Factors]:
    return {
        name: factors_of(tensor, rank, sigma) for name, tensor in dense.named_parameters() if name.startswith("weight")
    }


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("length", [1, 2, 6])
def test_lstm_with_all_kernels_is_the_dense_one(sigma: Sigma, length: int) -> None:
    dense = lstm_of()
    layer, inputs = low_rank(dense, lstm_factors(dense, sigma=sigma)), random_tensor(4, length, 3)
    assert isinstance(layer, LowRankLSTM)
    torch.testing.assert_close(layer(inputs)[0], dense(inputs)[0])


def test_a_layer_without_low_rank_form_is_refused() -> None:
    with pytest.raises(TypeError, match="BatchNorm2d"):
        low_rank(nn.BatchNorm2d(3), {})


def chained(layer: LowRankLayer, weight: str, product_gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of both factors by the chain rule from that of their product."""
    factors = layer.factors(weight)
    scale = torch.ones(len(factors.v), dtype=torch.float64) if factors.scale is None else factors.scale
    gradient = matrix(product_gradient)
    u, v = factors.u.detach(), factors.v.detach()
    return gradient @ (scale[:, None] * v).T, scale[:, None] * u.T @ gradient


def dense_twin(dense: nn.Module, layer: LowRankLayer) -> nn.Module:
    """Return the dense layer whose weights are the products of the low-rank layer's factors."""
    twin = copy.deepcopy(dense)
    for weight in layer.factored_weights():
        tensor = getattr(twin, weight)
        tensor.data = layer.factors(weight).product().detach().reshape(tensor.shape)
    return twin


def assert_gradients_follow_the_product(dense: nn.Module, layer: LowRankLayer, inputs: Tensor) -> None:
    """Compare outputs and all gradients with autograd through the dense layer of the same product."""
    twin = dense_twin(dense, layer)
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    output, expected = layer(ours), twin(theirs)
    if isinstance(output, tuple):
        output, expected = output[0], expected[0]
    direction = random_tensor(*output.shape, seed=9)
    torch.testing.assert_close(output, expected)
    (output * direction).sum().backward()
    (expected * direction).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    for weight in layer.factored_weights():
        d_u, d_v = chained(layer, weight, getattr(twin, weight).grad)
        torch.testing.assert_close(getattr(layer, f"{weight}_u").grad, d_u)
        torch.testing.assert_close(getattr(layer, f"{weight}_v").grad, d_v)
    for name, tensor in layer.named_parameters():
        if name.startswith("bias"):
            torch.testing.assert_close(tensor.grad, getattr(twin, name).grad)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("settings", CONVS)
def test_gradients_of_the_conv(settings: dict[str, object], sigma: Sigma) -> None:
    dense = conv(**settings)
    layer = low_rank(dense, {"weight": factors_of(dense.weight, 2, sigma)})
    assert_gradients_follow_the_product(dense, layer, random_tensor(2, 3, 6, 7))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_gradients_of_the_linear(sigma: Sigma) -> None:
    dense = nn.Linear(5, 9).double()
    layer = low_rank(dense, {"weight": factors_of(dense.weight, 2, sigma)})
    assert_gradients_follow_the_product(dense, layer, random_tensor(4, 5))


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("length", [1, 5])
def test_gradients_of_the_lstm(sigma: Sigma, length: int) -> None:
    dense = lstm_of()
    layer = low_rank(dense, lstm_factors(dense, 2, sigma))
    assert_gradients_follow_the_product(dense, layer, random_tensor(4, length, 3))


def test_recurrence_passes_the_numerical_gradient_check() -> None:
    into, recurrent = (random_tensor(12, 2), random_tensor(2, 4)), (random_tensor(12, 2), random_tensor(2, 3))
    arguments = [random_tensor(4, 2, 4), *into, *recurrent, random_tensor(12, seed=3)]
    arguments = [argument.requires_grad_() for argument in arguments]

    def function(sequence: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, bias: Tensor) -> Tensor:
        return low_rank_lstm_layer(sequence, (a, b), (c, d), bias)

    assert torch.autograd.gradcheck(function, arguments)


def test_recurrence_gives_the_same_gradients_when_asked_twice() -> None:
    dense = lstm_of()
    layer = low_rank(dense, lstm_factors(dense, 2))
    total = layer(random_tensor(2, 4, 3))[0].square().sum()
    weights = list(layer.parameters())
    first = torch.autograd.grad(total, weights, retain_graph=True)
    second = torch.autograd.grad(total, weights)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_factor_that_is_not_trained_leaves_the_others_gradients_as_they_are() -> None:
    dense = lstm_of()
    layer = low_rank(dense, lstm_factors(dense, 2))
    inputs = random_tensor(2, 4, 3)
    layer(inputs)[0].square().sum().backward()
    expected = {name: tensor.grad.clone() for name, tensor in layer.named_parameters() if tensor.grad is not None}
    layer.zero_grad()
    layer.get_parameter("weight_hh_l0_u").requires_grad_(False)
    layer(inputs)[0].square().sum().backward()
    for name, tensor in layer.named_parameters():
        if name != "weight_hh_l0_u":
            torch.testing.assert_close(tensor.grad, expected[name])


@pytest.mark.parametrize("sigma", SIGMAS)
def test_squared_norm_is_that_of_the_product(sigma: Sigma) -> None:
    dense = lstm_of()
    layer = low_rank(dense, lstm_factors(dense, 2, sigma))
    products = [layer.factors(weight).product().detach() for weight in layer.factored_weights()]
    assert len(products) == 4
    expected = sum(float(torch.linalg.matrix_norm(product)) ** 2 for product in products)
    assert layer.squared_norm().item() == pytest.approx(expected)


def test_frobenius_gradient_is_the_closed_form_with_frozen_singular_values() -> None:
    u, v, s = random_tensor(6, 3), random_tensor(3, 8), random_tensor(3).abs()
    layer = low_rank(nn.Linear(8, 6, bias=False).double(), {"weight": Factors(u, v, s)})
    (layer.squared_norm() / 2).backward()
    scaled_v, scaled_u = torch.diag(s) @ v, u @ torch.diag(s)
    torch.testing.assert_close(layer.get_parameter("weight_u").grad, u @ scaled_v @ scaled_v.T)
    torch.testing.assert_close(layer.get_parameter("weight_v").grad, scaled_u.T @ scaled_u @ v)


def test_frobenius_gradient_is_the_closed_form_with_absorbed_singular_values() -> None:
    u, v = random_tensor(6, 3), random_tensor(3, 8)
    layer = low_rank(nn.Linear(8, 6, bias=False).double(), {"weight": Factors(u, v)})
    (layer.squared_norm() / 2).backward()
    torch.testing.assert_close(layer.get_parameter("weight_u").grad, u @ v @ v.T)
    torch.testing.assert_close(layer.get_parameter("weight_v").grad, u.T @ u @ v)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_model_with_all_kernels_is_the_full_function(name: str, sigma: Sigma) -> None:
    task = small_task(name)
    model = initial(task).double()
    weights = dict(model.named_parameters())
    low = factorised(model, {weight: factors_of(weights[weight], sigma=sigma) for weight in model.factorable})
    inputs = batch_of(task)
    inputs = inputs if name == LSTM else inputs.double()
    torch.testing.assert_close(low(inputs), model(inputs))


def test_a_factorised_model_shares_no_memory_with_the_full_one() -> None:
    model = initial(small_task(RESNET))
    weights = dict(model.named_parameters())
    low = factorised(model, {name: factors_of(weights[name]) for name in model.factorable})
    shared = {tensor.data_ptr() for tensor in model.parameters()} & {tensor.data_ptr() for tensor in low.parameters()}
    assert not shared
    before = [tensor.clone() for tensor in model.parameters()]
    for tensor in low.parameters():
        tensor.data.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_layer_is_replaced_without_touching_the_original() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 3)))
    replaced = with_layers(model, {"1.0": nn.Linear(2, 5)})
    inputs = torch.ones(1, 2)
    assert replaced(inputs).shape == (1, 5) and model(inputs).shape == (1, 3)
    first, copied = model.get_submodule("0"), replaced.get_submodule("0")
    assert torch.equal(copied.get_parameter("weight"), first.get_parameter("weight")) and copied is not first


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (6, 6)])
def test_decomposition_is_thin_orthonormal_and_exact(shape: tuple[int, int]) -> None:
    weight = random_tensor(*shape)
    spectrum = decompose(weight)
    identity = torch.eye(6, dtype=torch.float64)
    assert spectrum.kernels == 6 and spectrum.u.shape == (shape[0], 6) and spectrum.v.shape == (6, shape[1])
    torch.testing.assert_close(spectrum.u.T @ spectrum.u, identity)
    torch.testing.assert_close(spectrum.v @ spectrum.v.T, identity)
    torch.testing.assert_close(spectrum.u @ torch.diag(spectrum.s) @ spectrum.v, weight)
    assert torch.equal(spectrum.s, spectrum.s.sort(descending=True).values)
    eigenvalues = torch.linalg.eigvalsh(weight @ weight.T).flip(0)[:6].clamp(min=0)
    torch.testing.assert_close(spectrum.s**2, eigenvalues)


def test_conv_kernels_are_read_row_by_row() -> None:
    """A unit matrix entry of the product must be the same entry of the convolution kernel."""
    dense = conv(kernel_size=3, bias=False)
    u, v = torch.zeros(7, 1, dtype=torch.float64), torch.zeros(1, 27, dtype=torch.float64)
    u[4, 0], v[0, 2 * 9 + 1 * 3 + 2] = 1, 1
    kernel = torch.zeros(7, 3, 3, 3, dtype=torch.float64)
    kernel[4, 2, 1, 2] = 1
    images = random_tensor(1, 3, 5, 5)
    layer = low_rank(dense, {"weight": Factors(u, v)})
    torch.testing.assert_close(layer(images), functional.conv2d(images, kernel))


RANKS = {
    0.1: (7, 13, 26, 52),
    0.2: (13, 26, 52, 103),
    0.4: (26, 52, 103, 205),
    0.6: (39, 77, 154, 308),
    0.8: (52, 103, 205, 410),
    1.0: (64, 128, 256, 512),
}


@pytest.mark.parametrize("keep", RANKS)
def test_ranks_are_those_of_the_released_code(keep: float) -> None:
    assert tuple(rank_of(keep, kernels) for kernels in (64, 128, 256, 512)) == RANKS[keep]


def test_rank_is_the_exact_ceiling_for_decimal_keep_ratios() -> None:
    for percent in range(1, 101):
        for kernels in range(1, 600):
            assert rank_of(percent / 100, kernels) == -(-percent * kernels // 100)


def test_rank_is_at_least_one() -> None:
    assert rank_of(1e-12, 512) == 1
