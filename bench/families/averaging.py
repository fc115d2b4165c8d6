"""Coverage-weighted averaging: each entry of a server tensor becomes the mean over the clients that held it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from bench.api import Client, Update

Weights = Literal["samples", "uniform"]


def client_weight(client: Client, weights: Weights) -> float:
    """Return how much a client counts in an average: its number of samples, or 1 where all count alike."""
    return float(client.samples) if weights == "samples" else 1.0


def means_of(named: Mapping[str, Tensor], updates: Iterable[Update], weights: Weights) -> dict[str, Tensor]:
    """Return each of the server's tensors as the mean over the clients that sent it whole; what none sent stays."""
    means = {name: CoverageMean(tensor.detach()) for name, tensor in named.items()}
    for update in updates:
        for name, values in update.parameters.items():
            means[name].add(values, weight=client_weight(update.selection.client, weights))
    return {name: mean.result() for name, mean in means.items()}


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
        self.weight = base.new_zeros(())  # one number as long as every client holds the whole tensor

    @torch.no_grad()
    def add(self, values: Tensor, index: Any = ..., weight: float = 1.0) -> None:
        """Add a client's block: ``values`` are its entries ``base[index]``, each at most once."""
        if index is ...:
            self.change.add_(values.to(self.base) - self.base, alpha=weight)
            self.weight += weight
            return
        if self.weight.ndim < self.base.ndim:
            self.weight = self.weight.expand_as(self.base).clone()
        self.change[index] += weight * (values.to(self.base) - self.base[index])
        self.weight[index] += weight

    @property
    def held(self) -> Tensor:
        """Which entries some client held, boolean, the tensor's shape."""
        return (self.weight > 0).expand_as(self.base)

    @torch.no_grad()
    def result(self) -> Tensor:
        """Return the new tensor."""
        return _mean(self.base, self.change, self.weight)


class RowMean:
    """The same mean where clients hold whole rows of a matrix, many times as fast.

    Args:
        base: the server's matrix before the round, ``[rows, columns]``, best with rows that lie in memory as they are.
    """

    def __init__(self, base: Tensor) -> None:
        self.base = base
        self.change = torch.zeros_like(base)
        self.weight = base.new_zeros(len(base))

    @torch.no_grad()
    def add(self, values: Tensor, rows: Tensor, weight: float = 1.0) -> None:
        """Add a client's rows.

        Args:
            values: ``[held, columns]``; the last columns, if all clients leave them out, keep their value.
            rows: which rows they are, int64 ``[held]``, each at most once.
            weight: the client's weight in the mean.
        """
        columns = slice(values.shape[1])
        before = self.base[:, columns].index_select(0, rows)
        self.change[:, columns].index_add_(0, rows, before.sub_(values.to(before)), alpha=-weight)
        self.weight[rows] += weight

    @property
    def held(self) -> Tensor:
        """Which rows some client held, boolean ``[rows]``."""
        return self.weight > 0

    @torch.no_grad()
    def result(self) -> Tensor:
        """Return the new matrix."""
        return _mean(self.base, self.change, self.weight[:, None])


def _mean(base: Tensor, change: Tensor, weight: Tensor) -> Tensor:
    return base + change / torch.where(weight > 0, weight, 1.0)
