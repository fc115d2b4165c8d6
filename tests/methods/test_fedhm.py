"""FedHM: kernels as two convolutions, ranks, truncation, and an average in which strong clients count more."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, random_tensor
from helpers import (
    CNN,
    LSTM,
    RESNET,
    assert_equal,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    paper_task,
    run,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import nn
from torch.nn import functional

from bench.api import Client, Method, Selection, Server, Skip, Update
from bench.cost.cost import cost_of, factored_parameters
from bench.families.split import SplitServer, split_rank
from bench.models.base import Model
from bench.models.factorise import low_rank_layers
from bench.models.low_rank import Factors
from bench.models.split_convolution import SplitConv2d, joined_kernel, split_matrix

EXEMPT = ("stages.0.0.conv1.weight", "stages.0.0.conv2.weight")


def fedhm(name: str = RESNET, levels: tuple[float, ...] = (1.0,), **parameters: Any) -> tuple[Method, SplitServer]:
    task, method = small_task(name), method_of("fedhm", **parameters)
    method.levels = levels
    server = method.setup(initial(task), task)
    assert isinstance(server, SplitServer)
    return method, server


def best_of_rank(kernel: np.ndarray, rank: int) -> np.ndarray:
    """Return the nearest kernel whose matrix of rows (n, i) and columns (m, j) has a rank, entry by entry."""
    outputs, inputs, height, width = kernel.shape
    matrix = np.zeros((outputs * height, inputs * width))
    for n, m, i, j in np.ndindex(*kernel.shape):
        matrix[n * height + i, m * width + j] = kernel[n, m, i, j]
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    cut = (u[:, :rank] * s[:rank]) @ v[:rank]
    found = np.zeros(kernel.shape)
    for n, m, i, j in np.ndindex(*kernel.shape):
        found[n, m, i, j] = cut[n * height + i, m * width + j]
    return found


def test_rows_are_outputs_and_heights_and_columns_are_inputs_and_widths() -> None:
    kernel = random_tensor(3, 4, 2, 5)
    matrix = split_matrix(kernel)
    assert matrix.shape == (6, 20)
    for n, m, i, j in np.ndindex(*kernel.shape):
        assert matrix[n * 2 + i, m * 5 + j] == kernel[n, m, i, j]
    assert torch.equal(joined_kernel(matrix, kernel.shape), kernel)


@pytest.mark.parametrize(
    ("stride", "padding", "bias", "kernel"),
    [
        (1, 1, False, (3, 3)),
        (2, 1, False, (3, 3)),
        (1, "same", True, (5, 5)),
        (2, (0, 2), True, (3, 5)),
        ((2, 3), 1, True, (3, 3)),
    ],
)
@pytest.mark.parametrize("size", [4, 11])
def test_the_two_convolutions_are_the_dense_one_with_the_product_kernel(
    stride: Any, padding: Any, bias: bool, kernel: tuple[int, int], size: int
) -> None:
    dense = nn.Conv2d(5, 4, kernel, stride, padding, bias=bias).double()
    u, v = random_tensor(4 * kernel[0], 3, seed=1).double(), random_tensor(3, 5 * kernel[1], seed=2).double()
    layer = SplitConv2d(dense, Factors(u, v))
    product = torch.zeros(4, 5, *kernel, dtype=torch.float64)
    for n, m, i, j in np.ndindex(4, 5, *kernel):
        product[n, m, i, j] = sum(u[n * kernel[0] + i, r] * v[r, m * kernel[1] + j] for r in range(3))
    inputs = random_tensor(2, 5, size, size + 1, seed=3).double()
    product.requires_grad_()
    expected = functional.conv2d(inputs, product, dense.bias, stride, padding)
    outputs = layer(inputs)
    torch.testing.assert_close(outputs, expected)
    pull = random_tensor(*outputs.shape, seed=4).double()
    (outputs * pull).sum().backward()
    (expected * pull).sum().backward()
    gradient = split_matrix(product.grad)  # type: ignore[arg-type]
    torch.testing.assert_close(layer.weight_u.grad, gradient @ v.T)
    torch.testing.assert_close(layer.weight_v.grad, u.T @ gradient)


def test_a_convolution_with_groups_has_no_split_form() -> None:
    with pytest.raises(TypeError, match="groups"):
        SplitConv2d(nn.Conv2d(4, 4, 3, groups=2), Factors(torch.ones(12, 1), torch.ones(1, 6)))


def test_the_rank_is_the_rounded_share_of_the_outputs() -> None:
    for outputs in range(1, 80):
        for factor in (Fraction(3, 2), Fraction(2), Fraction(5, 2), Fraction(4), Fraction(5), Fraction(8)):
            expected = max(round(outputs / factor), 1)  # of a Fraction: half to even, exactly
            assert split_rank(float(1 / factor), outputs) == expected
    assert split_rank(0.5, 5) == 2 and split_rank(0.01, 8) == 1


def test_the_first_block_the_stem_shortcuts_and_the_classifier_stay_dense() -> None:
    method, server = fedhm()
    assert isinstance(server.model, Model)
    assert set(server.factored) == set(server.model.factorable) - set(EXEMPT) and len(server.factored) == 14
    (selection,) = selections_of(method, server, cohort_of(0.5))
    layers = low_rank_layers(method.extract(server, selection))
    assert {f"{name}.weight" for name in layers} == set(server.factored)
    assert fedhm(CNN)[1].factored == ("conv2.weight",)


def test_shortcuts_stay_dense_where_spectral_methods_factor_them() -> None:
    task, method = small_task(RESNET, factored="all"), method_of("fedhm")
    server = method.setup(initial(task), task)
    assert isinstance(server, SplitServer) and not any("project" in name for name in server.factored)


def test_it_is_skipped_where_there_is_no_convolution() -> None:
    with pytest.raises(Skip, match="SentimentLSTM has none"):
        fedhm(LSTM)
    with pytest.raises(Skip, match="Linear has none"):
        method_of("fedhm").setup(nn.Linear(2, 2), small_task(CNN))


@pytest.mark.parametrize("name", [RESNET, CNN])
def test_a_client_gets_the_nearest_kernel_of_its_rank_with_the_singular_values_in_both_factors(name: str) -> None:
    method, server = fedhm(name)
    (selection,) = selections_of(method, server, cohort_of(0.3))
    for layer, module in low_rank_layers(method.extract(server, selection)).items():
        kernel, factors = server.model.get_parameter(f"{layer}.weight").detach(), module.factors()
        rank = max(round(0.3 * len(kernel)), 1)
        assert factors.u.shape[1] == rank == len(selection.indices[f"{layer}.weight"])
        assert_close(joined_kernel(factors.product().detach(), kernel.shape), best_of_rank(kernel.numpy(), rank))
        torch.testing.assert_close(factors.u.T @ factors.u, factors.v @ factors.v.T, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_cost_of_the_papers_model() -> None:
    task, method = paper_task(RESNET), method_of("fedhm")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.25))
    submodel = method.extract(server, selection)
    sides = [(64, 64)] * 2 + [(64, 128)] + [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 3
    sides += [(256, 512)] + [(512, 512)] * 3
    factors = sum(outputs // 4 * 3 * (inputs + outputs) for inputs, outputs in sides)
    saved = sum(9 * inputs * outputs for inputs, outputs in sides) - factors
    assert cost_of(submodel, task).parameters == 11_173_962 - saved
    assert factored_parameters(submodel) == factors + 2 * 9 * 64 * 64


@pytest.mark.parametrize(("weights", "temperature"), [("softmax", 1.0), ("softmax", 3.0), ("uniform", 1.0)])
@pytest.mark.parametrize("keeps", [(0.25, 0.5), (0.25, 0.5, 1.0), (0.25, 0.25)])
def test_the_server_averages_dense_kernels_and_joins_where_the_strongest_is_missing(
    weights: str, temperature: float, keeps: tuple[float, ...]
) -> None:
    method, server = fedhm(RESNET, (0.25, 0.5, 1.0), weights=weights, temperature=temperature)
    before = values_of(server.model)
    updates = [
        update_of(method, server, selection, 0.1) for selection in selections_of(method, server, cohort_of(*keeps))
    ]
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    factors = [1 / keep for keep in keeps] + ([] if 1.0 in keeps else [1.0])
    exact = np.exp([-factor / temperature for factor in factors]) if weights == "softmax" else np.ones(len(factors))
    exact /= exact.sum()
    for name, base in before.items():
        total = np.zeros(base.shape)
        for update, share in zip(updates, exact, strict=False):
            total += share * dense_of(update, name, base.shape)
        if 1.0 not in keeps:
            total += exact[-1] * base.double().numpy()
        assert_close(after[name], total)


def dense_of(update: Update, name: str, shape: torch.Size) -> np.ndarray:
    """Return a tensor as a client sent it, factors multiplied out entry by entry."""
    if name in update.parameters:
        return update.parameters[name].double().numpy()
    u, v = (update.parameters[f"{name}_{side}"].double().numpy() for side in "uv")
    _, _, height, width = shape
    values = np.zeros(shape)
    for n, m, i, j in np.ndindex(*shape):
        values[n, m, i, j] = u[n * height + i] @ v[:, m * width + j]
    return values


@pytest.mark.parametrize("label_rows", ["mean", "sum", "all"])
def test_low_rank_clients_give_the_rows_of_their_classes_and_full_ones_all(label_rows: str) -> None:
    method, server = fedhm(CNN, (0.5, 1.0), label_rows=label_rows)
    clients = (Client(0, 10, 0.5, (0, 1)), Client(1, 10, 0.5, (1, 61)), Client(2, 10, 1.0, (3,)))
    for members, full in ((clients, True), (clients[:2], False)):
        method.levels = (0.5, 1.0) if full else (0.5,)
        before = values_of(server.model)["classifier.weight"]
        kept = {client: method._kept(server, client.keep) for client in members}  # type: ignore[attr-defined]
        updates = [update_of(method, server, Selection(client, kept[client]), 0.1) for client in members]
        after = values_of(method.aggregate(server, updates, STREAMS).model)["classifier.weight"]
        shares = [math.exp(-1 / client.keep) for client in members]
        for row in range(62):
            rows = [update.parameters["classifier.weight"][row].double().numpy() for update in updates]
            holds = [label_rows == "all" or client.keep == 1 or row in client.labels for client in members]
            given = sum(share * values for share, values, held in zip(shares, rows, holds, strict=True) if held)
            if label_rows == "sum":
                expected = given / sum(shares)
            elif any(holds):
                expected = given / sum(share for share, held in zip(shares, holds, strict=True) if held)
            else:
                expected = before[row].double().numpy()
            assert_close(after[row], np.broadcast_to(expected, after[row].shape))


def test_the_tail_is_discarded_also_where_nothing_is_trained() -> None:
    method, server = fedhm(RESNET, (0.25,))
    before = values_of(server.model)
    updates = [
        update_of(method, server, selection) for selection in selections_of(method, server, cohort_of(0.25, 0.25))
    ]
    following = method.aggregate(server, updates, STREAMS)
    for name, value in values_of(following.model).items():
        rank = max(round(0.25 * len(value)), 1)
        expected = best_of_rank(before[name].numpy(), rank) if name in server.factored else before[name].numpy()
        assert_close(value, expected, 1e-4)


def test_weights_do_not_vanish_at_the_smallest_keep_ratios() -> None:
    for levels, keeps in (((0.005,), (0.005, 0.005)), ((0.005, 1.0), (0.005, 1.0)), ((0.005, 1.0), (0.005,))):
        method, server = fedhm(CNN, levels, temperature=0.1)
        before = values_of(server.model)["conv1.weight"]
        updates = [update_of(method, server, s, 0.1) for s in selections_of(method, server, cohort_of(*keeps))]
        after = values_of(method.aggregate(server, updates, STREAMS).model)["conv1.weight"]
        sent = [update.parameters["conv1.weight"] for update in updates]
        expected = torch.stack(sent).mean(0) if len(levels) == 1 else sent[1] if len(keeps) == 2 else before
        torch.testing.assert_close(after, expected)


@pytest.mark.parametrize("name", [RESNET, CNN])
def test_full_clients_alone_are_fedavg(name: str) -> None:
    rounds, after = run(federation("fedhm", name, keep=1.0))
    reference, expected = run(federation("fedavg", name, keep=1.0, parameters={"weights": "uniform"}))
    assert_equal(after, expected)
    assert [this.train_loss for this in rounds] == [this.train_loss for this in reference]


def test_nested_models_are_the_truncations_to_each_level() -> None:
    method, server = fedhm(CNN, (0.25, 0.5, 1.0))
    models = dict(method.nested_models(server))
    inputs = batch_of(small_task(CNN), 3)
    assert list(models) == [0.25, 0.5, 1.0]
    for keep, model in models.items():
        dense = initial(small_task(CNN))
        kernel = dense.get_parameter("conv2.weight")
        if keep < 1:
            kernel.data = torch.from_numpy(best_of_rank(kernel.detach().numpy(), round(64 * keep))).float()
        torch.testing.assert_close(model(inputs), dense(inputs), rtol=1e-4, atol=1e-5)
    assert list(fedhm(CNN, (0.5,))[0].nested_models(server)) == []


def test_levels_are_evaluated_in_a_run_of_several_keep_ratios() -> None:
    rounds, _ = run(federation("fedhm", RESNET, keep="0.25:0.5,0.5:0.5"))
    assert [[level.keep for level in this.levels] for this in rounds] == [[0.25, 0.5]] * 3
    cheap, dear = rounds[1].levels
    assert cheap.cost.parameters < dear.cost.parameters


def test_the_decay_is_that_of_the_product_and_with_a_switch_that_of_the_factors_too() -> None:
    method, server = fedhm(RESNET, (0.5,))
    (selection,) = selections_of(method, server, cohort_of(0.5))
    submodel = method.extract(server, selection)
    energy = sum(
        float((best_of_rank(server.model.get_parameter(name).detach().numpy(), len(kept)) ** 2).sum())
        for name, kept in selection.indices.items()
    )
    penalty = method.penalty(submodel)
    assert penalty is not None and penalty.item() == pytest.approx(5e-4 / 2 * energy, rel=1e-4)
    factors = {f"{name}_{side}" for name in server.factored for side in "uv"}
    assert method.decay_free(submodel) == factors < {name for name, _ in submodel.named_parameters()}
    (full,) = selections_of(method, server, cohort_of(1.0))
    assert method.penalty(method.extract(server, full)) is None
    assert method_of("fedhm", factor_decay=True).decay_free(submodel) == set()


def test_with_a_masked_loss_outputs_of_absent_classes_are_zero() -> None:
    """By hand: the cross entropy of (2, 0, -1, 0, ..., 0) is that of 62 classes of which 60 have the output 0."""
    method, server = fedhm(CNN, (0.5, 1.0), masked_loss=True)
    logits, targets = random_tensor(2, 62, seed=5).double(), torch.tensor([2, 0])
    logits[:, 0], logits[:, 2] = torch.tensor([2.0, 1.0]), torch.tensor([-1.0, 3.0])
    sums = [math.exp(2) + math.exp(-1) + 60, math.exp(1) + math.exp(3) + 60]
    expected = (math.log(sums[0]) + 1 + math.log(sums[1]) - 1) / 2
    for keep in (0.5, 1.0):
        client = Client(0, 10, keep, (0, 2))
        submodel = method.extract(server, Selection(client, method._kept(server, keep)))  # type: ignore[attr-defined]
        outputs = logits.clone().requires_grad_()
        loss = method.local_loss(submodel, lambda outputs=outputs: outputs, targets)  # type: ignore[misc]
        assert loss is not None and loss.item() == pytest.approx(expected, rel=1e-12)
        loss.backward()
        assert outputs.grad is not None and outputs.grad.any(0).nonzero()[:, 0].tolist() == [0, 2]
        sent = [name for name, _ in submodel.named_parameters()]
        assert list(submodel.state_dict()) == sent and list(method.upload(submodel)) == sent
    assert not any(True for _, model in method.nested_models(server) for _ in model.buffers())


def test_the_loss_is_the_tasks_unless_it_is_masked_and_some_class_is_absent() -> None:
    outputs, targets = random_tensor(4, 62), torch.arange(4)
    for masked, labels in ((False, (0, 1)), (True, ()), (True, tuple(range(62)))):
        method, server = fedhm(CNN, (0.5,), masked_loss=masked)
        assert method.equals_fedavg is not masked
        client = Client(0, 10, 0.5, labels)
        submodel = method.extract(server, Selection(client, method._kept(server, 0.5)))  # type: ignore[attr-defined]
        loss = method.local_loss(submodel, lambda: outputs, targets)
        if masked:
            assert loss is not None and torch.equal(loss, method.task.loss(outputs, targets))
        else:
            assert loss is None and not list(submodel.buffers())


def test_coverage_and_designs_are_the_leading_vectors() -> None:
    method, server = fedhm(CNN, (0.5, 1.0))
    selections = selections_of(method, server, cohort_of(0.5, 1.0))
    (kept, size), (everything, _) = (method.coverage(server, selection)["conv2.weight"] for selection in selections)
    assert (kept.tolist(), size, len(everything)) == (list(range(32)), 192, 192)
    designs = method.designs(server, selections)["conv2.weight"]
    assert [design.size for design in designs] == [32, 192]


def test_a_server_decomposes_anew_after_each_round() -> None:
    method, server = fedhm(CNN)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    following: Server = method.aggregate(server, [update_of(method, server, selection, 0.1)], STREAMS)
    assert isinstance(following, SplitServer)
    spectrum = following.spectra["conv2.weight"]
    product = (spectrum.u * spectrum.s) @ spectrum.v
    torch.testing.assert_close(product, split_matrix(following.model.get_parameter("conv2.weight").detach()))
