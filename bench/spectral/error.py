"""How far sub-models are from the server's matrix, in expectation over the draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def expected_error(sigma: np.ndarray, inclusion: np.ndarray, multipliers: np.ndarray | None = None) -> float:
    """Return ``E ||W - What||_F^2`` of one client's sub-model.

    It is ``sum_i sigma_i^2 (1 - 2 w_i pi_i + w_i^2 pi_i)``: principal kernels are orthonormal, so that the law enters
    through its inclusion probabilities alone (Korzhenkov and Louizos, Spectral sharding, 2024).

    Args:
        sigma: singular values, ``[units]``.
        inclusion: probability pi with which each unit is drawn, ``[units]``.
        multipliers: factor w of each unit if drawn, ``[units]``; ones if not given.
    """
    return expected_mean_error(sigma, [(inclusion, multipliers)])


def expected_mean_error(sigma: np.ndarray, laws: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> float:
    """Return ``E ||W - mean_c What_c||_F^2`` for clients that draw independently.

    It is the squared bias plus the variance, ``sum_i sigma_i^2 ((1 - mean_c w_ci pi_ci)^2 + C^-2 sum_c w_ci^2 pi_ci
    (1 - pi_ci))``, which for equal laws is the objective of Theorem 3.2 (Korzhenkov and Louizos, 2024).

    Args:
        sigma: singular values, ``[units]``.
        laws: each client's inclusion probabilities and multipliers (None for ones), ``[units]``.

    Raises:
        ValueError: there is no client.
    """
    if not laws:
        raise ValueError("the mean over no clients has no error")
    inclusion = np.stack([pi for pi, _ in laws])
    multipliers = np.stack([np.ones(len(sigma)) if w is None else w for _, w in laws])
    bias = 1 - (multipliers * inclusion).mean(axis=0)
    variance = (multipliers**2 * inclusion * (1 - inclusion)).sum(axis=0) / len(laws) ** 2
    return float((np.square(sigma, dtype=np.float64) * (bias**2 + variance)).sum())
