"""Laws of drawing sets, written out set by set or order by order, and how draws are held against them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations

import numpy as np
from scipy import stats

Law = dict[frozenset[int], float]


def subsets(units: int, size: int) -> list[frozenset[int]]:
    return [frozenset(chosen) for chosen in combinations(range(units), size)]


def one_after_the_other(units: int, size: int, step: Callable[[frozenset[int], int], float]) -> Law:
    """Return the law of sets drawn unit by unit: ``step(drawn, unit)`` is a unit's probability of being next."""

    @cache
    def of(drawn: frozenset[int]) -> float:
        # The last unit drawn was any of the set; before it the others had been drawn, in any order.
        return sum(of(drawn - {last}) * step(drawn - {last}, last) for last in drawn) if drawn else 1.0

    return {chosen: of(chosen) for chosen in subsets(units, size)}


def successive(weights: Sequence[float], size: int) -> Law:
    """Each unit with probability proportional to its weight among those not yet drawn."""

    def step(drawn: frozenset[int], unit: int) -> float:
        return weights[unit] / sum(weight for other, weight in enumerate(weights) if other not in drawn)

    return one_after_the_other(len(weights), size, step)


def brewer(inclusion: Sequence[float]) -> Law:
    """Brewer's method for any size: Tillé's statement by the number k of the step, from 1 to n."""
    size = round(sum(inclusion))

    def step(drawn: frozenset[int], unit: int) -> float:
        k = len(drawn) + 1
        rest = size - sum(inclusion[other] for other in drawn)
        shares = {
            other: pi * (rest - pi) / (rest - pi * (size - k + 1))
            for other, pi in enumerate(inclusion)
            if other not in drawn
        }
        return shares[unit] / sum(shares.values())

    return one_after_the_other(len(inclusion), size, step)


def products(weights: Sequence[float], size: int) -> Law:
    """Each set with probability proportional to the product of its units' weights: conditional Poisson sampling."""
    raw = {chosen: float(np.prod([weights[unit] for unit in chosen])) for chosen in subsets(len(weights), size)}
    total = sum(raw.values())
    return {chosen: product / total for chosen, product in raw.items()}


def inclusion_of(law: Law, units: int) -> np.ndarray:
    return np.array([sum(p for chosen, p in law.items() if unit in chosen) for unit in range(units)])


def entropy_of(law: Law) -> float:
    return float(stats.entropy(list(law.values())))


def assert_drawn_with(draw: Callable[[], np.ndarray], inclusion: np.ndarray, draws: int) -> None:
    """Hold the frequency of each unit against its probability: an exact test at level 1e-4 for all units together."""
    counts = np.zeros(len(inclusion), dtype=np.int64)
    size = round(inclusion.sum())
    for _ in range(draws):
        drawn = draw()
        assert drawn.dtype == np.int64 and len(drawn) == size and (np.diff(drawn) > 0).all()
        counts[drawn] += 1
    law = stats.binom(draws, np.clip(inclusion, 0, 1))
    tail = np.minimum(law.cdf(counts), law.sf(counts - 1))
    assert tail.min() > 1e-4 / (2 * len(inclusion)), f"unit {tail.argmin()}: {counts[tail.argmin()]} of {draws}"


def assert_sets_drawn_with(draw: Callable[[], np.ndarray], law: Law, draws: int) -> None:
    """Hold the frequencies of whole sets against their probabilities: a chi-squared test at level 1e-4."""
    drawn = Counter(frozenset(draw().tolist()) for _ in range(draws))
    assert set(drawn) <= {chosen for chosen, p in law.items() if p > 0}
    frequent = {chosen: p for chosen, p in law.items() if p * draws >= 5}
    observed = [drawn[chosen] for chosen in frequent]
    expected = [draws * p for p in frequent.values()]
    rest = draws - sum(expected)
    if rest > 1e-6 * draws:
        observed.append(draws - sum(observed))
        expected.append(rest)
    if len(expected) > 1:
        scale = sum(observed) / sum(expected)
        assert stats.chisquare(observed, np.array(expected) * scale).pvalue > 1e-4
