"""Detectable differences and seeds needed, against statsmodels and against simulated t-tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.power import TTestPower

from bench.analysis.power import MOST_SEEDS, detectable, power_of, seeds_needed


def power_by_hand(std: float, seeds: int, difference: float, level: float) -> float:
    """Return the power by integrating the normal probabilities over the chi-squared spread."""
    bound, shift, freedom = stats.t.isf(level / 2, seeds - 1), difference / std * math.sqrt(seeds), seeds - 1

    def told(spread: float) -> float:
        edge = bound * math.sqrt(spread / freedom)
        return float((stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift)) * stats.chi2.pdf(spread, freedom))

    return sum(integrate.quad(told, *ends, epsabs=1e-11)[0] for ends in ((0, 1), (1, 10), (10, 100), (100, 400)))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("level", [0.05, 0.05 / 13])
def test_the_detectable_difference_has_the_power(seeds: int, level: float) -> None:
    difference = float(detectable(0.02, seeds, 0.8, level))
    assert power_by_hand(0.02, seeds, difference, level) == pytest.approx(0.8, abs=1e-7)
    assert power_of(0.02, seeds, 0.9 * difference, level) == pytest.approx(
        power_by_hand(0.02, seeds, 0.9 * difference, level), abs=1e-7
    )


@pytest.mark.parametrize("seeds", [3, 5, 10, 30])
def test_it_is_that_of_statsmodels_where_its_solver_finds_one(seeds: int) -> None:
    assert float(detectable(0.02, seeds)) / 0.02 == pytest.approx(
        TTestPower().solve_power(nobs=seeds, alpha=0.05, power=0.8), rel=1e-6
    )


@pytest.mark.parametrize(("std", "difference"), [(0.02, 0.01), (0.01, 0.01), (0.005, 0.02)])
def test_the_seeds_needed_are_the_least_that_reach_the_power(std: float, difference: float) -> None:
    needed = float(seeds_needed(std, difference))
    assert power_of(std, needed, difference) >= 0.8
    if needed > 2:
        assert power_of(std, needed - 1, difference) < 0.8
        assert needed == math.ceil(TTestPower().solve_power(effect_size=difference / std, alpha=0.05, power=0.8))


def test_the_power_is_the_share_of_simulated_tests_that_tell_apart() -> None:
    rng, runs = np.random.default_rng(0), 20_000
    for seeds, difference in ((3, 0.05), (5, 0.02), (10, 0.0)):
        draws = rng.normal(difference, 0.015, (runs, seeds))
        share = float((stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean())
        expected = float(power_of(0.015, seeds, difference))
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / runs))


def test_the_detectable_difference_of_a_strict_level_is_finite_at_few_seeds() -> None:
    many = float(detectable(0.01, 2, level=0.05 / 1000))
    assert math.isfinite(many) and power_of(0.01, 2, many, 0.05 / 1000) == pytest.approx(0.8)


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_said_is_missing() -> None:
    assert np.isnan(detectable([0.1, 0.0, math.nan], [1, 3, 3])).all()
    assert np.isnan(power_of([0.1, 0.0, math.nan], [1, 3, 3], 0.1)).all()
    assert np.isnan(seeds_needed([0.0, math.nan], 0.1)).all()
    assert seeds_needed(1.0, 0.0) == math.inf and seeds_needed(1.0, 1e-9) == math.inf
    assert seeds_needed(1e-9, 1.0) == 2 and seeds_needed(1.0, -1.0) == seeds_needed(1.0, 1.0) < MOST_SEEDS
