"""The sign-flip test of paired differences, exact where they are few."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from bench.seeding import stream

MOST_EXACT = 16
"""Differences up to which all flips are enumerated."""
DRAWS = 9_999
_ROUNDING = 1e-9  # relative; sums of the same numbers in another order differ by less


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test of a mean difference.

    Where the methods are alike, each difference has either sign with equal probability (the two runs of a seed could be
    swapped). The p-value is the share of all 2^n sign patterns whose mean is at least as far from zero as the observed
    one. Above :data:`MOST_EXACT` differences the patterns are drawn (:func:`scipy.stats.permutation_test`), always the
    same ones.

    Args:
        differences: one a seed, in any unit; missing without any.
    """
    values = np.asarray(differences, dtype=float)
    if not len(values):
        return float("nan")
    if len(values) > MOST_EXACT:
        test = stats.permutation_test(
            (values,),
            np.mean,
            permutation_type="samples",
            vectorized=True,
            n_resamples=DRAWS,
            rng=stream(0, "sign-flip test"),
        )
        return float(test.pvalue)
    sums = np.abs(_half_of_all_signs(len(values)) @ values)
    least = abs(values.sum()) - _ROUNDING * np.abs(values).sum()
    return float(np.mean(sums >= least))


def least_p(pairs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the least p-value that so many differences can have: 2 / 2^n where all flips are enumerated."""
    number = np.asarray(pairs, dtype=float)
    exact = np.where(number > 0, np.minimum(1.0, 2.0 ** (1 - number)), np.nan)
    return np.where(number > MOST_EXACT, 2 / (DRAWS + 1), exact)


@functools.cache
def _half_of_all_signs(number: int) -> npt.NDArray[np.float64]:
    """Return the sign patterns whose first sign is plus; the other half mirrors them, with the same distances."""
    bits = np.arange(2 ** (number - 1))[:, None] >> np.arange(number - 1)[None, :] & 1
    return np.hstack([np.ones((len(bits), 1)), 1.0 - 2.0 * bits])
