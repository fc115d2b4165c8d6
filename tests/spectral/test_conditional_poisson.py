"""Conditional Poisson sampling against the enumeration of all sets."""

from __future__ import annotations

import numpy as np
import pytest
from enumeration import (
    assert_drawn_with,
    assert_sets_drawn_with,
    brewer,
    entropy_of,
    inclusion_of,
    products,
    successive,
)
from hard_spectra import JUMPS, probabilities
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, gammaln

from bench.seeding import stream
from bench.spectral import conditional_poisson
from bench.spectral.conditional_poisson import ConditionalPoisson, working_weights
from bench.spectral.inclusion import collective_inclusion, split, unbiased_inclusion

WEIGHTS = [
    [1.0, 1.0],
    [1.0, 1.0, 1.0],
    [8.0, 4.0, 2.0, 1.0],
    [5.0, 5.0, 1.0, 1.0, 0.2],
    [1e5, 1.0, 1.0, 1.0, 1e-5],
    [30.0, 6.0, 3.0, 2.0, 1.0, 0.5, 0.1],
    [1e6, 1e6, 0.9, 0.8, 0.7, 1e-6, 1e-6],
]
CASES = [(weights, size) for weights in WEIGHTS for size in range(1, len(weights))]


@pytest.mark.parametrize(("weights", "size"), CASES)
def test_probabilities_of_given_weights_are_those_of_full_enumeration(weights: list[float], size: int) -> None:
    expected = inclusion_of(products(weights, size), len(weights))
    np.testing.assert_allclose(conditional_poisson.inclusion_of(np.log(weights), size), expected, rtol=1e-11)
    everything = conditional_poisson.inclusion_of(np.log(weights), len(weights))
    np.testing.assert_allclose(everything, 1, rtol=1e-12)


@pytest.mark.parametrize(("weights", "size"), CASES)
def test_the_weights_are_found_again_from_their_probabilities(weights: list[float], size: int) -> None:
    logs = np.log(weights) - np.log(weights).mean()
    inclusion = inclusion_of(products(weights, size), len(weights))
    loose = (inclusion > 1e-4) & (inclusion < 1 - 1e-4)  # beyond, probabilities hardly tell weights apart
    found = working_weights(inclusion, size)
    if loose.any():
        np.testing.assert_allclose((found - found[loose][0])[loose], (logs - logs[loose][0])[loose], atol=1e-7)
    again = inclusion_of(products(np.exp(found).tolist(), size), len(weights))
    np.testing.assert_allclose(again, inclusion, rtol=1e-9, atol=2e-13)


INCLUSION = [
    [0.5, 0.5],
    [0.9, 0.6, 0.4, 0.1],
    [0.7, 0.7, 0.2, 0.2, 0.2],
    [1.0, 0.9, 0.8, 0.2, 0.1, 0.0],
    [0.99, 0.95, 0.5, 0.3, 0.2, 0.05, 0.01],
]


@pytest.mark.parametrize("inclusion", INCLUSION)
def test_sets_are_drawn_with_probabilities_proportional_to_products(inclusion: list[float]) -> None:
    parts = split(np.array(inclusion))
    weights = np.exp(working_weights(parts.inclusion, parts.size))
    law = {
        frozenset(parts.sure.tolist()) | {int(parts.open[unit]) for unit in chosen}: p
        for chosen, p in products(weights.tolist(), parts.size).items()
    }
    np.testing.assert_allclose(inclusion_of(law, len(inclusion)), inclusion, rtol=1e-9)
    design, rng = ConditionalPoisson(np.array(inclusion)), stream(0, "test")
    assert_sets_drawn_with(lambda: design.draw(rng), law, 10_000)


@pytest.mark.parametrize("inclusion", INCLUSION[1:3])
def test_no_other_law_has_more_entropy(inclusion: list[float]) -> None:
    size = round(sum(inclusion))
    ours = entropy_of(products(np.exp(working_weights(np.array(inclusion), size)).tolist(), size))
    assert ours > entropy_of(brewer(inclusion)) + 1e-6
    weights = [4.0, 3.0, 2.0, 1.0, 0.5]
    theirs = successive(weights, 2)
    same = working_weights(inclusion_of(theirs, 5), 2)
    assert entropy_of(products(np.exp(same).tolist(), 2)) > entropy_of(theirs) + 1e-6


def spectrum(units: int, spread: float = 0.7) -> np.ndarray:
    return np.sort(np.exp(spread * np.random.default_rng(units).standard_normal(units)))[::-1]


@pytest.mark.parametrize(("units", "size"), [(64, 13), (256, 205), (512, 103)])
def test_units_are_drawn_with_the_probabilities_asked_for(units: int, size: int) -> None:
    for inclusion in (unbiased_inclusion(spectrum(units), size), collective_inclusion(spectrum(units), size, 10)):
        design, rng = ConditionalPoisson(inclusion), stream(0, "test")
        assert_drawn_with(lambda draw=design.draw, rng=rng: draw(rng), inclusion, 2000)


def test_probabilities_next_to_zero_and_one_are_fitted() -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        units = int(rng.integers(2, 30))
        spread = rng.choice([0.3, 1.0, 4.0, 12.0])
        inclusion = unbiased_inclusion(
            np.sort(np.exp(spread * rng.standard_normal(units))), int(rng.integers(1, units))
        )
        parts = split(inclusion)
        if parts.size:
            fitted = conditional_poisson.inclusion_of(working_weights(parts.inclusion, parts.size), parts.size)
            np.testing.assert_allclose(fitted, parts.inclusion, rtol=1.01e-10, atol=1.01e-13)


def test_laws_without_chance_are_drawn() -> None:
    rng = stream(0, "test")
    for inclusion, drawn in (([1.0, 0.0, 1.0], [0, 2]), ([1.0] * 3, [0, 1, 2]), ([0.0] * 3, [])):
        chosen = ConditionalPoisson(np.array(inclusion)).draw(rng)
        assert chosen.tolist() == drawn and chosen.dtype == np.int64


@given(
    odds=st.lists(st.floats(-30, 30), min_size=1, max_size=20),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_a_draw_has_the_size_and_keeps_to_what_is_possible(odds: list[float], share: float, seed: int) -> None:
    size = max(1, round(share * len(odds)))
    inclusion = unbiased_inclusion(expit(np.array(odds)), size)
    drawn = ConditionalPoisson(inclusion).draw(np.random.default_rng(seed))
    assert len(drawn) == size and (np.diff(drawn) > 0).all()
    assert set(np.flatnonzero(inclusion == 1)) <= set(drawn.tolist()) <= set(np.flatnonzero(inclusion > 0))


def two_groups(units: int, ratio: float) -> float:
    """Return the probability of a unit of weight ``ratio`` where half of ``2 units`` units are drawn, the others' 1.

    In logarithms: ``k`` of those units with as many missing of the others have ``C(units, k)^2 ratio^k`` sets.
    """
    k = np.arange(units + 1)
    logs = 2 * (gammaln(units + 1) - gammaln(k + 1) - gammaln(units - k + 1)) + k * np.log(ratio)
    law = np.exp(logs - logs.max())
    return float(law @ k / law.sum() / units)


@pytest.mark.parametrize("jump", JUMPS[:3])
@pytest.mark.parametrize("units", [3, 16, 64])
def test_a_layer_of_nearly_half_its_rank_has_the_weights_of_its_closed_form(units: int, jump: float) -> None:
    """Nearly sure units against nearly impossible ones: whole steps swing about the weights and never reach them."""
    inclusion = unbiased_inclusion(np.repeat([1.0, jump], units), units)
    found = working_weights(inclusion, units)
    expected = brentq(lambda log: np.log(two_groups(units, np.exp(log)) / inclusion[-1]), -80, 0, xtol=1e-13)
    # Probabilities are fitted up to 1e-10, and what sure units lack to one is as small as the others' probabilities.
    np.testing.assert_allclose(found[units:, None] - found[:units], expected, atol=3e-10 / inclusion[-1])


@settings(max_examples=100)
@given(inclusion=probabilities())
def test_any_probabilities_that_sum_to_a_whole_number_are_fitted(inclusion: np.ndarray) -> None:
    parts = split(inclusion)
    if parts.size:
        found = working_weights(parts.inclusion, parts.size)
        fitted = conditional_poisson.inclusion_of(found, parts.size)
        np.testing.assert_allclose(fitted, parts.inclusion, rtol=1.01e-10, atol=1.01e-13)
        if len(found) <= 8:
            law = products(np.exp(found - found.max()).tolist(), parts.size)
            np.testing.assert_allclose(inclusion_of(law, len(found)), parts.inclusion, rtol=2e-10, atol=2e-13)
    drawn = ConditionalPoisson(inclusion).draw(np.random.default_rng(0))
    assert len(drawn) == round(inclusion.sum()) and (np.diff(drawn) > 0).all() and inclusion[drawn].min() > 0


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_half_steps_are_taken_only_where_whole_ones_do_not_settle(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    laws = [unbiased_inclusion(spectrum(units, spread), size) for units, size in ((5, 2), (40, 13), (64, 50))]
    ours = [working_weights(parts.inclusion, parts.size) for parts in map(split, laws)]
    monkeypatch.setattr(conditional_poisson, "PATIENCE", 10**9)
    for parts, found in zip(map(split, laws), ours, strict=True):
        assert np.array_equal(working_weights(parts.inclusion, parts.size), found)
