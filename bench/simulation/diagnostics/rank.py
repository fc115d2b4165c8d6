"""How many principal kernels a layer needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.models.base import Model, matrix
from bench.spectral.decompose import singular_values


@dataclass(frozen=True)
class LayerRank:
    """The effective rank of one factorable layer.

    Attributes:
        layer: name of the weight.
        kernels: number of principal kernels R.
        required_kernels: 2^entropy with kappa = 2 (PriSM, appendix B).
        required_kernels_renyi: 2^H2 as in the authors' released code.
    """

    layer: str
    kernels: int
    required_kernels: float
    required_kernels_renyi: float


def layer_ranks(model: Model) -> list[LayerRank]:
    """Return the effective rank of each factorable layer of a full model."""
    weights = dict(model.named_parameters())
    spectra = singular_values({name: matrix(weights[name]) for name in model.factorable})
    return [
        LayerRank(name, len(sigma), required_kernels(sigma), required_kernels_renyi(sigma))
        for name, sigma in spectra.items()
    ]


def required_kernels(sigma: Tensor, kappa: float = 2.0) -> float:
    """Return ``2 ** (-sum p_i log2 p_i)`` with ``p_i = sigma_i^kappa / sum sigma^kappa``.

    PriSM, appendix B, with kappa = 2; the paper prints the exponent as ``-log(sum p log p)``. Between 1 and R, nan
    where all singular values are 0.

    Args:
        sigma: singular values ``[R]``.
        kappa: smooth factor of equation 2.
    """
    # 2 to the entropy in bits is e to the entropy in nats; entr(0) = 0.
    return float(torch.special.entr(_shares(sigma, kappa)).sum().exp())


def required_kernels_renyi(sigma: Tensor) -> float:
    """Return ``2 ** H2 = 1 / sum p_i^2`` with ``p_i = sigma_i / sum sigma``, the released code's measure."""
    return float(1 / (_shares(sigma, 1.0) ** 2).sum())


def _shares(sigma: Tensor, kappa: float) -> Tensor:
    powers = (sigma / sigma.max()) ** kappa
    return powers / powers.sum()
