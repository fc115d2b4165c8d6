"""Inclusion probabilities against the papers' sweeps, against brute force, and on spectra that are hard."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hard_spectra import SCALES, probabilities, spectra_and_sizes
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from bench.spectral.error import expected_error, expected_mean_error
from bench.spectral.inclusion import (
    NEGLIGIBLE,
    SURE,
    collective_inclusion,
    collective_multipliers,
    horvitz_thompson,
    leading_inclusion,
    split,
    unbiased_inclusion,
    uniform_inclusion,
)

SLACK = 1e-12
"""The papers' inequalities are strict; where two sides are equal, rounding must not decide."""


def algorithm_1(sigma: np.ndarray, n: int) -> np.ndarray:
    """The sweep of Korzhenkov and Louizos' Algorithm 1: t units are sure, the others share n - t."""
    best, least = None, math.inf
    for t in range(n):
        rest = sum(sigma[t:])
        if sigma[t] > rest / (n - t) * (1 + SLACK):
            continue
        pi = np.array([1.0 if i < t else (n - t) * sigma[i] / rest for i in range(len(sigma))])
        objective = sum(s**2 * (1 / p - 1) for s, p in zip(sigma, pi, strict=True))
        if objective < least:
            best, least = pi, objective
    assert best is not None
    return best


def algorithm_2(sigma: np.ndarray, n: int, clients: int) -> tuple[np.ndarray, np.ndarray]:
    """The double sweep of Algorithm 2: t units are sure, u more are drawn at times, the others never."""
    units, root = len(sigma), math.sqrt(clients)
    pi = np.array([1.0 if i < n else 0.0 for i in range(units)])
    omega, least = pi.copy(), -sum(sigma[:n] ** 2)
    for t in range(n):
        for u in range(1, units - t + 1):
            b = root * sum(sigma[t : t + u]) / ((n - t) * (clients - 1) + u)
            if b < sigma[t] / root * (1 - SLACK) or (t > 0 and b > sigma[t - 1] / root * (1 + SLACK)):
                continue
            if b > sigma[t + u - 1] * root * (1 + SLACK):
                continue
            some = sigma[t : t + u]
            objective = -sum(sigma[:t] ** 2) - clients / (clients - 1) * sum(some * (some - b / root))
            if objective < least:
                least = objective
                pi, omega = np.zeros(units), np.zeros(units)
                pi[:t] = omega[:t] = 1
                pi[t : t + u] = (some * root / b - 1) / (clients - 1)
                omega[t : t + u] = root * b / some
    return pi, omega


def spectra() -> list[tuple[np.ndarray, int]]:
    """Random spectra, flat and steep, with and without ties, with every kind of size."""
    rng = np.random.default_rng(0)
    cases = []
    for units, spread in itertools.product((1, 2, 3, 5, 9, 17, 29), (0.2, 1.0, 3.0)):
        sigma = np.exp(spread * rng.standard_normal(units))
        tied = np.round(sigma, 1) + 0.1
        for values, n in itertools.product(
            (sigma, tied), {1, (units + 1) // 2, int(rng.integers(1, units + 1)), units}
        ):
            cases.append((np.sort(values)[::-1], n))
    return cases


SPECTRA = spectra()


def test_unbiased_is_algorithm_1() -> None:
    for sigma, n in SPECTRA:
        np.testing.assert_allclose(unbiased_inclusion(sigma, n), algorithm_1(sigma, n), atol=1e-10)


@pytest.mark.parametrize("clients", [2, 3, 10, 1000])
def test_collective_is_algorithm_2(clients: int) -> None:
    for sigma, n in SPECTRA:
        pi, omega = algorithm_2(sigma, n, clients)
        ours = collective_inclusion(sigma, n, clients)
        np.testing.assert_allclose(ours, pi, atol=1e-10)
        drawn = pi > 1e-9
        np.testing.assert_allclose(collective_multipliers(ours, clients)[drawn], omega[drawn], rtol=1e-7)


def brute_force(sigma: np.ndarray, n: int, clients: int, unbiased: bool) -> float:
    """Return the least error that general-purpose optimisation finds over the probabilities (and multipliers).

    The variables are pi and ``share = omega pi``, in which the error is convex: there are no local minima.
    """
    units = len(sigma)

    def error(x: np.ndarray) -> float:
        pi, share = x[:units], np.ones(units) if unbiased else x[units:]
        mean_square = 1 - 2 * share + share**2 / pi / clients + share**2 * (1 - 1 / clients)
        return float((sigma**2 * mean_square).sum())

    start = np.concatenate([np.full(units, n / units), np.full(0 if unbiased else units, 0.5)])
    result = minimize(
        error,
        start,
        method="SLSQP",
        bounds=[(1e-9, 1)] * units + [(0, None)] * (len(start) - units),
        constraints={"type": "eq", "fun": lambda x: x[:units].sum() - n},
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    assert abs(result.x[:units].sum() - n) < 1e-9
    return float(result.fun)


SMALL = [(np.array([5.0, 2.0, 1.0]), 1), (np.array([3.0, 2.5, 1.0, 0.2]), 2), (np.array([9.0, 2.0, 2.0, 1.0, 0.5]), 3)]


@pytest.mark.parametrize(("sigma", "n"), SMALL)
def test_no_optimiser_finds_better_unbiased_probabilities(sigma: np.ndarray, n: int) -> None:
    pi = unbiased_inclusion(sigma, n)
    assert expected_error(sigma, pi, horvitz_thompson(pi)) == pytest.approx(brute_force(sigma, n, 1, True), rel=1e-6)


@pytest.mark.parametrize("clients", [2, 5])
@pytest.mark.parametrize(("sigma", "n"), SMALL)
def test_no_optimiser_finds_better_collective_laws(sigma: np.ndarray, n: int, clients: int) -> None:
    pi = collective_inclusion(sigma, n, clients)
    ours = expected_mean_error(sigma, [(pi, collective_multipliers(pi, clients))] * clients)
    best = brute_force(sigma, n, clients, False)
    # The optimiser may stop short of the bounds, on some processors by a few millionths; it must not get below.
    assert ours <= best * (1 + 1e-9) and ours == pytest.approx(best, rel=1e-5)


def test_one_client_gets_the_leading_units() -> None:
    for sigma, n in SPECTRA:
        pi = collective_inclusion(sigma, n, 1)
        assert pi.tolist() == leading_inclusion(len(sigma), n).tolist() == [1.0] * n + [0.0] * (len(sigma) - n)
        assert collective_multipliers(pi, 1).tolist() == pi.tolist()


def test_collective_is_never_worse_than_unbiased_and_tends_to_it() -> None:
    for sigma, n in SPECTRA:
        pi = unbiased_inclusion(sigma, n)
        for clients in (1, 2, 10, 100_000):
            unbiased = expected_mean_error(sigma, [(pi, horvitz_thompson(pi))]) / clients
            ours = collective_inclusion(sigma, n, clients)
            omega = collective_multipliers(ours, clients)
            bias, variance = (1 - omega * ours) ** 2, omega**2 * ours * (1 - ours)
            collective = float((sigma**2 * (bias + variance / clients)).sum())
            assert collective <= unbiased * (1 + 1e-9) + 1e-12 * sigma[0] ** 2
        # With very many clients the errors, both of order 1 / C, are the same.
        assert collective == pytest.approx(unbiased, rel=0.02, abs=1e-12 * sigma[0] ** 2)


def test_uniform_and_leading() -> None:
    assert uniform_inclusion(8, 2).tolist() == [0.25] * 8
    assert leading_inclusion(4, 3).tolist() == [1, 1, 1, 0]


def test_multipliers_of_units_never_drawn_are_zero() -> None:
    pi = np.array([1.0, 0.5, 0.0])
    assert horvitz_thompson(pi).tolist() == [1, 2, 0]
    np.testing.assert_allclose(collective_multipliers(pi, 10), [1, 10 / 5.5, 0])


def laws(sigma: np.ndarray, size: int) -> list[np.ndarray]:
    return [unbiased_inclusion(sigma, size), *(collective_inclusion(sigma, size, c) for c in (2, 10, 10**6))]


HARD = [
    np.logspace(3, -12, 64),
    np.array([1e3] * 3 + [1e-12] * 61),
    np.array([1e3, *np.zeros(63)]),
    np.zeros(64),
    np.ones(64),
    np.full(64, 1e-300),
    np.array([1e300, 1.0, *[1e-300] * 62]),
    np.array([1.0, *[5e-324] * 63]),
    np.logspace(3, -12, 64).astype(np.float32),
]


@pytest.mark.parametrize("sigma", HARD, ids=range(len(HARD)))
@pytest.mark.parametrize("size", [1, 2, 13, 63, 64])
def test_hard_spectra_have_finite_laws(sigma: np.ndarray, size: int) -> None:
    for pi in laws(sigma, size):
        assert pi.dtype == np.float64
        assert ((pi >= 0) & (pi <= 1)).all() and pi.sum() == pytest.approx(size, rel=1e-12)
        assert np.isfinite(horvitz_thompson(pi)).all() and np.isfinite(collective_multipliers(pi, 10)).all()


def test_zeros_share_what_the_other_units_leave() -> None:
    sigma = np.array([4.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    for pi in laws(sigma, 3):
        assert pi.tolist() == [1, 1, 0.25, 0.25, 0.25, 0.25]
    for pi in laws(sigma, 2):
        assert pi.tolist() == [1, 1, 0, 0, 0, 0]
    nearly = laws(np.maximum(sigma, 1e-13), 3)
    np.testing.assert_allclose(nearly, laws(sigma, 3), atol=1e-9)
    assert (unbiased_inclusion(np.zeros(8), 2) == 0.25).all()


@st.composite
def spectrum_and_size(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    values = st.one_of(st.floats(1e-12, 1e3), st.sampled_from([0.0, 1.0, 2.0]))
    sigma = np.array(sorted(draw(st.lists(values, min_size=1, max_size=40)), reverse=True))
    return sigma, draw(st.integers(1, len(sigma)))


@given(case=spectrum_and_size(), clients=st.integers(2, 1000))
def test_laws_have_their_size_are_monotone_and_know_no_scale(case: tuple[np.ndarray, int], clients: int) -> None:
    sigma, size = case
    for law in (
        lambda values: unbiased_inclusion(values, size),
        lambda values: collective_inclusion(values, size, clients),
    ):
        pi = law(sigma)
        assert pi.sum() == pytest.approx(size, rel=1e-12)
        assert ((pi >= 0) & (pi <= 1)).all() and (np.diff(pi) <= 0).all()
        np.testing.assert_allclose(law(sigma * 1e5), pi, atol=1e-9)
        for first, second in itertools.pairwise(range(len(sigma))):
            assert sigma[first] != sigma[second] or pi[first] == pi[second]


@pytest.mark.parametrize("size", [0, 5])
def test_sizes_that_cannot_be_drawn_are_refused(size: int) -> None:
    for law in (
        lambda: uniform_inclusion(4, size),
        lambda: leading_inclusion(4, size),
        lambda: unbiased_inclusion(np.ones(4), size),
        lambda: collective_inclusion(np.ones(4), size, 3),
    ):
        with pytest.raises(ValueError, match=f"is {size}, but must be 1 to 4"):
            law()
    with pytest.raises(ValueError, match="number of clients is 0"):
        collective_inclusion(np.ones(4), 2, 0)


def test_split_puts_aside_what_is_not_left_to_chance_and_mends_rounding() -> None:
    off = 1e-13
    sure, open_, pi, size = split(np.array([0.0, 1 - off, 0.5, 1.0, 0.3 + off, 0.2, off]))
    assert sure.tolist() == [1, 3] and open_.tolist() == [2, 4, 5, 6] and size == 1
    assert pi.sum() == pytest.approx(1, abs=1e-16) and pi == pytest.approx([0.5, 0.3, 0.2, off], rel=1e-3)
    assert split(np.array([1.0, 1.0, 1e-17])).sure.tolist() == [0, 1]
    assert split(np.array([1.0, 1 - 3e-12])).sure.tolist() == [0, 1]


@pytest.mark.parametrize("inclusion", [[0.5, 0.6], [1.5, 0.5], [-0.1, 1.1], [math.nan, 1.0]])
def test_split_refuses_what_are_no_probabilities_of_a_fixed_size(inclusion: list[float]) -> None:
    with pytest.raises(ValueError, match="sum to a whole number"):
        split(np.array(inclusion))


def exact_law(sigma: np.ndarray, size: int, floor: int, span: int) -> list[float]:
    """Return ``clip((c sigma - floor) / span, 0, 1)`` that sums to ``size`` in fractions: c by trying its corners."""
    values = [Fraction(value) for value in sigma.tolist()]
    positive = [value for value in values if value]
    if len(positive) <= size:
        share = Fraction(size - len(positive), max(len(values) - len(positive), 1))
        return [float(1 if value else share) for value in values]

    def filled(level: Fraction) -> list[Fraction]:
        return [min(max((level * value - floor) / span, Fraction(0)), Fraction(1)) for value in values]

    corners = sorted({Fraction(corner) / value for value in positive for corner in (floor, floor + span)})
    above = next(place for place, level in enumerate(corners) if sum(filled(level)) >= size)
    low, high = corners[above - 1] if above else Fraction(0), corners[above]
    short, enough = sum(filled(low)), sum(filled(high))
    return [float(pi) for pi in filled(low + (size - short) / (enough - short) * (high - low))]


@given(case=spectra_and_sizes(most=12), clients=st.sampled_from([2, 10, 1000]))
def test_hard_spectra_have_the_laws_of_exact_arithmetic(case: tuple[np.ndarray, int], clients: int) -> None:
    sigma, size = case
    for ours, expected in (
        (unbiased_inclusion(sigma, size), exact_law(sigma, size, 0, 1)),
        (collective_inclusion(sigma, size, clients), exact_law(sigma, size, 1, clients - 1)),
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-13, atol=1e-12)
        assert ours.sum() == pytest.approx(size, rel=1e-13)
        drawn = ours > NEGLIGIBLE
        np.testing.assert_allclose((horvitz_thompson(ours) * ours)[drawn], 1, rtol=1e-15)  # unbiased
        assert np.isfinite(expected_error(sigma, ours, horvitz_thompson(ours)))


@given(inclusion=probabilities())
def test_what_is_put_aside_moves_no_probability_by_more_than_the_stated_bound(inclusion: np.ndarray) -> None:
    sure, open_, pi, size = split(inclusion)
    moved = np.zeros(len(inclusion))
    moved[sure], moved[open_] = 1.0, pi
    assert size == 0 or (pi.min() > 0 and pi.max() < 1 and pi.sum() == pytest.approx(size, rel=1e-15 * len(pi)))
    off = abs(inclusion.sum() - round(inclusion.sum()))
    lacked = (1 - inclusion[inclusion >= 1 - SURE]).sum()
    assert np.abs(moved - inclusion).max() <= 4 * (lacked + off) + 1e-15 * len(inclusion)
    assert lacked <= SURE * len(inclusion)


def test_units_too_close_to_zero_and_one_to_make_up_for_the_others_are_not_left_to_chance() -> None:
    sure = np.full(1000, 1 - 0.9 * SURE)  # together they lack 9e-10, which two units cannot give up
    for rest in ([1 - 1e-11, 1e-11 + 9e-10], [1 - 1e-10, 1e-10 + 9e-10]):
        sets = split(np.concatenate([sure, rest]))
        assert sets.size == 0 and sets.sure.tolist() == [*range(1001)]
    open_ = split(np.concatenate([sure, [0.6, 0.4 + 9e-10]]))
    assert open_.size == 1 and open_.inclusion == pytest.approx([0.6, 0.4], abs=1e-9)


def test_no_multiplier_overflows_nor_its_square() -> None:
    pi = np.array([1.0, 1e-149, 1e-151, 5e-324, 0.0])
    assert horvitz_thompson(pi).tolist() == [1, 1e149, 0, 0, 0]
    assert np.isfinite(expected_mean_error(np.ones(5), [(pi, horvitz_thompson(pi))] * 3))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_spectra_that_are_not_finite_are_refused_in_a_sentence(bad: float, scale: float) -> None:
    for law in (
        lambda: unbiased_inclusion(np.array([bad, scale, 0.0]), 2),
        lambda: collective_inclusion(np.array([bad, scale, 0.0]), 2, 3),
    ):
        with pytest.raises(ValueError, match="a spectrum has values that are not finite"):
            law()
