"""FLANC: bases for all widths, coefficients of each, who is averaged with whom, and what is evaluated."""

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
    paper_task,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import Tensor, nn

from bench.api import Method, Server, Skip
from bench.cost.cost import cost_of

KERNELS = [f"stages.{stage}.{block}.conv{conv}.weight" for stage in range(4) for block in (0, 1) for conv in (1, 2)]


def flanc(name: str = CNN, levels: tuple[float, ...] = (1.0,), **parameters: Any) -> tuple[Method, Server]:
    task, method = small_task(name), method_of("flanc", **parameters)
    method.levels = levels
    return method, method.setup(initial(task), task)


@pytest.mark.parametrize(("name", "composed"), [(RESNET, KERNELS), (CNN, ["conv2.weight"])])
def test_bases_are_orthonormal_and_of_the_full_models_shares(name: str, composed: list[str]) -> None:
    _, server = flanc(name, basis_fraction=0.5)
    bases = {key.removeprefix("basis/"): one for key, one in server.memory.items() if key.startswith("basis/")}
    assert list(bases) == composed
    for weight, basis in bases.items():
        outputs, inputs, height, width = server.model.get_parameter(weight).shape
        assert basis.shape == (max(round(outputs / 4), 1), inputs // 2, height, width)
        rows = basis.flatten(1).double()
        torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "init"), [(RESNET, "released"), (CNN, "matched")])
def test_initial_coefficients_follow_the_authors_where_the_model_normalises(name: str, init: str) -> None:
    task, method = small_task(name, **({"width": 32} if name == RESNET else {})), method_of("flanc")
    before = initial(task)
    own = {key: float(tensor.detach().std()) for key, tensor in before.named_parameters()}
    server = method.setup(before, task)
    weight = "stages.2.1.conv2.weight" if name == RESNET else "conv2.weight"
    coefficients = server.memory[f"width/1.0/{weight}_coefficients"]
    if init == "released":
        assert float(coefficients.std()) == pytest.approx((2 / 128) ** 0.5, rel=0.05)
    else:
        assert float(server.model.get_parameter(weight).detach().std()) == pytest.approx(own[weight], rel=0.1)
    assert type(method).implied(task) == {"init": init}


def test_a_width_is_a_narrow_network_with_the_same_basis() -> None:
    method, server = flanc(CNN, (0.25, 1.0))
    low, high = (method.extract(server, one) for one in selections_of(method, server, cohort_of(0.25, 1.0)))
    assert low.get_parameter("conv1.weight").shape == (16, 1, 5, 5)
    assert low.get_parameter("conv2.weight_coefficients").shape == (16, 2 * 16)  # two groups of 8 channels, 16 filters
    assert high.get_parameter("conv2.weight_coefficients").shape == (64, 8 * 16)
    assert torch.equal(low.get_parameter("conv2.weight_basis"), high.get_parameter("conv2.weight_basis"))
    inputs = batch_of(small_task(CNN))
    torch.testing.assert_close(high(inputs), server.model(inputs), rtol=1e-4, atol=1e-5)


def test_costs_of_a_width_are_those_worked_by_hand() -> None:
    task, method = paper_task(CNN), method_of("flanc")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    cost = cost_of(method.extract(server, selection), task)
    basis, coefficients = 16 * 8 * 9, 32 * 4 * 16
    assert cost.factored_parameters == basis + coefficients
    assert cost.parameters == 25 * 32 + 32 + basis + coefficients + 32 + 49 * 32 * 62 + 62
    assert cost.macs == 28**2 * 25 * 32 + 14**2 * (4 * basis + coefficients) + 49 * 32 * 62


@pytest.mark.parametrize("weights", ["uniform", "samples"])
def test_bases_are_averaged_over_all_and_the_rest_among_clients_of_a_width(weights: str) -> None:
    method, server = flanc(RESNET, (0.25, 0.5, 1.0), weights=weights)
    selections = selections_of(method, server, cohort_of(0.25, 0.5, 0.25))
    updates = [update_of(method, server, selection, noise=0.1) for selection in selections]
    before = dict(server.memory)
    after = method.aggregate(server, iter(updates), STREAMS)

    def mean(name: str, *numbers: int) -> np.ndarray:
        shares = [selections[number].client.samples if weights == "samples" else 1 for number in numbers]
        sent = [updates[number].parameters[name].double().numpy() for number in numbers]
        return sum(share * values for share, values in zip(shares, sent, strict=True)) / sum(shares)

    for name in KERNELS:
        assert_close(after.memory[f"basis/{name}"], mean(f"{name}_basis", 0, 1, 2))
        assert_close(after.memory[f"width/0.25/{name}_coefficients"], mean(f"{name}_coefficients", 0, 2))
        assert_close(after.memory[f"width/0.5/{name}_coefficients"], mean(f"{name}_coefficients", 1))
    for name in ("stem.weight", "stages.1.0.norm1.bias", "stages.1.0.project.weight", "classifier.weight"):
        assert_close(after.memory[f"width/0.25/{name}"], mean(name, 0, 2))
        assert_close(after.memory[f"width/0.5/{name}"], mean(name, 1))
    for name, tensor in before.items():
        if name.startswith("width/1.0/"):  # a width without a client
            assert torch.equal(after.memory[name], tensor)


def test_clients_of_one_width_are_averaged_as_fedavg_averages() -> None:
    method, server = flanc(CNN, (0.5,), weights="samples")
    selections = selections_of(method, server, cohort_of(0.5, 0.5))
    updates = [update_of(method, server, selection, noise=0.1) for selection in selections]
    model = method.full_model(method.aggregate(server, iter(updates), STREAMS))
    for name, tensor in model.named_parameters():
        mean = (10 * updates[0].parameters[name] + 20 * updates[1].parameters[name]) / 30
        torch.testing.assert_close(tensor.detach(), mean, rtol=1e-4, atol=1e-6)


def test_the_servers_model_is_the_network_of_keep_ratio_1() -> None:
    method, server = flanc(RESNET, (0.5, 1.0))
    selections = selections_of(method, server, cohort_of(0.5, 1.0))
    after = method.aggregate(server, iter([update_of(method, server, one, 0.1) for one in selections]), STREAMS)
    (selection,) = selections_of(method, after, cohort_of(1.0))
    inputs = batch_of(small_task(RESNET))
    torch.testing.assert_close(method.extract(after, selection)(inputs), after.model(inputs), rtol=2e-4, atol=2e-4)
    nested = dict(method.nested_models(after))
    assert list(nested) == [0.5, 1.0]
    assert torch.equal(method.full_model(after)(inputs), nested[1.0](inputs))


def test_the_penalty_is_lambda_times_the_distance_of_each_basis() -> None:
    method, server = flanc(RESNET, orthogonality=3.0)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel = method.extract(server, selection)
    start = method.penalty(submodel)
    assert start is not None and start.item() < 1e-8
    expected = 0.0
    with torch.no_grad():
        for name, tensor in submodel.named_parameters():
            if name.endswith("_basis"):
                tensor.mul_(2)  # filters of norm 2: their products are 4
                expected += 3.0 * 9 / len(tensor)
    penalty = method.penalty(submodel)
    assert penalty is not None and penalty.item() == pytest.approx(expected, rel=1e-4)
    off, server = flanc(RESNET, orthogonality=0.0)
    assert off.departures() == () and off.penalty(submodel) is None


def test_a_width_that_nobody_was_said_to_have_begins_from_the_seed() -> None:
    method, server = flanc(CNN)
    (selection,) = selections_of(method, server, cohort_of(0.3))
    first, again = (values_of(method.extract(server, selection)) for _ in range(2))
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    after = method.aggregate(server, iter([update_of(method, server, selection, noise=0.1)]), STREAMS)
    assert any(name.startswith("width/0.3/") for name in after.memory)
    moved: Tensor = method.extract(after, selection).get_parameter("conv1.weight").detach()
    assert not torch.equal(moved, first["conv1.weight"])
    other = method_of("flanc")
    other.seed = 1
    theirs = other.setup(initial(small_task(CNN)), small_task(CNN))
    assert not torch.equal(theirs.memory["basis/conv2.weight"], server.memory["basis/conv2.weight"])


def test_it_is_not_defined_where_no_kernel_is_composed() -> None:
    with pytest.raises(Skip, match="SentimentLSTM has none"):
        flanc(LSTM)
    with pytest.raises(Skip, match="Linear has none"):
        method_of("flanc").setup(nn.Linear(2, 2), small_task(CNN))
