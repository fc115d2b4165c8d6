"""Collective: the mean of the clients' layers has the least expected error."""

from __future__ import annotations

import numpy as np

from bench.families.estimator import Estimator
from bench.spectral.designs import Design, FixedSize
from bench.spectral.inclusion import collective_inclusion, collective_multipliers


class Collective(Estimator):
    """``pi_i = clip((c sigma_i - 1) / (C - 1), 0, 1)`` and ``w_i = C / (1 + (C - 1) pi_i)`` (Theorem 3.2, Algorithm 2).

    C is the number of the round's clients with the same keep ratio; a client alone trains the leading kernels.
    """

    summary = "kernels drawn and weighed so that the mean over the clients has the least expected error"

    def design(self, sigma: np.ndarray, rank: int, clients: int) -> Design:
        inclusion = collective_inclusion(sigma, rank, clients)
        return FixedSize(inclusion, self.params.sampler, collective_multipliers(inclusion, clients))
