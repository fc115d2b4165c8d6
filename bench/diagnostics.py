"""How many principal kernels a layer needs, and which of them have been trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.models.base import Model, matrix


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


@torch.no_grad()
def layer_ranks(model: Model) -> list[LayerRank]:
    """Return the effective rank of each factorable layer of a full model."""
    weights = dict(model.named_parameters())
    ranks = []
    for name in model.factorable:
        sigma = torch.linalg.svdvals(matrix(weights[name])).cpu().double()
        ranks.append(LayerRank(name, len(sigma), required_kernels(sigma), required_kernels_renyi(sigma)))
    return ranks


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


class Coverage:
    """Which units of each piece of the model (kernels of a layer, channels of a group) have been trained so far.

    Kernels are counted by their place in the spectrum, which is decomposed anew each round: kernel 3 is the third
    largest of its round.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Tensor] = {}

    def add(self, trained: Mapping[str, tuple[Tensor, int]]) -> None:
        """Add the units that one client trains; see :meth:`bench.api.Method.coverage`."""
        for piece, (units, size) in trained.items():
            seen = self._seen.setdefault(piece, torch.zeros(size, dtype=torch.bool))
            seen[units.cpu()] = True

    def share(self) -> float | None:
        """Return the share of all units trained so far; None where a method has nothing to cover."""
        units = sum(len(seen) for seen in self._seen.values())
        return sum(int(seen.sum()) for seen in self._seen.values()) / units if units else None

    def by_piece(self) -> dict[str, float]:
        """Return the share trained so far of each piece."""
        return {piece: float(seen.float().mean()) for piece, seen in self._seen.items()}
