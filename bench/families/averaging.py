"""Coverage-weighted averaging: each entry of a server tensor becomes the mean over the clients that held it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class CoverageMean:
    """The weighted mean of clients' blocks of one server tensor, entry by entry.

    ``theta_j <- sum_c a_c m_cj theta_cj / sum_c a_c m_cj`` where a client holds entry j, unchanged elsewhere. It is
    computed as the server's value plus the mean change, so that clients that changed nothing leave it exactly as it is.

    Args:
        base: the server's tensor before the round.
    """

    def __init__(self, base: Tensor) -> None:
        self.base = base
        self.change = torch.zeros_like(base)
        self.weight = torch.zeros_like(base)

    @torch.no_grad()
    def add(self, values: Tensor, index: Any = ..., weight: float = 1.0) -> None:
        """Add a client's block: ``values`` are its entries ``base[index]``, each at most once."""
        self.change[index] += weight * (values.to(self.base) - self.base[index])
        self.weight[index] += weight

    @property
    def held(self) -> Tensor:
        """Which entries some client held, boolean, the tensor's shape."""
        return self.weight > 0

    @torch.no_grad()
    def result(self) -> Tensor:
        """Return the new tensor."""
        return self.base + self.change / torch.where(self.held, self.weight, 1.0)
