"""The probabilities of drawing one unit after the other: exact ones, and how far the usual approximation is off."""

from __future__ import annotations

import math

import numpy as np
import pytest
from enumeration import assert_drawn_with, inclusion_of, successive
from hard_spectra import spectra_and_sizes
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from bench.seeding import stream
from bench.spectral import sequential
from bench.spectral.sampling import log_powers, sequential_sample
from bench.spectral.sequential import approximate_sequential_inclusion, sequential_inclusion

WEIGHTS = [
    [1.0, 1.0, 1.0],
    [8.0, 4.0, 2.0, 1.0],
    [5.0, 5.0, 1.0, 1.0, 0.2],
    [30.0, 6.0, 3.0, 2.0, 1.0, 0.5],
    [1e6, 1e3, 1.0, 1e-3, 1e-6],
    [1e9, 1e9, 3.0, 2.0, 1.0, 1e-9],
    [1e3, 1.1, 1.0, 1.0, 0.9, 0.8, 0.1],
]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_exact_probabilities_are_those_of_full_enumeration(weights: list[float]) -> None:
    for size in range(1, len(weights) + 1):
        expected = inclusion_of(successive(weights, size), len(weights))
        np.testing.assert_allclose(sequential_inclusion(np.log(weights), size), expected, rtol=1e-9, atol=1e-14)


def lognormal(units: int, spread: float, kappa: float) -> np.ndarray:
    """Return log weights of a lognormal spectrum, at its quantiles so that no draw is involved, descending."""
    return kappa * spread * stats.norm.isf((np.arange(units) + 0.5) / units)


@pytest.mark.parametrize(
    ("units", "size", "kappa"), [(64, 13, 4.0), (128, 52, 2.5), (512, 103, 4.0), (512, 410, 2.5), (512, 1, 40.0)]
)
def test_exact_probabilities_are_the_frequencies_of_draws(units: int, size: int, kappa: float) -> None:
    logs = lognormal(units, 0.4, kappa)
    rng = stream(0, "test")
    assert_drawn_with(lambda: sequential_sample(logs, size, rng), sequential_inclusion(logs, size), 4000)


def test_exact_probabilities_are_those_of_adaptive_quadrature() -> None:
    """A second way for sizes beyond enumeration: scipy's integrator over the law of the others' count by FFT."""
    weights, size = np.exp(lognormal(40, 0.4, 4.0)), 9
    roots = np.exp(-2j * np.pi * np.arange(40) / 40)

    def density(time: float, unit: int) -> float:
        rung = -np.expm1(-np.delete(weights, unit) * time)
        counts = np.fft.ifft(np.prod(1 - rung[:, None] + rung[:, None] * roots, axis=0)).real
        return float(weights[unit] * math.exp(-weights[unit] * time) * counts[:size].sum())

    exact = sequential_inclusion(np.log(weights), size)
    for unit in (0, 5, 20, 39):
        value, _ = integrate.quad(density, 0, np.inf, args=(unit,), epsabs=1e-12, limit=200)
        assert exact[unit] == pytest.approx(value, abs=1e-9)


SPANS = [
    np.linspace(300, -300, 50),
    np.linspace(600, -600, 513),
    np.r_[np.full(20, 690.0), np.zeros(10), np.full(20, -690.0)],
    np.r_[np.zeros(25), np.full(25, -1e-9)],
    -5.0 * np.arange(50),
]


@pytest.mark.parametrize("logs", SPANS, ids=range(len(SPANS)))
@pytest.mark.parametrize("size", [1, 19, 20, 25, 30, 49, 50])
def test_weights_of_any_span_have_probabilities_that_sum_to_the_size(logs: np.ndarray, size: int) -> None:
    for inclusion in (sequential_inclusion(logs, size), approximate_sequential_inclusion(logs, size)):
        assert inclusion.sum() == pytest.approx(size, rel=1e-11)
        assert ((inclusion >= 0) & (inclusion <= 1)).all() and (np.diff(inclusion) <= 1e-13).all()


def test_groups_far_apart_are_drawn_one_group_after_the_other() -> None:
    exact = sequential_inclusion(SPANS[2], 25)
    np.testing.assert_allclose(exact, [1.0] * 20 + [0.5] * 10 + [0.0] * 20, atol=1e-12)


HARD = [
    (lognormal(512, 0.4, 4.0), 103),
    (lognormal(256, 0.4, 2.5), 205),
    (lognormal(300, 1.5, 2.5), 60),
    (-5.0 * np.linspace(0, 3, 400), 80),
    (np.zeros(128), 127),
    (np.zeros(64), 32),
    (np.r_[np.full(102, 300.0), np.zeros(98)], 103),
    (-2.0 * np.arange(200), 103),
    (np.array([7.0, 0.0, -1.0]), 2),
]


def test_more_nodes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = [sequential_inclusion(logs, size) for logs, size in HARD]
    monkeypatch.setattr(sequential, "_node_count", lambda *_: 320)
    for (logs, size), inclusion in zip(HARD, ours, strict=True):
        np.testing.assert_allclose(inclusion, sequential_inclusion(logs, size), atol=1e-13)


@pytest.mark.parametrize(("logs", "size"), HARD)
def test_outside_the_window_of_times_everything_is_certain(logs: np.ndarray, size: int) -> None:
    low, high, _ = sequential._window(logs, size)
    assert number_law(logs + low)[size + 1 :].sum() <= 1e-14
    assert number_law(logs + high)[:size].sum() <= 1e-14


def number_law(log_rates: np.ndarray) -> np.ndarray:
    """Return the law of the number of units that have rung, by adding one unit after the other."""
    law = np.ones(1)
    for chance in -np.expm1(-np.exp(np.minimum(log_rates, 700.0))):
        law = np.convolve(law, [1 - chance, chance])
    return law


@pytest.mark.parametrize("mean", [0.0, 1.0, 6.5, 12.0, 20.0])
def test_tails_are_bounded_by_those_of_a_binomial_law_and_reach_it(mean: float) -> None:
    law = stats.binom(20, mean / 20)
    for count in range(21):
        bound = float(np.exp(sequential._log_tail(count, np.array(mean), 20)))
        tail = law.sf(count - 1) if count >= mean else law.cdf(count)
        assert tail <= bound * (1 + 1e-12) and (bound <= 8 * tail or bound < 1e-300)


def test_blocks_of_nodes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = lognormal(64, 0.4, 4.0)
    whole = sequential_inclusion(logs, 13)
    monkeypatch.setattr(sequential, "BLOCK", 64 * 13 * 5)
    np.testing.assert_allclose(sequential_inclusion(logs, 13), whole, rtol=1e-14)


@pytest.mark.parametrize("inclusion_of_", [sequential_inclusion, approximate_sequential_inclusion])
def test_units_of_weight_zero_come_last_in_order(inclusion_of_: object) -> None:
    assert callable(inclusion_of_)
    logs = log_powers(np.array([3.0, 0.0, 2.0, 1.0, 0.0]), 2.0)
    inclusion = inclusion_of_(logs, 2)
    assert inclusion[1] == inclusion[4] == 0 and inclusion.sum() == pytest.approx(2)
    np.testing.assert_allclose(inclusion[[0, 2, 3]], inclusion_of_(logs[[0, 2, 3]], 2))
    assert inclusion_of_(logs, 3).tolist() == [1, 0, 1, 1, 0]
    assert inclusion_of_(logs, 4).tolist() == [1, 1, 1, 1, 0]
    assert inclusion_of_(logs, 5).tolist() == [1] * 5
    assert inclusion_of_(np.full(3, -np.inf), 2).tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="is 6, but must be 1 to 5"):
        inclusion_of_(logs, 6)


def errors(logs: np.ndarray, size: int) -> tuple[float, float]:
    exact, approximate = sequential_inclusion(logs, size), approximate_sequential_inclusion(logs, size)
    return float(np.abs(approximate - exact).max()), float(np.abs(approximate / exact - 1).max())


def test_the_approximations_error_is_the_documented_one() -> None:
    """Measured with the paper's kappa over keep ratios 0.1 to 0.8, for spectra as wide as a trained layer's."""

    def largest(units: tuple[int, ...]) -> tuple[float, float]:
        keeps = ((0.1, 4.0), (0.2, 4.0), (0.4, 2.5), (0.6, 2.5), (0.8, 2.5))
        found = [errors(lognormal(n, 0.4, kappa), math.ceil(keep * n)) for n in units for keep, kappa in keeps]
        return max(a for a, _ in found), max(r for _, r in found)

    assert largest((64, 128, 256)) == pytest.approx((0.008, 0.020), rel=0.05)
    assert errors(lognormal(512, 0.4, 4.0), 103) == pytest.approx((0.0009, 0.002), rel=0.05)
    assert largest((6,)) == pytest.approx((0.07, 0.29), rel=0.05)


def test_the_approximation_is_exact_for_equal_weights() -> None:
    for units, size in ((4, 1), (64, 13), (64, 64)):
        np.testing.assert_allclose(approximate_sequential_inclusion(np.full(units, -3.0), size), size / units)


@given(
    sigma=st.lists(st.one_of(st.floats(1e-12, 1e3), st.just(0.0)), min_size=1, max_size=25),
    kappa=st.floats(0, 6),
    share=st.floats(0, 1),
)
def test_probabilities_sum_to_the_size_grow_with_sigma_and_know_no_scale(
    sigma: list[float], kappa: float, share: float
) -> None:
    ordered = np.array(sorted(sigma, reverse=True))
    size = max(1, round(share * len(ordered)))
    inclusion = sequential_inclusion(log_powers(ordered, kappa), size)
    assert inclusion.sum() == pytest.approx(size, rel=1e-11)
    assert ((inclusion >= 0) & (inclusion <= 1)).all() and (np.diff(inclusion) <= 1e-12).all()
    np.testing.assert_allclose(sequential_inclusion(log_powers(ordered * 1e3, kappa), size), inclusion, atol=1e-11)


@given(case=spectra_and_sizes(), kappa=st.sampled_from([0.5, 2.5, 20.0]))
def test_hard_spectra_have_probabilities_whatever_their_scale(case: tuple[np.ndarray, int], kappa: float) -> None:
    sigma, size = case
    logs = log_powers(sigma, kappa)
    for law in (sequential_inclusion, approximate_sequential_inclusion):
        inclusion = law(logs, size)
        assert inclusion.sum() == pytest.approx(size, rel=1e-11)
        assert ((inclusion >= 0) & (inclusion <= 1)).all() and (np.diff(inclusion) <= 1e-12).all()
        np.testing.assert_allclose(law(log_powers(sigma * 1e-30, kappa), size), inclusion, atol=1e-10)
    if len(sigma) <= 6:
        weights = np.exp(np.maximum(logs - logs.max(), -200)) if logs.max() > -np.inf else np.zeros(len(sigma))
        positive = logs > -np.inf
        if size <= positive.sum():
            expected = np.zeros(len(sigma))
            expected[positive] = inclusion_of(successive(weights[positive].tolist(), size), int(positive.sum()))
            np.testing.assert_allclose(sequential_inclusion(logs, size), expected, atol=1e-12)


def test_softmax_weights_of_a_large_scale_have_their_probabilities() -> None:
    for law in (sequential_inclusion, approximate_sequential_inclusion):
        np.testing.assert_allclose(law(np.full(6, 1e30), 2), 1 / 3)
        np.testing.assert_allclose(
            law(np.array([1e30, 1e17, 1e17, 1e17, 0.0]), 3), [1, 2 / 3, 2 / 3, 2 / 3, 0], atol=1e-14
        )
        with pytest.raises(ValueError, match="must be finite; some are infinite or not a number"):
            law(np.array([np.nan, 0.0]), 1)
    logs = np.array([3.0, 2.0, 0.0, -1.0])
    np.testing.assert_allclose(sequential_inclusion(logs + 2.0**40, 2), sequential_inclusion(logs, 2), rtol=1e-12)
