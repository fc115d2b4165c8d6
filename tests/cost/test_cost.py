"""Counts of parameters, multiply-accumulates and bytes, and the diagnostics, against formulae worked by hand."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from helpers import CNN, LSTM, RESNET, cohort_of, federation, initial, method_of, paper_task, selections_of, small_task
from torch import nn

from bench.api import Method, Server
from bench.cost.cost import Cost, CostMeter, bytes_of, cost_of, peak_memory_bytes
from bench.cost.operations import operations
from bench.launch.footprint import submodel_cost
from bench.simulation.diagnostics.coverage import Coverage
from bench.simulation.diagnostics.rank import layer_ranks, required_kernels, required_kernels_renyi
from bench.tasks.base import Task

KEEPS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
RESNET_CONVS = [
    # inputs, outputs, side of the output of the sixteen 3 x 3 convolutions behind the stem.
    *[(64, 64, 32)] * 4,
    *[(64, 128, 16), *[(128, 128, 16)] * 3],
    *[(128, 256, 8), *[(256, 256, 8)] * 3],
    *[(256, 512, 4), *[(512, 512, 4)] * 3],
]
PROJECTIONS = [(64, 128, 16), (128, 256, 8), (256, 512, 4)]
REST_MACS = 32 * 32 * 27 * 64 + sum(m * n * side**2 for m, n, side in PROJECTIONS) + 512 * 10


LENGTH = 20
"""Tokens of a review here: counting operations takes time in proportion to it."""


def whole(name: str) -> Task:
    """Return a task with a model of the paper's size."""
    return paper_task(name, **({"length": LENGTH} if name == LSTM else {}))


@cache
def prepared(method_name: str, task_name: str) -> tuple[Method, Server, Task]:
    """Return a method with a server of the paper's size: its decomposition takes a second and is made once."""
    task, method = whole(task_name), method_of(method_name)
    return method, method.setup(initial(task), task), task


@cache
def cost_at(method_name: str, task_name: str, keep: float) -> Cost:
    return submodel_cost(*prepared(method_name, task_name), keep)


@cache
def full_cost(name: str) -> Cost:
    task = whole(name)
    return cost_of(initial(task), task)


def rank(keep: float, size: int) -> int:
    return math.ceil(round(keep * size, 9))


def test_full_resnet_has_the_published_cost() -> None:
    macs = sum(9 * m * n * side**2 for m, n, side in RESNET_CONVS) + REST_MACS
    assert full_cost(RESNET).parameters == 11_173_962
    assert full_cost(RESNET).macs == macs
    assert macs / 1e6 == pytest.approx(555.42, abs=0.005)
    assert full_cost(RESNET).factored_parameters == sum(9 * m * n for m, n, _ in RESNET_CONVS)


def test_full_cnn_has_the_cost_worked_by_hand() -> None:
    assert full_cost(CNN).macs == 28**2 * 25 * 64 + 14**2 * 9 * 64 * 64 + 49 * 64 * 62
    assert full_cost(CNN).factored_parameters == 64 * 64 * 9
    task = paper_task(CNN, variant="released")
    assert cost_of(initial(task), task).macs == 28**2 * 25 * 32 + 14**2 * 25 * 32 * 64 + 49 * 64 * 62


def test_full_lstm_has_the_cost_worked_by_hand() -> None:
    step = 4 * 256 * (64 + 256) + 4 * 256 * (256 + 256)
    assert full_cost(LSTM).macs == LENGTH * step + 256
    assert full_cost(LSTM).parameters == 920_385
    assert full_cost(LSTM).factored_parameters == 851_968 == step


TABLE_1 = {0.8: 9_916_352, 0.6: 7_447_488, 0.4: 4_964_992, 0.2: 2_496_128}


@pytest.mark.parametrize("keep", TABLE_1)
def test_prism_table_1_is_counted_from_real_sub_models(keep: float) -> None:
    assert cost_at("prism", RESNET, keep).factored_parameters == TABLE_1[keep]


@pytest.mark.parametrize("keep", KEEPS)
def test_factored_parameters_of_the_resnet_follow_the_ranks(keep: float) -> None:
    expected = sum(rank(keep, n) * (9 * m + n) for m, n, _ in RESNET_CONVS)
    assert cost_at("prism", RESNET, keep).factored_parameters == expected


@pytest.mark.parametrize(
    ("keep", "millions"), [(0.1, 1.45), (0.2, 2.68), (0.4, 5.15), (0.6, 7.64), (0.8, 10.10), (1.0, 12.57)]
)
def test_a_client_holds_more_than_table_1_counts(keep: float, millions: float) -> None:
    cost = cost_at("prism", RESNET, keep)
    whole = 11_173_962 - sum(9 * m * n for m, n, _ in RESNET_CONVS)
    assert cost.parameters == cost.factored_parameters + whole
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(("keep", "percent"), [(0.2, 23.9), (0.4, 46.1), (0.6, 68.2), (0.8, 90.5)])
def test_the_macs_of_a_spectral_resnet_are_those_of_its_factors(keep: float, percent: float) -> None:
    expected = sum(rank(keep, n) * (9 * m + n) * side**2 for m, n, side in RESNET_CONVS) + REST_MACS
    macs = cost_at("prism", RESNET, keep).macs
    assert macs == expected
    assert 100 * macs / full_cost(RESNET).macs == pytest.approx(percent, abs=0.05)


@pytest.mark.parametrize(("keep", "ratio"), [(0.2, 0.251), (0.4, 0.497), (0.6, 0.744), (0.8, 0.990)])
def test_the_factored_lstm_has_the_published_ratio(keep: float, ratio: float) -> None:
    cost = cost_at("prism", LSTM, keep)
    assert cost.factored_parameters / 851_968 == pytest.approx(ratio, abs=0.0005)
    matrices = [(64, 1024), (256, 1024), (256, 1024), (256, 1024)]
    factored = sum(rank(keep, m) * (m + n) for m, n in matrices)
    assert cost.factored_parameters == factored
    assert cost.macs == LENGTH * factored + 256
    assert cost.parameters == 920_385 - 851_968 + factored


@pytest.mark.parametrize("keep", KEEPS)
def test_orthdrop_costs_what_prism_costs(keep: float) -> None:
    assert cost_at("orthdrop", CNN, keep) == cost_at("prism", CNN, keep)


@pytest.mark.parametrize("keep", KEEPS)
def test_a_factored_cnn_has_the_cost_worked_by_hand(keep: float) -> None:
    cost, r = cost_at("prism", CNN, keep), rank(keep, 64)
    assert cost.factored_parameters == r * (9 * 64 + 64)
    assert cost.macs == 28**2 * 25 * 64 + 14**2 * r * (9 * 64 + 64) + 49 * 64 * 62


@pytest.mark.parametrize("keep", KEEPS)
def test_a_narrow_cnn_has_the_cost_worked_by_hand(keep: float) -> None:
    cost, c = cost_at("origdrop", CNN, keep), rank(keep, 64)
    assert cost.parameters == (25 * c + c) + (9 * c * c + c) + (49 * c * 62 + 62)
    assert cost.macs == 28**2 * 25 * c + 14**2 * 9 * c * c + 49 * c * 62


@pytest.mark.parametrize("keep", KEEPS)
def test_a_narrow_resnet_has_the_cost_worked_by_hand(keep: float) -> None:
    cost = cost_at("origdrop", RESNET, keep)
    convs = [(rank(keep, m), rank(keep, n), side) for m, n, side in RESNET_CONVS]
    projections = [(rank(keep, m), rank(keep, n), side) for m, n, side in PROJECTIONS]
    stem, last = rank(keep, 64), rank(keep, 512)
    expected = sum(9 * m * n for m, n, _ in convs) + sum(m * n for m, n, _ in projections)
    norms = stem + sum(n for _, n, _ in convs) + sum(n for _, n, _ in projections)
    assert cost.parameters == 27 * stem + expected + 2 * norms + 10 * last + 10
    macs = sum(9 * m * n * s**2 for m, n, s in convs) + sum(m * n * s**2 for m, n, s in projections)
    assert cost.macs == 32 * 32 * 27 * stem + macs + 10 * last


@pytest.mark.parametrize("keep", KEEPS)
def test_a_narrow_lstm_has_the_cost_worked_by_hand(keep: float) -> None:
    cost, h = cost_at("origdrop", LSTM, keep), rank(keep, 256)
    step = 4 * h * (64 + h) + 4 * h * (h + h)
    assert cost.parameters == 1001 * 64 + step + 4 * 4 * h + h + 1
    assert cost.macs == LENGTH * step + h


def test_a_client_receives_frozen_singular_values_beside_the_parameters() -> None:
    task = small_task(RESNET)
    frozen, absorbed = method_of("prism"), method_of("prism", sigma="absorbed")
    costs = []
    for method in (frozen, absorbed):
        server = method.setup(initial(task), task)
        costs.append(submodel_cost(method, server, task, 0.4))
    ranks = sum(rank(0.4, width) for width in (4, 8, 16, 32) for _ in range(4))
    assert costs[1].down_bytes == 4 * costs[1].parameters
    assert costs[0].down_bytes == 4 * (costs[0].parameters + ranks)
    assert costs[0].parameters == costs[1].parameters


def test_counting_changes_neither_model_nor_mode() -> None:
    task = small_task(LSTM)
    model = initial(task).train()
    before = [tensor.clone() for tensor in model.parameters()]
    cost_of(model, task)
    assert model.training and all(tensor.device.type == "cpu" for tensor in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_macs_do_not_depend_on_the_state_of_autograd() -> None:
    task = small_task(LSTM)
    with torch.enable_grad():
        first = operations(initial(task), task).macs
    with torch.no_grad():
        assert operations(initial(task), task).macs == first > 0


def test_the_meter_tells_shapes_apart() -> None:
    task, method = small_task(RESNET), method_of("prism")
    server = method.setup(initial(task), task)
    meter = CostMeter(task)
    selections = selections_of(method, server, cohort_of(0.3, 0.6, 0.3))
    submodels = [method.extract(server, selection) for selection in selections]
    assert [meter.of(submodel) for submodel in submodels] == [cost_of(submodel, task) for submodel in submodels]


def test_the_meter_sees_what_is_trained() -> None:
    task = small_task(CNN)
    model, meter = initial(task), CostMeter(task)
    whole = meter.of(model)
    model.get_parameter("conv1.weight").requires_grad_(False)
    part = meter.of(model)
    assert part.trained_parameters == whole.trained_parameters - 64 * 25
    assert part.train_macs == whole.train_macs - 28**2 * 64 * 25  # no gradient of these weights
    assert part == cost_of(model, task)


def test_bytes_follow_the_type_of_the_numbers() -> None:
    assert bytes_of([torch.zeros(3, 4), torch.zeros(5, dtype=torch.int64), torch.zeros(2, dtype=torch.bfloat16)]) == 92
    assert bytes_of([]) == 0


def test_peak_memory_sees_a_large_tensor() -> None:
    before = peak_memory_bytes(torch.device("cpu"))
    held = torch.ones(60_000_000)
    assert peak_memory_bytes(torch.device("cpu")) >= before
    assert peak_memory_bytes(torch.device("cpu")) > held.numel() * held.element_size()


@pytest.mark.parametrize("size", [1, 2, 64, 512])
def test_required_kernels_of_a_flat_spectrum_are_all_kernels(size: int) -> None:
    sigma = torch.full((size,), 3.7, dtype=torch.float64)
    assert required_kernels(sigma) == pytest.approx(size)
    assert required_kernels_renyi(sigma) == pytest.approx(size)


def test_required_kernels_of_a_matrix_of_rank_one_are_one() -> None:
    sigma = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64)
    assert required_kernels(sigma) == pytest.approx(1) and required_kernels_renyi(sigma) == pytest.approx(1)


@pytest.mark.parametrize("kappa", [1.0, 2.0, 3.5])
def test_required_kernels_follow_the_papers_formula(kappa: float) -> None:
    sigma = np.array([5.0, 3.0, 1.0, 0.5, 0.01])
    p = sigma**kappa / (sigma**kappa).sum()
    assert required_kernels(torch.tensor(sigma), kappa) == pytest.approx(2 ** -(p * np.log2(p)).sum())
    shares = sigma / sigma.sum()
    assert required_kernels_renyi(torch.tensor(sigma)) == pytest.approx(2 ** -np.log2((shares**2).sum()))


def test_required_kernels_do_not_depend_on_the_scale() -> None:
    sigma = torch.tensor([5.0, 3.0, 1.0], dtype=torch.float64)
    values = [required_kernels(sigma * scale) for scale in (1e-200, 1.0, 1e200)]
    assert values == pytest.approx([values[1]] * 3)


@pytest.mark.parametrize("name", [RESNET, CNN, LSTM])
def test_the_ranks_of_a_model_are_those_of_its_layers(name: str) -> None:
    model = initial(small_task(name))
    ranks = layer_ranks(model)
    assert [rank_.layer for rank_ in ranks] == list(model.factorable)
    weights = dict(model.named_parameters())
    for rank_ in ranks:
        matrix = weights[rank_.layer].detach().double().flatten(1).numpy()
        p = np.linalg.svd(matrix, compute_uv=False) ** 2 / (matrix**2).sum()
        assert rank_.kernels == min(matrix.shape)
        assert rank_.required_kernels == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)


def test_coverage_counts_units_once() -> None:
    coverage = Coverage()
    coverage.add({"a": (torch.tensor([0, 2]), 4), "b": (torch.tensor([0]), 1)})
    coverage.add({"a": (torch.tensor([2, 3]), 4)})
    assert coverage.by_piece() == {"a": 0.75, "b": 1.0}
    assert coverage.share() == pytest.approx(4 / 5)


def test_a_model_without_structure_has_a_cost_too() -> None:
    task = small_task(CNN)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 62))
    assert cost_of(model, task) == Cost(
        parameters=784 * 62 + 62,
        factored_parameters=0,
        macs=784 * 62,
        down_bytes=4 * (784 * 62 + 62),
        trained_parameters=784 * 62 + 62,
        activations=62,
        train_macs=2 * 784 * 62,  # the inputs need no gradient
        saved_bytes=4 * 784,  # the inputs, for the weights' gradient
    )


def test_a_clients_cost_does_not_depend_on_the_tier() -> None:
    built = federation("prism", CNN, keep=0.4)
    server = built.method.setup(built.initial_model(), built.task)
    assert cost_at("prism", CNN, 0.4) == submodel_cost(built.method, server, built.task, 0.4)
