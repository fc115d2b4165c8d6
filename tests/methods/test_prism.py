"""PriSM's samplings, its multipliers after the spectral paper, and its warm-up, against enumeration."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import setup
from helpers import CNN, RESNET, TASKS, cohort_of, federation, run, selections_of, small_task
from toy import SIGMA, WEIGHT, draw, kernels_of, sub_weight, successive_inclusion, toy

from bench.api import Client, Selection
from bench.models.base import matrix
from bench.spectral.decompose import rank_of

KAPPA = 2.0
POWERS = [value**KAPPA for value in SIGMA]
SIGMAS = ("frozen", "absorbed")


def counted(method: Any, server: Any, keeps: tuple[float, ...], draws: int) -> np.ndarray:
    """Return how often each kernel of the toy was drawn by the first client, per draw."""
    counts = np.zeros(len(SIGMA))
    for seed in range(draws):
        counts[draw(method, server, keeps, seed)[0].indices[WEIGHT].numpy()] += 1
    return counts / draws


SAMPLINGS = [
    ("power", POWERS),
    ("uniform", [1.0] * 5),
    ("softmax", [math.exp(value) for value in SIGMA]),
]


@pytest.mark.parametrize(("sampling", "weights"), SAMPLINGS)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_each_sampling_draws_without_replacement_by_its_weights(sampling: str, weights: list[float], size: int) -> None:
    method, server = toy("prism", sampling=sampling, **({"kappa": KAPPA} if sampling == "power" else {}))
    expected = successive_inclusion(weights, size)
    draws = 1000
    shares = counted(method, server, (size / 5,), draws)
    assert (np.abs(shares - expected) <= 4.5 * np.sqrt(expected * (1 - expected) / draws) + 1e-12).all()
    (design,) = method.designs(server, draw(method, server, (size / 5,)))[WEIGHT]
    np.testing.assert_allclose(design.inclusion, expected, atol=1e-9)
    assert design.multipliers is None


@pytest.mark.parametrize("size", [1, 2, 4, 5])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_wallenius_multipliers_are_the_reciprocal_inclusion_probabilities(sigma: str, size: int) -> None:
    method, server = toy("prism", kappa=KAPPA, multipliers="wallenius", sigma=sigma)
    expected = 1 / successive_inclusion(POWERS, size)
    values, kernels = kernels_of(server.model.get_parameter(WEIGHT).detach().numpy())
    for selection in draw(method, server, [size / 5] * 5):
        kept = selection.indices[WEIGHT].tolist()
        np.testing.assert_allclose(selection.multipliers[WEIGHT], expected[kept], rtol=1e-9)
        effective = np.tensordot(expected[kept] * values[kept], kernels[kept], 1)
        np.testing.assert_allclose(sub_weight(method, server, selection), effective, atol=1e-9)


def test_approximate_multipliers_come_from_one_fixed_time() -> None:
    """``pi_i = 1 - exp(-w_i t)`` with the t at which they sum to the size, here by bisection."""
    method, server = toy("prism", kappa=KAPPA, multipliers="wallenius", inclusion="approximate")
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        few = sum(1 - math.exp(-weight * middle) for weight in POWERS) < 2
        low, high = (middle, high) if few else (low, middle)
    expected = np.array([1 / (1 - math.exp(-weight * low)) for weight in POWERS])
    selections = draw(method, server, (0.4, 0.4, 0.4))
    for selection in selections:
        kept = selection.indices[WEIGHT].tolist()
        np.testing.assert_allclose(selection.multipliers[WEIGHT], expected[kept], rtol=1e-8)
    exact, _ = toy("prism", kappa=KAPPA, multipliers="wallenius")
    assert exact.unbiased and not method.unbiased


@pytest.mark.parametrize("size", [1, 2, 3])
def test_wallenius_multipliers_make_the_sub_model_unbiased(size: int) -> None:
    """The mean of the sub-models over all ordered draws is the server's weight."""
    method, server = toy("prism", kappa=KAPPA, multipliers="wallenius")
    (selection,) = draw(method, server, (size / 5,))
    (design,) = method.designs(server, [selection])[WEIGHT]
    mean, total = np.zeros((6, 5)), 0.0
    for order in itertools.permutations(range(5), size):
        probability, left = 1.0, sum(POWERS)
        for kernel in order:
            probability *= POWERS[kernel] / left
            left -= POWERS[kernel]
        kept = np.sort(order)
        omega = torch.from_numpy(method.multipliers(np.array(SIGMA), design, kept))
        drawn = Selection(Client(0, 1, size / 5), {WEIGHT: torch.from_numpy(kept)}, {WEIGHT: omega})
        mean += probability * sub_weight(method, server, drawn)
        total += probability
    assert total == pytest.approx(1)
    np.testing.assert_allclose(mean, server.model.get_parameter(WEIGHT).detach().numpy(), atol=1e-8)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_scaled_sub_models_keep_the_norm_of_the_layer(sigma: str) -> None:
    method, server = toy("prism", kappa=KAPPA, multipliers="scaled", sigma=sigma)
    norm = np.linalg.norm(server.model.get_parameter(WEIGHT).detach().numpy())
    factors = set()
    for keep in (0.2, 0.4, 0.8, 1.0):
        for selection in draw(method, server, [keep] * 3):
            omega = selection.multipliers[WEIGHT]
            assert len(set(omega.tolist())) == 1
            factors.add(round(omega[0].item(), 9))
            assert np.linalg.norm(sub_weight(method, server, selection)) == pytest.approx(norm, rel=1e-12)
    assert len(factors) > 3 and min(factors) == 1.0
    assert not method.unbiased


@pytest.mark.parametrize("task", TASKS)
def test_scaled_layers_of_every_model_keep_their_norm(task: str) -> None:
    method, server, before = setup("prism", small_task(task), multipliers="scaled")
    for selection in selections_of(method, server, cohort_of(0.2, 0.6)):
        for name in server.spectra:
            product = method.factors(server, selection, name).product()
            assert float(product.norm()) == pytest.approx(float(matrix(before[name]).norm()), rel=1e-5)


def test_warm_up_takes_the_leading_kernels_and_then_draws() -> None:
    method, server, _ = setup("prism", small_task(RESNET), warmup_rounds=2, multipliers="wallenius")
    assert not method.unbiased
    for number in (1, 2, 3):
        cohort = cohort_of(0.4, 0.4, round_number=number)
        selections = selections_of(method, server, cohort)
        leading = [
            kept.tolist() == list(range(rank_of(0.4, server.spectra[name].kernels)))
            for selection in selections
            for name, kept in selection.indices.items()
        ]
        assert all(leading) == (number <= 2)
        assert all(bool(selection.multipliers) == (number > 2) for selection in selections)
        server.designs.clear()


def test_a_run_within_its_warm_up_is_orthdrops() -> None:
    (rounds, expected), (others, after) = (
        run(federation(method, CNN, keep=0.3, parameters=parameters))
        for method, parameters in (("orthdrop", {}), ("prism", {"warmup_rounds": 2}))
    )
    assert all(torch.equal(after[name], value) for name, value in expected.items())
    assert [this.score for this in rounds] == [this.score for this in others]
    assert others[-1].layers["conv2.weight"]["anme"] == 0


def test_a_run_after_its_warm_up_draws() -> None:
    rounds, _ = run(federation("prism", CNN, keep=0.3, parameters={"warmup_rounds": 1}))
    first, second = (this.layers["conv2.weight"] for this in rounds[1:])
    assert first["anme"] == 0 < second["anme"]
    assert first["coverage"] == first["coverage_expected"] == 20 / 64 < second["coverage"]
