"""Unbiased: the client's layer is the server's on average, with the least expected error."""

from __future__ import annotations

import numpy as np

from bench.families.estimator import Estimator
from bench.spectral.designs import Design, FixedSize
from bench.spectral.inclusion import horvitz_thompson, unbiased_inclusion


class Unbiased(Estimator):
    """Kernel i is drawn with ``pi_i = min(1, c sigma_i)`` and weighed by ``1 / pi_i`` (Theorem 3.1, Algorithm 1).

    The multipliers are Horvitz and Thompson's: the mean of a client's layer over all draws is the server's.
    """

    summary = "kernels drawn with pi = min(1, c sigma), weighed by 1/pi: unbiased, least expected error"
    unbiased = True

    def design(self, sigma: np.ndarray, rank: int, clients: int) -> Design:
        inclusion = unbiased_inclusion(sigma, rank)
        return FixedSize(inclusion, self.params.sampler, horvitz_thompson(inclusion))
