"""The mean of products, and the errors of sub-models and averages, against loops and many draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, kernel_means, setup, trained
from helpers import CNN, TASKS, cohort_of, selections_of, small_task, update_of, values_of
from toy import WEIGHT, draw, kernels_of, sub_weight, toy

from bench.api import Update
from bench.models.base import matrix

SIGMAS = ("frozen", "absorbed")
WEIGHTS = ("uniform", "samples")
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("prism", {}),
    ("orthdrop", {"tail": "keep"}),
    ("orthdrop", {"tail": "drop"}),
    ("unbiased", {}),
]


def counts_of(updates: Sequence[Update], weights: str) -> list[float]:
    return [float(update.selection.client.samples) if weights == "samples" else 1.0 for update in updates]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("name", "own"), METHODS)
def test_each_kernel_becomes_the_mean_of_its_products(
    name: str, own: dict[str, Any], task: str, sigma: str, weights: str
) -> None:
    parameters = {**own, "sigma": sigma, "weights": weights}
    method, server, before = setup(name, small_task(task), aggregate="product", **parameters)
    updates = trained(method, server)
    counts, dropped = counts_of(updates, weights), own.get("tail") == "drop"
    expected = kernel_means(server, updates, sigma, counts, products=True, only_held=dropped)
    of_factors = kernel_means(server, updates, sigma, counts, only_held=dropped)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for weight, value in expected.items():
        assert_close(after[weight], value, 2e-5)
        assert not np.allclose(value, of_factors[weight], atol=1e-3)
    for parameter in set(before) - set(expected):
        stacked = np.stack([update.parameters[parameter].double().numpy() for update in updates])
        assert_close(after[parameter], np.average(stacked, 0, counts))


def aggregated(name: str, keeps: Sequence[float], kernels: Sequence[Sequence[int]] = (), **own: Any) -> list[Any]:
    """Return the toy's weight after a round with each way of averaging, the clients' kernels given or drawn."""
    results = []
    for aggregate in ("factors", "product"):
        method, server = toy(name, aggregate=aggregate, **own)
        selections = draw(method, server, keeps)
        for selection, kept in zip(selections, kernels, strict=False):
            selection.indices[WEIGHT] = torch.tensor(kept)  # type: ignore[index]
        updates = [update_of(method, server, selection, 0.3) for selection in selections]
        results.append(method.aggregate(server, updates, STREAMS).model.get_parameter(WEIGHT).detach())
    return results


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_both_ways_agree_where_no_kernel_is_shared(sigma: str, weights: str) -> None:
    own = {"sigma": sigma, "weights": weights}
    for first, second in (
        aggregated("orthdrop", (0.6,), **own),
        aggregated("orthdrop", (0.6,), tail="drop", **own),
        aggregated("prism", (0.4, 0.4), [[0, 3], [1, 4]], **own),
        aggregated("prism", (0.6, 0.4), [[1, 2, 4], [0, 3]], **own),
    ):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    apart = aggregated("prism", (0.4, 0.4), [[0, 3], [3, 4]], **own)
    assert not torch.allclose(*apart, rtol=0, atol=1e-3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("name", "own"), [*METHODS[:2], ("collective", {})])
def test_clients_that_do_nothing_leave_the_server_as_it_is(name: str, own: dict[str, Any], task: str) -> None:
    method, server, before = setup(name, small_task(task), aggregate="product", **own)
    after = values_of(method.aggregate(server, trained(method, server, noise=0.0), STREAMS).model)
    for parameter, value in before.items():
        torch.testing.assert_close(after[parameter], value, rtol=1e-5, atol=1e-5)


ERROR_METHODS: list[tuple[str, dict[str, Any]]] = [
    ("orthdrop", {}),
    ("prism", {}),
    ("prism", {"multipliers": "scaled", "sigma": "absorbed"}),
    ("prism", {"multipliers": "wallenius", "weights": "samples"}),
    ("prism", {"u_rows": 0.5}),
    ("unbiased", {}),
    ("collective", {"weights": "uniform", "sigma": "frozen"}),
]


@pytest.mark.parametrize("aggregate", ["factors", "product"])
@pytest.mark.parametrize(("name", "own"), ERROR_METHODS)
def test_errors_are_the_norms_of_matrices_multiplied_out(name: str, own: dict[str, Any], aggregate: str) -> None:
    method, server = toy(name, aggregate=aggregate, **own)
    weight = server.model.get_parameter(WEIGHT).detach().numpy().copy()
    selections = draw(method, server, (0.4, 0.8, 0.4))
    approximations = [sub_weight(method, server, selection) for selection in selections]
    updates = [update_of(method, server, selection, 0.3) for selection in selections]
    errors = method.errors(server, selections, updates)[WEIGHT]
    means = {}
    for products in (False, True):
        other, twin = toy(name, aggregate="product" if products else "factors", **own)
        means[products] = other.aggregate(twin, updates, STREAMS).model.get_parameter(WEIGHT).detach().numpy()
    assert errors["weight_norm2"] == pytest.approx((weight**2).sum())
    assert errors["submodel_error"] == pytest.approx(np.mean([((weight - x) ** 2).sum() for x in approximations]))
    assert errors["cohort_error"] == pytest.approx(((weight - np.mean(approximations, 0)) ** 2).sum())
    assert errors["aggregation_error"] == pytest.approx(((means[True] - means[False]) ** 2).sum())
    assert errors["update_norm2"] == pytest.approx(((means[True] - weight) ** 2).sum())
    assert min(errors.values()) > 1e-4


@pytest.mark.parametrize("name", TASKS)
def test_errors_of_every_model_are_measured_in_double_precision(name: str) -> None:
    """Against the loop over kernels: an aggregation error is the small difference of two nearly equal matrices."""
    method, server, before = setup("prism", small_task(name))
    selections = selections_of(method, server, cohort_of(0.5, 0.5, 0.5))
    updates = [update_of(method, server, selection, 1e-3) for selection in selections]
    together, apart = (
        kernel_means(server, updates, "frozen", [1, 1, 1], products=products) for products in (True, False)
    )
    for weight, errors in method.errors(server, selections, updates).items():  # type: ignore[attr-defined]
        gap = ((together[weight] - apart[weight]) ** 2).sum()
        assert errors["aggregation_error"] == pytest.approx(gap, rel=1e-6)
        assert errors["weight_norm2"] == pytest.approx(float(matrix(before[weight]).double().square().sum()), rel=1e-5)
        assert 0 < errors["aggregation_error"] < 1e-3 * errors["update_norm2"]


EXPECTED_METHODS: list[tuple[str, dict[str, Any]]] = [
    ("orthdrop", {}),
    ("prism", {}),
    ("prism", {"multipliers": "wallenius"}),
    ("prism", {"sampling": "uniform"}),
    ("unbiased", {}),
    ("unbiased", {"sampler": "systematic"}),
    ("collective", {}),
]


@pytest.mark.parametrize("keeps", [(0.4,), (0.4, 0.4, 0.4), (0.4, 0.8, 0.4, 0.2)], ids=str)
@pytest.mark.parametrize(("name", "own"), EXPECTED_METHODS)
def test_closed_form_errors_are_the_mean_of_measured_ones(
    name: str, own: dict[str, Any], keeps: tuple[float, ...]
) -> None:
    method, server = toy(name, **own)
    values, _ = kernels_of(server.model.get_parameter(WEIGHT).detach().numpy())
    expected: dict[str, float] = {}
    measured = []
    for seed in range(300):
        selections = draw(method, server, keeps, seed)
        expected = expected or method.expected_errors(server, selections)[WEIGHT]
        coefficients = np.zeros((len(keeps), len(values)))
        for client, selection in enumerate(selections):
            kept = selection.indices[WEIGHT].numpy()
            omega = selection.multipliers.get(WEIGHT)
            coefficients[client, kept] = 1.0 if omega is None else omega.numpy()
        # Kernels are orthonormal: a matrix sum_i a_i l_i u_i v_i^T has the squared norm sum_i (a_i l_i)^2.
        measured.append(
            (
                ((1 - coefficients) ** 2 @ values**2).mean(),
                (1 - coefficients.mean(0)) ** 2 @ values**2,
            )
        )
    updates = [update_of(method, server, selection) for selection in selections]
    last = method.errors(server, selections, updates)[WEIGHT]
    assert (last["submodel_error"], last["cohort_error"]) == pytest.approx(measured[-1])
    mean, deviation = np.mean(measured, 0), np.std(measured, 0) / np.sqrt(len(measured))
    for place, kind in enumerate(("submodel_error_expected", "cohort_error_expected")):
        assert abs(expected[kind] - mean[place]) <= 4.5 * deviation[place] + 1e-9, kind


@pytest.mark.parametrize(
    ("name", "own"),
    [("prism", {"multipliers": "scaled"}), ("prism", {"u_rows": 0.4}), ("prism", {"as_released": True})],
)
def test_no_error_is_expected_where_it_does_not_follow_from_the_design(name: str, own: dict[str, Any]) -> None:
    method, server, _ = setup(name, small_task(CNN), **own)
    measures = method.expected_errors(server, selections_of(method, server, cohort_of(0.4, 0.4)))
    assert set(measures["conv2.weight"]) == {"weight_norm2"}


def test_the_expected_errors_have_the_papers_order() -> None:
    """Collective has the least error of the mean, the leading kernels the least of one client."""
    keeps = (0.4, 0.4, 0.4, 0.4)
    found = {}
    for name in ("orthdrop", "prism", "unbiased", "collective"):
        method, server = toy(name)
        found[name] = method.expected_errors(server, draw(method, server, keeps))[WEIGHT]
    cohort = {name: measures["cohort_error_expected"] for name, measures in found.items()}
    single = {name: measures["submodel_error_expected"] for name, measures in found.items()}
    assert min(cohort, key=lambda name: cohort[name]) == "collective"
    assert min(single, key=lambda name: single[name]) == "orthdrop"
    assert single["unbiased"] == pytest.approx(4 * cohort["unbiased"])
