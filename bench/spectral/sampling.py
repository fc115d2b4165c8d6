"""Drawing the principal kernels of a sub-model."""

from __future__ import annotations

import numpy as np


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
    """
    ring = np.log(rng.standard_exponential(len(log_weights))) - log_weights
    return np.sort(np.argsort(ring, kind="stable")[:size])


def log_powers(sigma: np.ndarray, kappa: float) -> np.ndarray:
    """Return ``kappa * log(sigma)``, with weight one for every unit at ``kappa = 0`` and -inf where sigma is zero."""
    if kappa == 0:
        return np.zeros(len(sigma))
    with np.errstate(divide="ignore"):
        return kappa * np.log(sigma.astype(np.float64))
