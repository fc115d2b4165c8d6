"""Spectra as training makes them: equal values, jumps, zeros, one dominant value, at every scale."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

JUMPS = (1e-3, 1e-5, 1e-8, 1e-11, 1e-14)
SCALES = (1e-30, 1.0, 1e30)


@st.composite
def hard_spectra(draw: st.DrawFn, most: int = 24) -> np.ndarray:
    """Return singular values, descending, ``[1 to most units]``: groups of equal or scattered values, jumps between."""
    values, level = [1.0] * draw(st.integers(1, most)), 1.0
    for _ in range(draw(st.integers(0, 3))):
        level *= draw(st.sampled_from((*JUMPS, 0.5, 0.0)))
        values += [level] * draw(st.integers(1, most))
    sigma = np.array(values[:most])
    if draw(st.booleans()):
        sigma *= np.random.default_rng(draw(st.integers(0, 9))).uniform(1, 1.5, len(sigma))
    if draw(st.booleans()):
        sigma[0] *= 1e6
    return np.sort(sigma)[::-1] * draw(st.sampled_from(SCALES))


@st.composite
def spectra_and_sizes(draw: st.DrawFn, most: int = 24) -> tuple[np.ndarray, int]:
    """Return a hard spectrum and how many of its units are drawn: all keep ratios, and the sizes next to a jump."""
    sigma = draw(hard_spectra(most))
    units = len(sigma)
    jumps = np.flatnonzero(np.diff(sigma) < 0) + 1
    near = {int(np.clip(jump + step, 1, units)) for jump in jumps for step in (-1, 0, 1)}
    return sigma, draw(st.sampled_from(sorted({1, units, max(units - 1, 1), (units + 1) // 2, *near})))


@st.composite
def probabilities(draw: st.DrawFn, most: int = 16) -> np.ndarray:
    """Return any probabilities that sum to a whole number, ``[2 to most units]``: within 1e-17 of 0 and 1 too."""
    odds = np.repeat(draw(st.lists(st.floats(-40, 40), min_size=1, max_size=4)), draw(st.integers(2, most // 4)))
    odds = odds + draw(st.sampled_from([0.0, 1.0])) * np.random.default_rng(0).standard_normal(len(odds))
    size = draw(st.integers(1, len(odds) - 1))
    low, high = -800.0, 800.0
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _chance(odds + middle).sum() < size else (low, middle)
    return _chance(odds + high)


def _chance(odds: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(odds, 0)) / (1 + np.exp(-np.abs(odds)))
