"""Designs draw what they say; errors and diversity follow from their probabilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from enumeration import Law, assert_drawn_with, brewer, inclusion_of, products, subsets, successive
from hard_spectra import spectra_and_sizes
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.seeding import stream
from bench.spectral.designs import SAMPLERS, Chosen, Design, FixedSize, Leading, Sequential, Uniform
from bench.spectral.diversity import anme
from bench.spectral.error import expected_error, expected_mean_error
from bench.spectral.inclusion import (
    NEGLIGIBLE,
    collective_inclusion,
    collective_multipliers,
    horvitz_thompson,
    unbiased_inclusion,
)
from bench.spectral.sampling import log_powers, sequential_sample

SIGMA = np.array([6.0, 4.0, 3.0, 1.5, 1.0, 0.5, 0.2, 0.0])
PI = unbiased_inclusion(SIGMA, 3)
DESIGNS: dict[str, Design] = {
    "leading": Leading(8, 3),
    "uniform": Uniform(8, 3),
    "sequential": Sequential(log_powers(SIGMA, 2.0), 3),
    "reciprocal": Sequential(log_powers(SIGMA, 2.0), 3, reciprocal=True),
    **{sampler: FixedSize(PI, sampler, horvitz_thompson(PI)) for sampler in SAMPLERS},
}


@pytest.mark.parametrize("name", DESIGNS)
def test_designs_draw_with_the_probabilities_they_state(name: str) -> None:
    design, rng = DESIGNS[name], stream(0, "test")
    assert design.size == 3 and design.inclusion is not None and design.inclusion.dtype == np.float64
    assert design.inclusion.sum() == pytest.approx(3)
    assert design.inclusion is design.inclusion  # found once
    assert_drawn_with(lambda: design.draw(rng), design.inclusion, 4000)


@pytest.mark.parametrize("name", DESIGNS)
def test_a_draw_depends_on_its_stream_alone(name: str) -> None:
    draws = [[DESIGNS[name].draw(stream(0, "test", 1, client)).tolist() for client in range(20)] for _ in range(2)]
    assert draws[0] == draws[1]


def test_multipliers() -> None:
    assert DESIGNS["leading"].multipliers is DESIGNS["uniform"].multipliers is DESIGNS["sequential"].multipliers is None
    reciprocal = DESIGNS["reciprocal"]
    assert reciprocal.multipliers is not None and reciprocal.inclusion is not None
    np.testing.assert_allclose((reciprocal.multipliers * reciprocal.inclusion)[:7], 1)
    assert reciprocal.multipliers[7] == 0
    assert FixedSize(PI).multipliers is None
    assert FixedSize(PI, multipliers=PI).multipliers is PI


def test_the_approximation_is_used_if_asked_for() -> None:
    logs = log_powers(SIGMA, 2.0)
    exact, approximate = Sequential(logs, 3, reciprocal=True), Sequential(logs, 3, reciprocal=True, exact=False)
    assert exact.multipliers is not None and approximate.multipliers is not None
    np.testing.assert_allclose(exact.inclusion[:7], inclusion_of(successive(np.exp(logs[:7]).tolist(), 3), 7))
    drawn = exact.inclusion > 0
    np.testing.assert_allclose(exact.multipliers[drawn], 1 / exact.inclusion[drawn])
    difference = np.abs(1 / approximate.multipliers[drawn] - exact.inclusion[drawn])
    assert 0.005 < difference.max() < 0.1
    # What is recorded of a draw is the truth either way.
    np.testing.assert_array_equal(approximate.inclusion, exact.inclusion)
    assert approximate.draw(stream(0, "test")).tolist() == exact.draw(stream(0, "test")).tolist()


def test_samplers_by_a_wrong_name_are_refused_with_the_nearest() -> None:
    with pytest.raises(BenchError, match=r"'brewers'; allowed: .*'systematic'; did you mean 'brewer'\?"):
        FixedSize(PI, "brewers")


def test_a_plugins_choice_is_drawn_as_it_is_and_has_no_known_probabilities() -> None:
    design = Chosen(lambda sigma, size, rng: sequential_sample(np.log(sigma + 1), size, rng), SIGMA, 3)
    expected = sequential_sample(np.log(SIGMA + 1), 3, stream(0, "test"))
    assert design.draw(stream(0, "test")).tolist() == expected.tolist()
    assert design.inclusion is None and design.multipliers is None and design.size == 3


def matrix_and_kernels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a random matrix, its singular values and its kernels ``sigma_i u_i v_i^T``."""
    matrix = np.random.default_rng(0).standard_normal((5, 9))
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return matrix, s, np.einsum("oi,i,in->ion", u, s, v)


def expectation_over_sets(laws: list[Law], multipliers: list[np.ndarray]) -> float:
    """Return ``E ||W - mean_c What_c||_F^2`` summed over all combinations of the clients' sets."""
    matrix, _, kernels = matrix_and_kernels()
    total = 0.0
    for sets in itertools.product(*(law.items() for law in laws)):
        submodels = [
            kernels[sorted(chosen)].T @ omega[sorted(chosen)]
            for (chosen, _), omega in zip(sets, multipliers, strict=True)
        ]
        probability = math.prod(p for _, p in sets)
        total += probability * float(((matrix.T - np.mean(submodels, axis=0)) ** 2).sum())
    return total


SETS = subsets(5, 2)
LAWS = [
    products([5.0, 2.0, 1.0, 0.5, 0.1], 2),
    successive([5.0, 4.0, 3.0, 2.0, 1.0], 3),
    brewer([0.8, 0.5, 0.4, 0.2, 0.1]),
    {chosen: float(chosen == frozenset({0, 1})) for chosen in SETS},
]
OMEGA = [np.ones(5), np.array([1.0, 1.2, 2.0, 3.0, 0.0]), 1 / np.array([0.8, 0.5, 0.4, 0.2, 0.1]), np.full(5, 0.5)]


@pytest.mark.parametrize("law", range(4))
@pytest.mark.parametrize("omega", range(4))
def test_the_error_of_a_submodel_is_its_mean_over_all_sets(law: int, omega: int) -> None:
    _, sigma, _ = matrix_and_kernels()
    inclusion = inclusion_of(LAWS[law], 5)
    expected = expectation_over_sets([LAWS[law]], [OMEGA[omega]])
    assert expected_error(sigma, inclusion, OMEGA[omega]) == pytest.approx(expected)
    if omega == 0:
        assert expected_error(sigma, inclusion) == pytest.approx(expected)


@pytest.mark.parametrize("cohort", [(0, 0), (0, 1, 2), (3, 2, 2)])
def test_the_error_of_the_cohorts_mean_is_its_mean_over_all_combinations(cohort: tuple[int, ...]) -> None:
    _, sigma, _ = matrix_and_kernels()
    expected = expectation_over_sets([LAWS[c] for c in cohort], [OMEGA[c] for c in cohort])
    laws = [(inclusion_of(LAWS[c], 5), OMEGA[c] if c else None) for c in cohort]
    assert expected_mean_error(sigma, laws) == pytest.approx(expected)


def test_the_error_of_equal_laws_is_the_papers_objective() -> None:
    for clients in (1, 2, 10):
        pi = collective_inclusion(SIGMA, 3, clients)
        omega = collective_multipliers(pi, clients)
        terms = omega * pi * (-2 + omega / clients + omega * pi * (clients - 1) / clients)
        paper = float((SIGMA**2 * terms).sum() + (SIGMA**2).sum())
        assert expected_mean_error(SIGMA, [(pi, omega)] * clients) == pytest.approx(paper)
    with pytest.raises(ValueError, match="no clients"):
        expected_mean_error(SIGMA, [])


def test_the_error_of_certainty_is_the_tail() -> None:
    inclusion = DESIGNS["leading"].inclusion
    assert inclusion is not None
    assert expected_error(SIGMA, inclusion) == pytest.approx((SIGMA[3:] ** 2).sum())
    assert expected_error(SIGMA, np.ones(8)) == 0


def test_anme_is_the_binary_entropy_relative_to_its_maximum() -> None:
    def entropy(p: float) -> float:
        return 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    pi = [1.0, 0.75, 0.5, 0.5, 0.25, 0.0]
    assert anme(np.array(pi), 3) == pytest.approx(sum(map(entropy, pi)) / 6 / entropy(0.5))
    assert anme(np.full(8, 3 / 8), 3) == pytest.approx(1)


def test_anme_without_chance_is_zero() -> None:
    assert anme(np.array([1.0, 1.0, 0.0]), 2) == 0
    assert anme(np.ones(3), 3) == 0
    assert anme(np.array([1.0 + 1e-16, 1.0 - 1e-16]), 2) == 0
    assert anme(np.array([1.0 + 2.3e-16, 0.0, 1.0]), 2) == 0


def test_anme_orders_the_laws_of_one_spectrum() -> None:
    sigma = np.exp(-np.linspace(0, 3, 64))
    prism = Sequential(log_powers(sigma, 4.0), 13).inclusion
    laws = [unbiased_inclusion(sigma, 13), collective_inclusion(sigma, 13, 10), prism]
    diversities = [anme(pi, 13) for pi in laws]
    assert 1 > diversities[0] > diversities[1] > diversities[2] > 0


def designs_of(sigma: np.ndarray, size: int) -> dict[str, Design]:
    """Return every design of one spectrum, all with multipliers that it has."""
    unbiased, collective = unbiased_inclusion(sigma, size), collective_inclusion(sigma, size, 10)
    powers = {f"kappa {kappa}": log_powers(sigma, kappa) for kappa in (0.0, 2.5, 20.0)}
    return {
        "leading": Leading(len(sigma), size),
        "uniform": Uniform(len(sigma), size, reciprocal=True),
        **{name: Sequential(logs, size, reciprocal=True) for name, logs in powers.items()},
        "softmax": Sequential(sigma, size, reciprocal=True),
        "approximate": Sequential(powers["kappa 2.5"], size, reciprocal=True, exact=False),
        **{sampler: FixedSize(unbiased, sampler, horvitz_thompson(unbiased)) for sampler in SAMPLERS},
        "collective": FixedSize(collective, multipliers=collective_multipliers(collective, 10)),
    }


@settings(max_examples=60)
@given(case=spectra_and_sizes(), seed=st.integers(0, 2**32))
def test_every_design_holds_for_hard_spectra(case: tuple[np.ndarray, int], seed: int) -> None:
    sigma, size = case
    for name, design in designs_of(sigma, size).items():
        inclusion, multipliers = design.inclusion, design.multipliers
        assert inclusion is not None and inclusion.sum() == pytest.approx(size, rel=1e-11), name
        drawn = design.draw(np.random.default_rng(seed))
        assert len(drawn) == size == design.size and (np.diff(drawn) > 0).all(), name
        assert inclusion[drawn].min() > 0 or sigma[drawn[inclusion[drawn] == 0]].max() == 0, name
        if multipliers is not None:
            assert np.isfinite(multipliers).all() and np.isfinite(multipliers[drawn].astype(np.float32)).all(), name
            if name not in ("collective", "approximate"):  # unbiased: all but kernels whose probability is negligible
                missed = np.abs(1 - multipliers * inclusion)[sigma > 0]
                assert ((missed <= 1e-9) | (inclusion[sigma > 0] <= NEGLIGIBLE)).all(), name
        with np.errstate(all="raise", under="ignore"):
            assert np.isfinite(expected_error(sigma, inclusion, multipliers)), name
            assert 0 <= anme(inclusion, size) <= 1 + 1e-9, name
