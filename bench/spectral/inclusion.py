"""Inclusion probabilities: with which probability each principal kernel of a layer goes to a client.

A spectrum ``sigma`` is given in descending order, ``[units]``. Every law here has a fixed size: its probabilities sum
to ``size``, the number of kernels a client can train.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

NEGLIGIBLE = 1e-150
"""Singular values below this share of the largest count as zero, and units of a smaller probability as never drawn.

The squares of their reciprocals, which expected errors are made of, would overflow.
"""
SURE = 1e-12
"""A unit whose probability is within this of one is always taken."""
OFF = 1e-6
"""How far the sum of inclusion probabilities may be from a whole number."""


def uniform_inclusion(units: int, size: int) -> np.ndarray:
    """Return ``size / units`` for every unit.

    Raises:
        ValueError: ``size`` is not between 1 and ``units``.
    """
    _check(units, size)
    return np.full(units, size / units)


def leading_inclusion(units: int, size: int) -> np.ndarray:
    """Return one for the first ``size`` units and zero for the others.

    Raises:
        ValueError: ``size`` is not between 1 and ``units``.
    """
    _check(units, size)
    return (np.arange(units) < size).astype(np.float64)


def unbiased_inclusion(sigma: np.ndarray, size: int) -> np.ndarray:
    """Return the probabilities of the unbiased sub-model of least expected error, ``min(1, c sigma)``.

    With the multipliers of :func:`horvitz_thompson` the sub-model's mean is the full matrix (Korzhenkov and Louizos,
    Spectral sharding, 2024, Theorem 3.1; this closed form gives what their Algorithm 1 finds by a sweep).

    Units with ``sigma = 0`` get nothing as long as the others need all of ``size``. Where fewer than ``size`` units
    differ from zero, these are sure and the zeros share the rest equally: that is the limit for equal, vanishing
    singular values, and no other share would have a smaller error.

    Args:
        sigma: singular values, non-negative, ``[units]``.
        size: number of units a client gets.

    Raises:
        ValueError: ``size`` is not between 1 and the number of units, or a singular value is not finite.
    """
    return _filled(sigma, size, floor=0.0, span=1.0)


def collective_inclusion(sigma: np.ndarray, size: int, clients: int) -> np.ndarray:
    """Return the probabilities with which the mean of the clients' sub-models has the least expected error.

    They are ``clip((c sigma - 1) / (C - 1), 0, 1)`` for C clients that draw independently, with the multipliers of
    :func:`collective_multipliers`; a single client gets the leading units (Korzhenkov and Louizos, Theorem 3.2; this
    closed form gives what their Algorithm 2 finds by a double sweep). Zeros are treated as in
    :func:`unbiased_inclusion`.

    Args:
        sigma: singular values, descending, ``[units]``.
        size: number of units each client gets.
        clients: number C of clients that get as many.

    Raises:
        ValueError: ``size`` is not between 1 and the number of units, ``clients`` is below 1, or a singular value is
            not finite.
    """
    if clients < 1:
        raise ValueError(f"the number of clients is {clients}, but must be 1 or more")
    if clients == 1:
        return leading_inclusion(len(sigma), size)
    return _filled(sigma, size, floor=1.0, span=clients - 1.0)


def collective_multipliers(inclusion: np.ndarray, clients: int) -> np.ndarray:
    """Return the multipliers ``C / (1 + (C - 1) pi)`` of Theorem 3.2, and 0 for units that are never drawn."""
    return np.where(inclusion > 0, clients / (1 + (clients - 1) * inclusion), 0.0)


def horvitz_thompson(inclusion: np.ndarray) -> np.ndarray:
    """Return the multipliers ``1 / pi`` that make a sub-model unbiased, and 0 for units that are never drawn.

    Those with a probability of :data:`NEGLIGIBLE` or less count as such: no multiplier is above its reciprocal.
    """
    return np.divide(1.0, inclusion, out=np.zeros(len(inclusion)), where=inclusion > NEGLIGIBLE)


def _filled(sigma: np.ndarray, size: int, floor: float, span: float) -> np.ndarray:
    """Return ``clip((c sigma - floor) / span, 0, 1)`` with the level c at which it sums to ``size``.

    The sum is a piecewise linear function of the level, with a corner wherever a unit starts to fill or is full. The
    two corners around ``size`` are found by bisection among the corners; between them the level is exact.
    """
    _check(len(sigma), size)
    if not np.isfinite(sigma).all():
        raise ValueError("a spectrum has values that are not finite, and so no inclusion probabilities")
    largest = sigma.max()
    relative = sigma.astype(np.float64) / largest if largest > 0 else np.zeros(len(sigma))
    positive = relative > NEGLIGIBLE
    if positive.sum() <= size:
        return _all_positive(positive, size)

    def filled(level: float) -> np.ndarray:
        return np.clip((level * relative - floor) / span, 0.0, 1.0)

    reciprocal = 1 / relative[positive]
    corners = np.sort(np.concatenate([floor * reciprocal, (floor + span) * reciprocal]))
    above = bisect_left(corners, size, key=lambda level: filled(level).sum())
    low, high = corners[above - 1], corners[above]
    short, enough = filled(low).sum(), filled(high).sum()
    return filled(low + (size - short) / (enough - short) * (high - low))


def _all_positive(positive: np.ndarray, size: int) -> np.ndarray:
    """Return one for the positive units; the others share what is left of ``size``."""
    inclusion = np.ones(len(positive))
    zeros = int((~positive).sum())
    inclusion[~positive] = (size - (len(positive) - zeros)) / max(zeros, 1)
    return inclusion


def _check(units: int, size: int) -> None:
    if not 1 <= size <= units:
        raise ValueError(f"the number of units to draw is {size}, but must be 1 to {units}")


class Split(NamedTuple):
    """The units of a design of fixed size, split for drawing.

    Attributes:
        sure: units that are always taken, int64.
        open: units that are taken or not, int64.
        inclusion: their probabilities, strictly between 0 and 1, that sum to ``size`` exactly up to one rounding.
        size: how many of the open units are taken.
    """

    sure: np.ndarray
    open: np.ndarray
    inclusion: np.ndarray
    size: int


def split(inclusion: np.ndarray) -> Split:
    """Put aside the units that are always or never taken, and mend the rounding of the others' sum.

    Always taken are those within :data:`SURE` of one; never those of probability zero, however small the others' are.
    What the sure ones lacked comes out of the others in proportion to ``pi (1 - pi)``, which leaves all of these
    between 0 and 1. Where the others are together too close to 0 and 1 for that, nothing is left to chance: the
    largest are taken. No unit's probability moves by more than four times what all sure units lacked together, at most
    ``units * SURE``, and what the sum itself was off.

    Raises:
        ValueError: the probabilities are not between 0 and 1, or do not sum to a whole number.
    """
    total = inclusion.sum()
    if not (inclusion >= 0).all() or (inclusion > 1 + SURE).any() or abs(total - np.round(total)) > OFF:
        raise ValueError(f"inclusion probabilities must lie in [0, 1] and sum to a whole number, not to {total}")
    sure = inclusion >= 1 - SURE
    open_ = (inclusion > 0) & ~sure
    probabilities = inclusion[open_]
    size = int(np.round(total)) - int(sure.sum())
    missing = size - probabilities.sum()
    variance = probabilities * (1 - probabilities)
    if size <= 0 or size >= len(probabilities) or 2 * abs(missing) >= variance.sum():
        largest = np.flatnonzero(open_)[np.argsort(-probabilities, kind="stable")[: max(size, 0)]]
        taken = np.sort(np.concatenate([np.flatnonzero(sure), largest]))
        return Split(taken, np.empty(0, np.int64), np.empty(0), 0)
    mended = probabilities + missing * variance / variance.sum()
    return Split(np.flatnonzero(sure), np.flatnonzero(open_), mended, size)
