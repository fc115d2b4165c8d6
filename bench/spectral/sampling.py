"""Drawing the principal kernels of a sub-model."""

from __future__ import annotations

import numpy as np

from bench.spectral.inclusion import split

LARGEST = 1e6
"""Largest logarithm of a weight that is computed with as it is: ten digits are left for the logarithm of a time."""
FAR = 1e3
"""The logarithm of a ratio of weights that chance does not bridge: no exponential time is so short or so long."""


def sequential_sample(log_weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``size`` distinct units one after the other, each with probability proportional to its weight.

    This is the law of ``numpy.random.Generator.choice(replace=False, p=...)`` and of Wallenius' distribution, drawn by
    exponential clocks: unit i rings at a time that is exponential with rate ``w_i``, and the first ``size`` to ring are
    taken (Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006). In logarithms it is safe for
    weights like ``sigma ** 4`` that underflow; units of weight zero come last, in the order of their index.

    Args:
        log_weights: natural logarithms of the weights, ``[units]``; -inf for weight zero.
        size: number of units to draw, 1 to ``units``.
        rng: the stream to draw from.

    Returns:
        The drawn units, int64, ascending.

    Raises:
        ValueError: a weight is infinite or not a number.
    """
    log_weights = within_reach(log_weights)
    ring = np.log(rng.standard_exponential(len(log_weights))) - log_weights
    return np.sort(np.argsort(ring, kind="stable")[:size])


def within_reach(log_weights: np.ndarray) -> np.ndarray:
    """Return log weights of the same law that the logarithms of times can be added to without a loss of digits.

    Weights of every size give the same law if multiplied by one factor, and units whose weight is ``exp(-FAR)`` of
    another's come after it for certain: where some logarithm is above :data:`LARGEST` (softmax weights of a spectrum
    of such a scale) the largest becomes 0 and wider gaps become as wide as that. All others are returned as they are.

    Args:
        log_weights: natural logarithms of the weights, ``[units]``; -inf for weight zero.

    Raises:
        ValueError: a weight is infinite or not a number.
    """
    if np.isnan(log_weights).any() or (log_weights == np.inf).any():
        raise ValueError("weights of units to draw must be finite; some are infinite or not a number")
    positive = np.flatnonzero(log_weights > -np.inf)
    if np.abs(log_weights[positive]).max(initial=0.0) <= LARGEST:
        return log_weights
    order = positive[np.argsort(-log_weights[positive], kind="stable")]
    gaps = np.minimum(-np.diff(log_weights[order].astype(np.float64)), FAR)
    near = np.full(len(log_weights), -np.inf)
    near[order] = -np.concatenate([[0.0], np.cumsum(gaps)])
    return near


def log_powers(sigma: np.ndarray, kappa: float) -> np.ndarray:
    """Return ``kappa * log(sigma)``, with weight one for every unit at ``kappa = 0`` and -inf where sigma is zero."""
    if kappa == 0:
        return np.zeros(len(sigma))
    with np.errstate(divide="ignore"):
        return kappa * np.log(sigma.astype(np.float64))


def brewer_sample(inclusion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a sample of fixed size with given inclusion probabilities, one unit after the other.

    With k units still to take, and ``a`` the sum of the inclusion probabilities of the units not yet taken, one of
    these is taken with probability proportional to ``pi (a - pi) / (a - k pi)`` (Brewer's method in its form for any
    size: Tillé, Sampling Algorithms, 2006).

    Args:
        inclusion: probability of each unit, ``[units]``, with a whole number as sum.
        rng: the stream to draw from.

    Returns:
        The drawn units, int64, ascending.

    Raises:
        ValueError: the probabilities are not between 0 and 1, or do not sum to a whole number.
    """
    sure, open_, left, size = split(inclusion)
    left = left.copy()
    taken = np.zeros(len(open_), dtype=bool)
    for to_take, chance in zip(range(size, 0, -1), rng.random(size), strict=True):
        total = left.sum()
        steps = np.cumsum(left * (total - left) / (total - to_take * left))
        unit = int(np.searchsorted(steps, chance * steps[-1], side="right"))
        taken[unit] = True
        left[unit] = 0.0
    return np.sort(np.concatenate([sure, open_[taken]]))


def systematic_sample(inclusion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a sample of fixed size with given inclusion probabilities, at equal steps along the units in random order.

    The units' probabilities are laid end to end in an order drawn anew each time; those units are taken into which the
    ticks u, u + 1, u + 2... fall, u being uniform between 0 and 1 (Madow, On the theory of systematic sampling, 1949).

    Args:
        inclusion: probability of each unit, ``[units]``, with a whole number as sum.
        rng: the stream to draw from.

    Returns:
        The drawn units, int64, ascending.

    Raises:
        ValueError: the probabilities are not between 0 and 1, or do not sum to a whole number.
    """
    sure, open_, probabilities, size = split(inclusion)
    order = rng.permutation(len(open_))
    ends = np.cumsum(probabilities[order])
    ticks = rng.random() + np.arange(size)
    # The last end is the size but for rounding, which must not put the last tick beyond it.
    hit = np.searchsorted(ends[:-1], ticks, side="right")
    return np.sort(np.concatenate([sure, open_[order[hit]]]))
