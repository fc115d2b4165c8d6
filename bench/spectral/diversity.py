"""How much a law of drawing kernels explores."""

from __future__ import annotations

import numpy as np
import torch


def anme(inclusion: np.ndarray, size: int) -> float:
    """Return the normalised mean entropy of one layer's inclusion probabilities, 0 to 1.

    The mean over units of the binary entropy of pi, divided by its maximum, which is that of ``pi = size / units``;
    0 where every unit is sure to be taken or left (Korzhenkov and Louizos, Spectral sharding, 2024: the average of
    this over layers is their ANME).

    Args:
        inclusion: probability with which each unit is drawn, ``[units]``.
        size: number of units drawn, 1 to ``units``.
    """
    units = len(inclusion)
    if size >= units:
        return 0.0
    largest = _binary_entropy(np.array([size / units]))
    return float(_binary_entropy(np.clip(inclusion, 0, 1)).mean() / largest[0])


def _binary_entropy(probabilities: np.ndarray) -> np.ndarray:
    both = torch.from_numpy(np.stack([probabilities, 1 - probabilities]))
    return torch.special.entr(both).sum(0).numpy()
