"""What difference a number of seeds can show, and how many seeds a difference needs."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

LEVEL, POWER = 0.05, 0.8
MOST_SEEDS = 10_000

Numbers = npt.ArrayLike
Array = npt.NDArray[np.float64]


def power_of(std: Numbers, seeds: Numbers, difference: Numbers, level: Numbers = LEVEL) -> Array:
    """Return with what probability the paired t-test tells two methods apart: the noncentral t, both tails.

    Args:
        std: standard deviation of the differences between paired seeds.
        seeds: pairs; below 2 nothing can be told, and the power is missing.
        difference: between the methods, in the unit of ``std``.
        level: two-sided; for one of ``m`` comparisons 0.05 / m is on the safe side.
    """
    std, seeds, difference, level = np.broadcast_arrays(
        *(np.asarray(one, float) for one in (std, seeds, difference, level))
    )
    possible = (seeds >= 2) & (std > 0)
    pairs, spread = np.where(possible, seeds, 2.0), np.where(possible, std, 1.0)
    return np.where(possible, _power(pairs, np.abs(difference) / spread * np.sqrt(pairs), level), np.nan)


def detectable(std: Numbers, seeds: Numbers, power: float = POWER, level: Numbers = LEVEL) -> Array:
    """Return the least difference that so many seeds show with this power: the minimum detectable effect.

    Args:
        std, seeds, level: as in :func:`power_of`.
        power: the probability of being told apart.

    Returns:
        The difference in the unit of ``std``; missing below 2 seeds, and where the spread is 0 or unknown.
    """
    std, seeds, level = np.broadcast_arrays(*(np.asarray(one, float) for one in (std, seeds, level)))
    possible = (seeds >= 2) & (std > 0)
    cases = np.stack([np.where(possible, seeds, 2.0), level]).reshape(2, -1).T
    errors = np.array([_shift_shown(pairs, of_one, power) for pairs, of_one in cases.tolist()]).reshape(std.shape)
    return np.where(possible, errors * std / np.sqrt(np.maximum(seeds, 1)), np.nan)


@functools.lru_cache(4096)
def _shift_shown(pairs: float, level: float, power: float) -> float:
    """Return the true difference that is shown with this power, in standard errors."""

    def surplus(shift: float) -> float:
        return float(_power(np.array(pairs), np.array(shift), np.array(level))) - power

    # It lies near the critical value, which the test statistic exceeds with about even odds where it is the shift.
    high = 2 * float(_critical(np.array(pairs), np.array(level))) + 10
    while surplus(high) < 0:
        high *= 2
    return float(optimize.brentq(surplus, 0.0, high))


def seeds_needed(std: Numbers, difference: Numbers, power: float = POWER, level: Numbers = LEVEL) -> Array:
    """Return the least number of seeds that shows a difference with this power.

    Args:
        std, difference, level: as in :func:`power_of`.
        power: the probability of being told apart.

    Returns:
        Whole numbers from 2 up, infinite above :data:`MOST_SEEDS`; missing where the spread is 0 or unknown.
    """
    std, difference, level = np.broadcast_arrays(*(np.asarray(one, float) for one in (std, difference, level)))
    possible = std > 0
    effect = np.abs(difference) / np.where(possible, std, 1.0)
    low, high = np.ones(effect.shape), np.full(effect.shape, float(MOST_SEEDS))
    reached = _power(high, effect * np.sqrt(high), level) >= power
    while (high - low > 1).any():
        middle = np.maximum(np.floor((low + high) / 2), 2.0)
        enough = _power(middle, effect * np.sqrt(middle), level) >= power
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(possible, np.where(reached, high, np.inf), np.nan)


def _critical(pairs: Array, level: Array) -> Array:
    return np.asarray(stats.t.isf(level / 2, pairs - 1))


def _power(pairs: Array, shift: Array, level: Array) -> Array:
    """Return the power where the true difference is ``shift`` standard errors.

    SciPy has no number for the far tail on the other side where it is below about 1e-16, and none for shifts that are
    beyond all measure; the power is 1 well before.
    """
    bound = _critical(pairs, level)
    shift = np.minimum(shift, 40 * (bound + 1))
    other_side = np.nan_to_num(stats.nct.cdf(-bound, pairs - 1, shift))
    return stats.nct.sf(bound, pairs - 1, shift) + other_side
