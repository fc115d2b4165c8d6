"""Singular value decomposition of layers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """A thin singular value decomposition ``W = U diag(s) V`` with ``R = min(outputs, inputs)`` terms.

    Attributes:
        u: ``[outputs, R]``, orthonormal columns.
        s: ``[R]``, singular values, descending.
        v: ``[R, inputs]``, orthonormal rows.
    """

    u: Tensor
    s: Tensor
    v: Tensor

    @property
    def kernels(self) -> int:
        """The number R of principal kernels."""
        return len(self.s)


@torch.no_grad()
def decompose(matrix: Tensor) -> Spectrum:
    """Return the thin singular value decomposition of a matrix ``[outputs, inputs]``."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return Spectrum(u, s, v)


def rank_of(keep: float, kernels: int) -> int:
    """Return the number of kernels a keep ratio leaves: ``ceil(keep * kernels)`` (PriSM's code, ``math.ceil``).

    The product is rounded to nine decimals first, so that 0.7 of 10 kernels is 7 and not, by the binary rounding of
    0.7 * 10 = 7.000000000000001, 8.
    """
    return max(1, math.ceil(round(keep * kernels, 9)))
