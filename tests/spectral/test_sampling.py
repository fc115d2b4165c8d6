"""Drawing kernels without replacement, against the full enumeration of what can be drawn."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from enumeration import (
    assert_drawn_with,
    assert_sets_drawn_with,
    brewer,
    inclusion_of,
    successive,
)
from hard_spectra import probabilities, spectra_and_sizes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from thinned import every, thinned

from bench.seeding import stream
from bench.spectral.inclusion import collective_inclusion, unbiased_inclusion
from bench.spectral.sampling import (
    FAR,
    LARGEST,
    brewer_sample,
    log_powers,
    sequential_sample,
    systematic_sample,
    within_reach,
)

DRAWS = 10_000
Sampler = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@cache
def samples(weights: tuple[float, ...], size: int, seed: int = 0) -> Counter[frozenset[int]]:
    rng = np.random.default_rng(seed)
    with np.errstate(divide="ignore"):
        logs = np.log(np.array(weights))
    return Counter(frozenset(sequential_sample(logs, size, rng).tolist()) for _ in range(DRAWS))


SPECTRA = [
    ((1.0, 1.0, 1.0, 1.0), 2),
    ((8.0, 4.0, 2.0, 1.0), 1),
    ((8.0, 4.0, 2.0, 1.0), 2),
    ((8.0, 4.0, 2.0, 1.0), 3),
    ((5.0, 5.0, 1.0, 1.0, 0.2), 3),
    ((30.0, 6.0, 3.0, 2.0, 1.0, 0.5), 2),
    ((30.0, 6.0, 3.0, 2.0, 1.0, 0.5), 4),
]


@pytest.mark.parametrize(("weights", "size"), SPECTRA)
def test_inclusion_probabilities_are_those_of_successive_sampling(weights: tuple[float, ...], size: int) -> None:
    expected = successive(weights, size)
    assert sum(expected.values()) == pytest.approx(1)
    drawn = samples(weights, size)
    for unit in range(len(weights)):
        pi = sum(probability for chosen, probability in expected.items() if unit in chosen)
        frequency = sum(count for chosen, count in drawn.items() if unit in chosen) / DRAWS
        assert abs(frequency - pi) <= 4.5 * math.sqrt(pi * (1 - pi) / DRAWS) + 1e-12


@pytest.mark.parametrize(("weights", "size"), [(weights, size) for weights, size in SPECTRA if size < len(weights)])
def test_sets_have_the_probabilities_of_successive_sampling(weights: tuple[float, ...], size: int) -> None:
    expected = {chosen: p for chosen, p in successive(weights, size).items() if p * DRAWS >= 5}
    drawn = samples(weights, size)
    rare = DRAWS - sum(drawn[chosen] for chosen in expected)
    observed = [*(drawn[chosen] for chosen in expected), rare]
    probabilities = [*expected.values(), max(1 - sum(expected.values()), 1e-12)]
    statistic = sum(
        (o - DRAWS * p) ** 2 / (DRAWS * p) for o, p in zip(observed, probabilities, strict=True) if p > 1e-9
    )
    assert stats.chi2(len(expected)).sf(statistic) > 1e-4


def test_the_law_is_that_of_numpys_choice() -> None:
    weights, size = (9.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.1), 3
    rng = np.random.default_rng(2)
    shares = np.array(weights) / sum(weights)
    theirs = Counter(frozenset(rng.choice(7, size, replace=False, p=shares).tolist()) for _ in range(DRAWS))
    ours = samples(weights, size, seed=3)
    common = [chosen for chosen in theirs | ours if theirs[chosen] + ours[chosen] >= 20]
    table = np.array([[theirs[chosen] for chosen in common], [ours[chosen] for chosen in common]])
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_units_of_weight_zero_are_taken_last_in_order() -> None:
    logs = log_powers(np.array([3.0, 2.0, 0.0, 0.0, 0.0]), 2.0)
    rng = np.random.default_rng(0)
    assert {tuple(sequential_sample(logs, 2, rng)) for _ in range(200)} == {(0, 1)}
    assert {tuple(sequential_sample(logs, 4, rng)) for _ in range(200)} == {(0, 1, 2, 3)}
    assert tuple(sequential_sample(log_powers(np.zeros(4), 2.0), 2, rng)) == (0, 1)


def test_kappa_zero_is_uniform_even_where_singular_values_are_zero() -> None:
    logs = log_powers(np.array([1e6, 1.0, 1e-6, 0.0]), 0.0)
    assert logs.tolist() == [0, 0, 0, 0]
    rng = np.random.default_rng(5)
    counts = Counter(unit for _ in range(DRAWS) for unit in sequential_sample(logs, 2, rng).tolist())
    for unit in range(4):
        assert abs(counts[unit] / DRAWS - 0.5) < 4.5 * math.sqrt(0.25 / DRAWS)


def test_spectra_whose_powers_underflow_are_drawn_by_their_ratios() -> None:
    sigma = np.array([3e-200, 2e-200, 1e-200, 1e-250], dtype=np.float64)
    assert (sigma**4 == 0).all()
    rng = np.random.default_rng(6)
    logs = log_powers(sigma, 4.0)
    first = sum(sequential_sample(logs, 1, rng)[0] == 0 for _ in range(DRAWS)) / DRAWS
    p = 81 / (81 + 16 + 1)
    assert abs(first - p) < 4.5 * math.sqrt(p * (1 - p) / DRAWS)


def test_single_precision_singular_values_do_not_overflow() -> None:
    logs = log_powers(np.array([1e30, 1e-30], dtype=np.float32), 20.0)
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(logs[0] - logs[1], 20 * math.log(1e60), rtol=1e-6)


@given(
    sigma=st.lists(st.floats(0, 2.0**99, width=32), min_size=1, max_size=40).map(lambda values: sorted(values)[::-1]),
    kappa=st.floats(0, 20),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_a_sample_is_distinct_ascending_and_of_the_size_asked(
    sigma: list[float], kappa: float, share: float, seed: int
) -> None:
    size = max(1, round(share * len(sigma)))
    chosen = sequential_sample(log_powers(np.array(sigma, np.float32), kappa), size, np.random.default_rng(seed))
    assert chosen.dtype == np.int64 and len(chosen) == size
    assert (np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < len(sigma)


def test_all_units_are_taken_when_as_many_are_asked_for() -> None:
    assert sequential_sample(np.log([9.0, 1.0, 1e-300]), 3, np.random.default_rng(0)).tolist() == [0, 1, 2]


def test_a_sample_depends_on_its_stream_alone() -> None:
    logs = np.log(np.arange(1.0, 65.0))
    draws = [sequential_sample(logs, 13, stream(1, "selection", 2, client)).tolist() for client in (3, 3, 4)]
    assert draws[0] == draws[1] != draws[2]


def test_larger_kappa_favours_larger_singular_values() -> None:
    sigma = np.linspace(2, 1, 20)
    means = [
        np.mean([sequential_sample(log_powers(sigma, k), 4, np.random.default_rng(s)).mean() for s in range(500)])
        for k in (0.0, 2.0, 6.0)
    ]
    assert means[0] > means[1] > means[2]


INCLUSION = [
    [0.5, 0.5],
    [0.9, 0.6, 0.4, 0.1],
    [0.7, 0.7, 0.2, 0.2, 0.2],
    [0.99, 0.95, 0.5, 0.3, 0.2, 0.05, 0.01],
    [0.9999, 0.9999, 0.9999, 0.0003],
]


@pytest.mark.parametrize("inclusion", INCLUSION)
def test_brewers_steps_give_the_inclusion_probabilities_and_are_the_ones_drawn(inclusion: list[float]) -> None:
    law = brewer(inclusion)
    np.testing.assert_allclose(inclusion_of(law, len(inclusion)), inclusion, rtol=1e-9)
    rng = stream(0, "test")
    assert_sets_drawn_with(lambda: brewer_sample(np.array(inclusion), rng), law, 5000)


def test_systematic_sampling_takes_the_units_under_the_ticks_in_each_order() -> None:
    """Enumerated: for each order the sets as functions of the first tick u, by the lengths between its corners."""
    inclusion = [0.7, 0.6, 0.4, 0.3]
    law: dict[frozenset[int], float] = {}
    for order in itertools.permutations(range(4)):
        ends = list(itertools.accumulate(inclusion[unit] for unit in order))
        corners = sorted({0.0, 1.0, *(round(end % 1, 12) for end in ends)})
        for low, high in itertools.pairwise(corners):
            ticks = [(low + high) / 2 + step for step in range(2)]
            chosen = frozenset(order[sum(end <= tick for end in ends)] for tick in ticks)
            law[chosen] = law.get(chosen, 0.0) + (high - low) / math.factorial(4)
    np.testing.assert_allclose(inclusion_of(law, 4), inclusion)
    rng = stream(0, "test")
    assert_sets_drawn_with(lambda: systematic_sample(np.array(inclusion), rng), law, 10_000)


@pytest.mark.parametrize("sampler", [brewer_sample, systematic_sample])
@pytest.mark.parametrize(("units", "size"), thinned([(64, 13), (128, 103), (512, 52)], every(3)))
def test_units_are_drawn_with_the_probabilities_asked_for(sampler: Sampler, units: int, size: int) -> None:
    sigma = np.sort(np.exp(0.7 * np.random.default_rng(units).standard_normal(units)))[::-1]
    for inclusion in (unbiased_inclusion(sigma, size), collective_inclusion(sigma, size, 10)):
        rng = stream(0, "test")
        assert_drawn_with(lambda inclusion=inclusion, rng=rng: sampler(inclusion, rng), inclusion, 800)


@pytest.mark.parametrize("sampler", [brewer_sample, systematic_sample])
def test_sums_off_by_rounding_and_certain_units_do_no_harm(sampler: Sampler) -> None:
    rng = stream(0, "test")
    tenths = np.array([0.1] * 10 + [1.0, 0.0, 1.0])
    assert np.cumsum(tenths[:10])[-1] < 1
    off = np.array([1 - 1e-13, 1 / 3 + 1e-9, 1 / 3, 1 / 3, 1e-16, 1.0])
    for _ in range(500):
        drawn = sampler(tenths, rng).tolist()
        assert len(set(drawn)) == 3 and {10, 12} < set(drawn) and 11 not in drawn
        drawn = sampler(off, rng).tolist()
        assert len(set(drawn)) == 3 and {0, 5} < set(drawn)
    assert sampler(np.ones(3), rng).tolist() == [0, 1, 2]
    assert sampler(np.array([0.0, 1.0]), rng).dtype == np.int64
    with pytest.raises(ValueError, match="sum to a whole number"):
        sampler(np.array([0.5, 0.7]), rng)


@given(sigma=st.lists(st.floats(0, 1e3), min_size=1, max_size=30), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_samplers_take_as_many_distinct_possible_units_as_asked(sigma: list[float], share: float, seed: int) -> None:
    size = max(1, round(share * len(sigma)))
    inclusion = unbiased_inclusion(np.array(sigma), size)
    for sampler in (brewer_sample, systematic_sample):
        drawn = sampler(inclusion, np.random.default_rng(seed))
        assert len(drawn) == size and (np.diff(drawn) > 0).all()
        assert set(np.flatnonzero(inclusion == 1)) <= set(drawn.tolist()) <= set(np.flatnonzero(inclusion > 0))


@given(inclusion=probabilities(), seed=st.integers(0, 2**32))
def test_samplers_take_any_probabilities_that_sum_to_a_whole_number(inclusion: np.ndarray, seed: int) -> None:
    for sampler in (brewer_sample, systematic_sample):
        drawn = sampler(inclusion, np.random.default_rng(seed))
        assert len(drawn) == round(inclusion.sum()) and (np.diff(drawn) > 0).all() and inclusion[drawn].min() > 0
        assert set(np.flatnonzero(inclusion >= 1 - 1e-12)) <= set(drawn.tolist())


NEAR = [
    [1 - 1e-5] * 4 + [1e-5] * 4,
    [1 - 1e-9] * 3 + [0.5] * 2 + [1e-9] * 3,
    [1 - 1e-11, 1 - 1e-11, 2e-11],
    [0.2 - 2e-14] * 5 + [1e-13],
]


@pytest.mark.parametrize("sampler", [brewer_sample, systematic_sample])
@pytest.mark.parametrize("inclusion", NEAR)
def test_probabilities_next_to_zero_and_one_are_drawn(inclusion: list[float], sampler: Sampler) -> None:
    rng = stream(0, "test")
    assert_drawn_with(lambda: sampler(np.array(inclusion), rng), np.array(inclusion), 1500)
    np.testing.assert_allclose(inclusion_of(brewer(inclusion), len(inclusion)), inclusion, atol=1e-12)


@given(case=spectra_and_sizes(), kappa=st.sampled_from([0.0, 0.5, 2.5, 20.0]), seed=st.integers(0, 2**32))
def test_powers_of_hard_spectra_are_drawn_whatever_their_scale(
    case: tuple[np.ndarray, int], kappa: float, seed: int
) -> None:
    sigma, size = case
    drawn = sequential_sample(log_powers(sigma, kappa), size, np.random.default_rng(seed))
    assert len(drawn) == size and (np.diff(drawn) > 0).all()
    again = sequential_sample(log_powers(sigma * 1e-30, kappa), size, np.random.default_rng(seed))
    assert again.tolist() == drawn.tolist()


def test_equal_weights_are_drawn_alike_at_every_scale() -> None:
    """Softmax weights of a layer of scale 1e30: the times of the draw must not drown in the logarithms."""
    rng = stream(0, "test")
    for level in (-1e30, 1e12, 1e30):
        assert_drawn_with(lambda level=level: sequential_sample(np.full(6, level), 2, rng), np.full(6, 1 / 3), 2000)
    logs = np.array([2.0, 2.0, 0.0, -1e17, -1e17, -np.inf]) + 1e9
    expected = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.0])
    assert_drawn_with(lambda: sequential_sample(logs, 4, rng), expected, 2000)


def test_log_weights_within_reach_stay_as_they_are() -> None:
    logs = np.array([LARGEST, 3.0, -np.inf, -LARGEST])
    assert within_reach(logs) is logs
    near = within_reach(np.array([-np.inf, 3.0, 2e7, 2e7 - 5.0, 3.0]))
    assert near.tolist() == [-np.inf, -5 - FAR, 0, -5, -5 - FAR]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_in_a_sentence(bad: float) -> None:
    with pytest.raises(ValueError, match="must be finite; some are infinite or not a number"):
        sequential_sample(np.array([bad, 0.0]), 1, np.random.default_rng(0))
