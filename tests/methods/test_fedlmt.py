"""FedLMT: which layers are factored before the first round, from which factors, and plain averages of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
from helpers import (
    CNN,
    LSTM,
    RESNET,
    batch_of,
    cohort_of,
    initial,
    method_of,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import nn
from torch.func import functional_call

from bench.api import Method, Server, Skip
from bench.families import prefactored
from bench.families.prefactored import FACTOR
from bench.models.factorise import low_rank_layers

KERNELS = [f"stages.{stage}.{block}.conv{conv}.weight" for stage in range(4) for block in (0, 1) for conv in (1, 2)]
MATRICES = [f"lstm.weight_{kind}_l{layer}" for layer in (0, 1) for kind in ("ih", "hh")]


def fedlmt(name: str = CNN, levels: tuple[float, ...] = (0.5,), **parameters: Any) -> tuple[Method, Server]:
    task, method = small_task(name), method_of("fedlmt", **parameters)
    method.levels = levels
    return method, method.setup(initial(task), task)


def read(name: str, weight: np.ndarray) -> np.ndarray:
    """Return a weight as the matrix of rows (output, height) and columns (input, width), entry by entry."""
    if weight.ndim == 2:
        return weight
    outputs, inputs, height, width = weight.shape
    found = np.zeros((outputs * height, inputs * width))
    for n, m, i, j in np.ndindex(*weight.shape):
        found[n * height + i, m * width + j] = weight[n, m, i, j]
    return found


@pytest.mark.parametrize(
    ("name", "whole_blocks", "factored"),
    [
        (RESNET, 0, KERNELS),
        (RESNET, 1, KERNELS[2:]),
        (RESNET, 4, KERNELS[8:]),
        (CNN, 0, ["conv2.weight"]),
        (LSTM, 0, MATRICES),
    ],
)
def test_what_is_factored(name: str, whole_blocks: int, factored: list[str]) -> None:
    method, server = fedlmt(name, whole_blocks=whole_blocks)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    found = [
        f"{layer}.{weight}"
        for layer, module in low_rank_layers(method.extract(server, selection)).items()
        for weight in module.factored_weights()
    ]
    assert found == factored
    assert set(server.memory) == {f"{FACTOR}{weight}_{side}" for weight in factored for side in "uv"}


@pytest.mark.parametrize(("name", "keep"), [(RESNET, 0.2), (RESNET, 1.0), (CNN, 0.1), (LSTM, 0.6)])
def test_factors_are_the_leading_vectors_with_the_roots_of_singular_values_on_both_sides(
    name: str, keep: float
) -> None:
    _, server = fedlmt(name, (keep,))
    begin = values_of(initial(small_task(name)))
    for weight in (name for name in begin if f"{FACTOR}{name}_u" in server.memory):
        u, v = (server.memory[f"{FACTOR}{weight}_{side}"].double().numpy() for side in "uv")
        matrix = read(weight, begin[weight].double().numpy())
        units = len(begin[weight]) if begin[weight].ndim == 4 else min(matrix.shape)
        rank = max(round(keep * units), 1)
        left, s, right = np.linalg.svd(matrix, full_matrices=False)
        assert u.shape[1] == len(v) == rank
        np.testing.assert_allclose(u @ v, (left[:, :rank] * s[:rank]) @ right[:rank], atol=2e-5)
        np.testing.assert_allclose(np.diag(u.T @ u), s[:rank], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(np.diag(v @ v.T), s[:rank], rtol=1e-3, atol=1e-6)
        assert_close(torch.from_numpy(read(weight, server.model.get_parameter(weight).detach().numpy())), u @ v, 1e-5)


def test_at_keep_1_an_lstm_begins_as_the_tasks_own() -> None:
    _, server = fedlmt(LSTM, (1.0,))
    for name, value in values_of(initial(small_task(LSTM))).items():
        torch.testing.assert_close(server.model.get_parameter(name).detach(), value, rtol=1e-4, atol=1e-5)


def test_clients_of_several_keep_ratios_have_the_least_rank() -> None:
    method, server = fedlmt(CNN, (0.25, 1.0))
    ranks = {
        method.extract(server, selection).get_parameter("conv2.weight_u").shape[1]
        for selection in selections_of(method, server, cohort_of(0.25, 1.0))
    }
    assert ranks == {16}


@pytest.mark.parametrize("name", [RESNET, LSTM])
def test_gradients_are_those_of_the_dense_product(name: str) -> None:
    """dU = dW V^T and dV = U^T dW, with dW by autograd in the task's own dense network."""
    method, server = fedlmt(name)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel, inputs = method.extract(server, selection).double().eval(), batch_of(small_task(name), 2)
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    submodel(inputs).square().sum().backward()
    dense = initial(small_task(name)).double().eval()
    dense.load_state_dict({name: value.double() for name, value in values_of(server.model).items()})
    dense(inputs).square().sum().backward()
    for weight, _ in ((one, None) for one in method.factored):  # type: ignore[attr-defined]
        u, v = submodel.get_parameter(f"{weight}_u"), submodel.get_parameter(f"{weight}_v")
        gradient = dense.get_parameter(weight).grad
        assert gradient is not None and u.grad is not None and v.grad is not None
        slope = read(weight, gradient.numpy())
        np.testing.assert_allclose(u.grad.numpy(), slope @ v.detach().numpy().T, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(v.grad.numpy(), u.detach().numpy().T @ slope, rtol=1e-3, atol=1e-5)


def test_the_product_decays_in_the_place_of_its_factors_if_asked() -> None:
    plain, _ = fedlmt()
    assert plain.departures() == ()
    method, server = fedlmt(frobenius_decay=0.3)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel = method.extract(server, selection)
    penalty = method.penalty(submodel)
    assert penalty is not None
    penalty.backward()
    u, v = submodel.get_parameter("conv2.weight_u"), submodel.get_parameter("conv2.weight_v")
    assert u.grad is not None and v.grad is not None
    torch.testing.assert_close(u.grad, 0.3 * u @ v @ v.T, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(v.grad, 0.3 * u.T @ u @ v, rtol=1e-4, atol=1e-6)
    assert method.decay_free(submodel) == {"conv2.weight_u", "conv2.weight_v"}
    assert plain.penalty(submodel) is None and not plain.decay_free(submodel)


@pytest.mark.parametrize("weights", ["samples", "uniform"])
def test_factors_become_means_and_the_model_their_product(weights: str) -> None:
    method, server = fedlmt(RESNET, weights=weights)
    selections = selections_of(method, server, cohort_of(0.5, 0.9, 0.5))
    updates = [update_of(method, server, selection, noise=0.1) for selection in selections]
    shares = np.array([one.client.samples if weights == "samples" else 1 for one in selections], dtype=float)
    shares /= shares.sum()
    after = method.aggregate(server, iter(updates), STREAMS)

    def mean(name: str) -> np.ndarray:
        return sum(s * one.parameters[name].double().numpy() for s, one in zip(shares, updates, strict=True))

    for name, tensor in values_of(after.model).items():
        if name in KERNELS:
            u, v = mean(f"{name}_u"), mean(f"{name}_v")
            assert_close(after.memory[f"{FACTOR}{name}_u"], u)
            np.testing.assert_allclose(read(name, tensor.double().numpy()), u @ v, atol=1e-4)
        else:
            assert_close(tensor, mean(name))


def test_drawn_factors_have_he_s_deviations_and_follow_the_seed() -> None:
    _, server = fedlmt(CNN, (1.0,), init="kaiming")
    u, v = server.memory[f"{FACTOR}conv2.weight_u"], server.memory[f"{FACTOR}conv2.weight_v"]
    assert float(u.std()) == pytest.approx((2 / (64 * 3)) ** 0.5, rel=0.03)  # a 3 x 1 convolution to 64 channels
    assert float(v.std()) == pytest.approx((2 / (64 * 3)) ** 0.5, rel=0.03)  # a 1 x 3 convolution to 64 pairs
    _, again = fedlmt(CNN, (1.0,), init="kaiming")
    assert torch.equal(u, again.memory[f"{FACTOR}conv2.weight_u"])
    other = method_of("fedlmt", init="kaiming")
    other.seed = 1
    other = other.setup(initial(small_task(CNN)), small_task(CNN))  # type: ignore[assignment]
    assert not torch.equal(u[:, :1], other.memory[f"{FACTOR}conv2.weight_u"][:, :1])  # type: ignore[attr-defined]


def test_one_initial_model_is_decomposed_once_until_a_client_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    decompose = prefactored.decompose_all
    monkeypatch.setattr(prefactored, "_LAST", {})
    monkeypatch.setattr(prefactored, "decompose_all", lambda found: asked.append("") or decompose(found))
    first, second = (fedlmt(RESNET, (keep,))[1].memory for keep in (0.5, 0.25))
    assert len(asked) == 1
    for name, tensor in second.items():
        rank = tensor.shape[1 if name.endswith("_u") else 0]
        assert torch.equal(tensor, first[name][:, :rank] if name.endswith("_u") else first[name][:rank])
    fedlmt(CNN)
    assert len(asked) == 2
    method, server = fedlmt(CNN)
    assert len(asked) == 2
    method.upload(server.model)
    assert not prefactored._LAST
    fedlmt(CNN)
    assert len(asked) == 3


def test_a_sub_model_computes_what_the_server_evaluates() -> None:
    method, server = fedlmt(LSTM)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    inputs = batch_of(small_task(LSTM))
    outputs = functional_call(server.model, values_of(server.model), (inputs,))
    torch.testing.assert_close(method.extract(server, selection)(inputs), outputs, rtol=1e-4, atol=1e-5)


def test_where_nothing_is_factored_it_is_not_defined() -> None:
    with pytest.raises(
        Skip,
        match="the first 8 residual blocks, LSTMs and the linear layers of transformers; ResNet18 has none of them",
    ):
        fedlmt(RESNET, whole_blocks=8)
    with pytest.raises(Skip, match="Linear has none"):
        method_of("fedlmt").setup(nn.Linear(2, 2), small_task(CNN))
    with pytest.raises(Skip, match="SentimentLSTM has other matrices"):
        fedlmt(LSTM, init="kaiming")
