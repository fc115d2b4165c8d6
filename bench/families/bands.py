"""Averages of kernels that some clients hold and others do not: over all clients, or over those that have the kernel.

Clients of rank r hold the first r kernels of a layer. Where the server averages products over *all* clients, kernels
that few hold are divided by the weight of all, and shrink in every round by the share of their holders (the "rank
collapse" of Wu et al., Preventing rank collapse in federated low-rank adaptation with client heterogeneity,
arXiv 2602.13486). Averaged over their *holders* they keep their size: ranks fall into bands between the clients' ranks,
and each band has weights of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.api import Update
from bench.families.spectral_averaging import ProductMean
from bench.families.split import absorbed
from bench.models.split_convolution import joined_kernel, split_matrix
from bench.spectral.decompose import Spectrum, decompose_all

BANDS = (
    "kernels that only some clients of the cohort hold are averaged over all, the others counting as zero, or over "
    "their holders (raFLoRA), each band of ranks with its own weights"
)


class BandMean:
    """A kernel of a split convolution as the mean over its clients, singular vector by singular vector.

    ``W = sum_i mean_{c holds i}(u_ci v_ci^T)``: each band of ranks has the weights of the clients that have it. What a
    client of the dense model sent is decomposed first, so that its kernels fall into bands as others' do. Ranks that no
    client has are left out.

    Args:
        spectrum: the server's decomposition of the kernel before the round.
    """

    def __init__(self, spectrum: Spectrum) -> None:
        self._own = absorbed(spectrum)
        self._mean = ProductMean(self._own)
        self._all = torch.arange(spectrum.kernels, device=spectrum.s.device)

    def add(self, update: Update, name: str, weight: float) -> None:
        """Add what a client sent of the weight ``name``: the kernel, or its factors but for one that is fixed."""
        dense = update.parameters.get(name)
        if dense is None:
            u, v = (update.parameters.get(f"{name}_{side}") for side in "uv")
            self._mean.add(u, v, update.selection.indices[name], weight)
            return
        factors = absorbed(decompose_all({name: split_matrix(dense)})[name])
        self._mean.add(factors.u, factors.v, self._all, weight)

    def add_own(self, weight: float) -> None:
        """Add the server's own kernel, as one more client's."""
        self._mean.add(self._own.u, self._own.v, self._all, weight)

    def result(self, shape: torch.Size) -> Tensor:
        """Return the new kernel, of this shape."""
        return joined_kernel(self._mean.result(keeps_tail=False), shape)
