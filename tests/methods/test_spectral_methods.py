"""PriSM and OrthDrop: which kernels clients get, and what decays them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    cohort_of,
    federation,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
)

from bench.api import Server
from bench.models.base import Model
from bench.models.factorise import low_rank_layers


def spectra_of(server: Server) -> dict[str, Any]:
    return server.spectra  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", TASKS)
def test_frozen_singular_values_stand_apart_and_absorbed_ones_are_shared_by_both_factors(name: str) -> None:
    task = small_task(name)
    for sigma in ("frozen", "absorbed"):
        method = method_of("prism", sigma=sigma)
        server = method.setup(initial(task), task)
        (selection,) = selections_of(method, server, cohort_of(0.4))
        for layer_name, layer in low_rank_layers(method.extract(server, selection)).items():
            for weight in layer.factored_weights():
                factors, kept = layer.factors(weight), selection.indices[f"{layer_name}.{weight}"]
                s = torch.linalg.svdvals(server.model.get_parameter(f"{layer_name}.{weight}").flatten(1))[kept]
                lengths = torch.ones_like(s) if sigma == "frozen" else s
                torch.testing.assert_close(factors.u.T @ factors.u, lengths.diag(), rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(factors.v @ factors.v.T, lengths.diag(), rtol=1e-4, atol=1e-5)
                if sigma == "frozen":
                    assert factors.scale is not None
                    torch.testing.assert_close(factors.scale, s, rtol=1e-4, atol=1e-5)
                else:
                    assert factors.scale is None


@pytest.mark.parametrize("name", TASKS)
def test_orthdrop_gives_the_largest_kernels(name: str) -> None:
    task, method = small_task(name), method_of("orthdrop")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    submodel = method.extract(server, selection)
    weights = dict(server.model.named_parameters())
    for name_, layer in low_rank_layers(submodel).items():
        for weight in layer.factored_weights():
            full = weights[f"{name_}.{weight}"].detach().flatten(1)
            product = layer.factors(weight).product().detach()
            # Eckart and Young: no matrix of this rank is nearer to the weight.
            singular = torch.linalg.svdvals(full)
            rank = layer.factors(weight).u.shape[1]
            torch.testing.assert_close((full - product).square().sum(), singular[rank:].square().sum())


def test_prism_draws_anew_for_each_client_layer_and_round() -> None:
    task, method = small_task(RESNET), method_of("prism")
    server = method.setup(initial(task), task)
    first, second = selections_of(method, server, cohort_of(0.4, 0.4))
    (later, _) = selections_of(method, server, cohort_of(0.4, 0.4, round_number=2))
    (again, _) = selections_of(method, server, cohort_of(0.4, 0.4))
    name = "stages.3.1.conv2.weight"
    kernels = [tuple(selection.indices[name].tolist()) for selection in (first, second, later)]
    assert len(set(kernels)) == 3
    assert torch.equal(again.indices[name], first.indices[name])
    assert not torch.equal(first.indices["stages.3.1.conv1.weight"], first.indices[name])


def test_prism_draws_the_first_kernel_with_the_probability_of_equation_2() -> None:
    method = method_of("prism", kappa=3.0)
    method.setup(initial(small_task(CNN)), small_task(CNN))
    sigma = np.array([4.0, 3.0, 2.0, 1.0], dtype=np.float32)
    rng = np.random.default_rng(0)
    draws = [method.choose(sigma, 1, rng)[0] for _ in range(10_000)]  # type: ignore[attr-defined]
    shares = sigma**3 / (sigma**3).sum()
    for kernel, p in enumerate(shares):
        assert abs(np.mean(np.equal(draws, kernel)) - p) < 4.5 * math.sqrt(p * (1 - p) / 10_000)


@pytest.mark.parametrize(("name", "kappa"), [(RESNET, 2.5), (CNN, 2.0), (LSTM, 2.0)])
def test_prism_has_the_papers_smooth_factor(name: str, kappa: float) -> None:
    task = small_task(name)
    for given, expected in ((None, kappa), (0.0, 0.0), (4.0, 4.0)):
        method = method_of("prism", kappa=given)
        method.setup(initial(task), task)
        assert method.kappa == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(("given", "expected"), [(None, 5e-4), (0.0, 0.0), (0.02, 0.02)])
def test_the_penalty_is_half_the_decay_times_the_squared_norm_of_the_products(
    given: float | None, expected: float
) -> None:
    task, method = small_task(RESNET), method_of("prism", frobenius_decay=given)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    spectra = spectra_of(server)
    energy = sum(float((spectra[name].s[kept] ** 2).sum()) for name, kept in selection.indices.items())
    penalty = method.penalty(method.extract(server, selection))
    if expected == 0:
        assert penalty is None
    else:
        assert penalty is not None
        assert penalty.item() == pytest.approx(expected / 2 * energy, rel=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_the_optimiser_decays_everything_but_the_factors_and_their_bias(name: str) -> None:
    task, method = small_task(name), method_of("prism")
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    names = {parameter for parameter, _ in method.extract(server, selection).named_parameters()}
    assert isinstance(server.model, Model)
    factors = {f"{weight}_{side}" for weight in server.model.factorable for side in "uv"}
    biases = {"conv2.bias"} if name == CNN else set()
    assert method.decay_free(method.extract(server, selection)) == factors | biases < names
    assert names - factors == {p for p, _ in server.model.named_parameters()} - set(server.model.factorable)


def test_prism_and_orthdrop_with_all_kernels_are_the_same_run() -> None:
    (_, expected), (_, after) = run(federation("prism", CNN, keep=1.0)), run(federation("orthdrop", CNN, keep=1.0))
    assert all(torch.equal(after[parameter], value) for parameter, value in expected.items())


def test_orthdrop_covers_the_same_kernels_in_every_round() -> None:
    rounds, _ = run(federation("orthdrop", CNN, keep=0.25))
    assert [this.coverage for this in rounds] == [None, 0.25, 0.25]
