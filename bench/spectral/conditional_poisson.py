"""Conditional Poisson sampling: the law of largest entropy of all with a fixed size and given inclusion probabilities.

A set of ``size`` units has a probability proportional to the product of its units' working weights. Sums of such
products over all sets, the elementary symmetric polynomials, are kept as logarithms in tables built by additions alone
(Chen, Dempster and Liu, Weighted finite population sampling to maximize entropy, 1994; Tillé, Sampling Algorithms,
2006, chapter 5).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from bench.spectral.inclusion import split

TOLERANCE = 1e-10
"""Largest relative error of a fitted inclusion probability, beside that of rounding."""
ROUNDING = 1e-13
"""Largest absolute error beside it."""
ITERATIONS = 1000
PATIENCE = 25
"""After so many steps the largest error must have fallen to a third; if not, all further steps are half as long."""


class ConditionalPoisson:
    """The law of largest entropy with given inclusion probabilities, fitted when first needed.

    Args:
        inclusion: probability of each unit, ``[units]``, with a whole number as sum.

    Raises:
        ValueError: the probabilities are not between 0 and 1, or do not sum to a whole number.
    """

    def __init__(self, inclusion: np.ndarray) -> None:
        self._split = split(inclusion)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a set of units, int64, ascending."""
        to_take = self._split.size
        taken = []
        for unit, chance in enumerate(rng.random(len(self._split.open))):
            if chance < self._take[unit, to_take]:
                taken.append(unit)
                to_take -= 1
        return np.sort(np.concatenate([self._split.sure, self._split.open[taken]]))

    @cached_property
    def _take(self) -> np.ndarray:
        """Probability of taking a unit where so many are still to be taken, ``[units, size + 1]``."""
        size = self._split.size
        if size == 0:
            return np.zeros((0, 1))
        return _taking(working_weights(self._split.inclusion, size), size)


def working_weights(inclusion: np.ndarray, size: int) -> np.ndarray:
    """Return the logarithms of the weights with which conditional Poisson sampling has given inclusion probabilities.

    The logarithm of each weight moves by what its unit's log-odds miss, less a share for what the other units
    contribute because the size is fixed: four or five steps for hundreds of units, some dozens where few compete.
    Where nearly sure units compete with nearly impossible ones, each side makes up for the whole of what both miss, so
    that whole steps swing from one side of the solution to the other. Half steps settle: a step's error is multiplied
    by ``1 - h V^-1 C``, with h its length, C the covariance of the units and V its diagonal. Units of a fixed size
    compete, so that ``V^-1 C`` has ones on its diagonal, nothing positive beside them and rows of sum zero: by
    Gershgorin's theorem its eigenvalues lie between 0 and 2.

    Args:
        inclusion: probabilities strictly between 0 and 1 with sum ``size``, ``[units]``.
        size: number of units drawn, 1 to ``units - 1``.

    Returns:
        ``[units]``, with mean zero.

    Raises:
        RuntimeError: no weights were found, which no known probabilities lead to.
    """
    target = _log_odds(inclusion)
    variance = inclusion * (1 - inclusion)
    step = 1 - variance / variance.sum()
    log_weights, length, last_miss = target, 1.0, np.inf
    for iteration in range(1, ITERATIONS + 1):
        log_weights = log_weights - log_weights.mean()
        fitted = np.minimum(inclusion_of(log_weights, size), 1 - ROUNDING)
        miss = float((np.abs(inclusion - fitted) / (TOLERANCE * inclusion + ROUNDING)).max())
        if miss <= 1:
            return log_weights
        if iteration % PATIENCE == 0:
            length, last_miss = length if miss < last_miss / 3 else 0.5, miss
        log_weights = log_weights + length * step * (target - _log_odds(fitted))
    raise RuntimeError(f"no working weights found for inclusion probabilities {inclusion}")


def inclusion_of(log_weights: np.ndarray, size: int) -> np.ndarray:
    """Return the inclusion probabilities of conditional Poisson sampling with given weights.

    Args:
        log_weights: natural logarithms of the weights, finite, ``[units]``.
        size: number of units drawn, 1 to ``units``.
    """
    units = len(log_weights)
    after = _log_sums(log_weights, size)
    before = _log_sums(log_weights[::-1], size)[::-1]
    # The others' sets of size - 1: some units before unit i, and the rest of them after it.
    others = np.logaddexp.reduce(before[:units, :size] + after[1:, size - 1 :: -1], axis=1)
    return np.exp(np.minimum(log_weights + others - after[0, size], 0.0))


def _log_sums(log_weights: np.ndarray, size: int) -> np.ndarray:
    """Return the logarithm of the sum over all sets of k among the units from i on, ``[units + 1, size + 1]``."""
    units = len(log_weights)
    sums = np.full((units + 1, size + 1), -np.inf)
    sums[:, 0] = 0.0
    for unit in reversed(range(units)):
        np.logaddexp(sums[unit + 1, 1:], log_weights[unit] + sums[unit + 1, :-1], out=sums[unit, 1:])
    return sums


def _taking(log_weights: np.ndarray, size: int) -> np.ndarray:
    """Return the probability of taking unit i with k still to take: the share of the sets of k from i on that hold it.

    ``[units, size + 1]``; zero for k = 0 and where fewer than k units are left, which cannot happen in a draw.
    """
    sums = _log_sums(log_weights, size)
    all_sets, with_unit = sums[:-1, 1:], log_weights[:, None] + sums[1:, :-1]
    possible = all_sets > -np.inf
    take = np.zeros((len(log_weights), size + 1))
    take[:, 1:][possible] = np.exp(with_unit[possible] - all_sets[possible])
    return take


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    return np.log(probabilities) - np.log1p(-probabilities)
