"""How the factors that clients trained come back into the server's layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Selection, Update
from bench.families.averaging import CoverageMean
from bench.models.low_rank import Factors

MOMENTUM = "momentum/"
"""What the names of carried momentum buffers begin with in the server's memory."""


class ProductMean:
    """A layer whose kernels become the mean of their clients' products: ``W = sum_i mean_c(s_i u_ci v_ci^T)``.

    Kernels held by nobody keep their value. Unlike the mean of each factor this needs the factors of the whole cohort
    at once, since the weight of a kernel's clients is known only when all have reported.

    Args:
        base: all kernels as the server has them before the round.
    """

    def __init__(self, base: Factors) -> None:
        self.base = base
        self._updates: list[tuple[Tensor, Tensor, Tensor, float]] = []

    def add(self, u: Tensor, v: Tensor, kept: Tensor, weight: float) -> None:
        """Add a client's kernels.

        Args:
            u: ``[rows, rank]``; rows that it leaves out keep their value.
            v: ``[rank, inputs]``.
            kept: which kernels they are, int64 ``[rank]``.
            weight: the client's weight in the means.
        """
        whole = self.base.u[:, kept]
        whole[: len(u)] = u.to(whole)
        self._updates.append((whole, v.to(whole), kept, weight))

    @torch.no_grad()
    def result(self, keeps_tail: bool = True) -> Tensor:
        """Return the new matrix ``[outputs, inputs]``, without the kernels nobody held unless the tail is kept."""
        held = torch.zeros_like(self.base.v[:, 0])
        for _, _, kept, weight in self._updates:
            held[kept] += weight
        scale = torch.ones_like(held) if self.base.scale is None else self.base.scale
        tail = (held == 0) & keeps_tail
        us, vs = [self.base.u[:, tail] * scale[tail]], [self.base.v[tail]]
        for u, v, kept, weight in self._updates:
            us.append(u * (scale[kept] * weight / held[kept]))
            vs.append(v)
        return torch.cat(us, 1) @ torch.cat(vs)


class Averages:
    """The averages of one round.

    Args:
        trained: what the clients train, by the sub-model's parameter names, at the server's full size.
        scales: the frozen singular values of each factored weight; None where they are absorbed.
        buffers: carried momentum by parameter name; None where clients send none.
        products: average the products of a kernel's vectors and not each vector.
        keeps_tail: leave kernels nobody held in the server's layers.
    """

    def __init__(
        self,
        trained: Mapping[str, Tensor],
        scales: Mapping[str, Tensor | None],
        buffers: Mapping[str, Tensor] | None,
        products: bool,
        keeps_tail: bool,
    ) -> None:
        self.scales, self.keeps_tail = scales, keeps_tail
        whole = {name: tensor for name, tensor in trained.items() if not products or name[:-2] not in scales}
        self._means = {name: CoverageMean(tensor) for name, tensor in whole.items()}
        self._buffers = {name: CoverageMean(tensor) for name, tensor in (buffers or {}).items()}
        self._products: dict[str, ProductMean] = {}
        if products:
            self._products = {
                name: ProductMean(Factors(trained[f"{name}_u"], trained[f"{name}_v"], scale))
                for name, scale in scales.items()
            }

    def add(self, update: Update, weight: float) -> None:
        """Add what one client sent, with its weight."""
        for name, values in update.parameters.items():
            if name in self._means:
                self._means[name].add(values, place(name, update.selection, len(values)), weight)
        for name, mean in self._products.items():
            kept = update.selection.indices[name]
            mean.add(update.parameters[f"{name}_u"], update.parameters[f"{name}_v"], kept, weight)
        for name, values in update.momentum.items():
            self._buffers[name].add(values, place(name, update.selection, len(values)), weight)

    @torch.no_grad()
    def write(self, model: nn.Module) -> None:
        """Write the averages into the server model: ``W = sum_i s_i mean(u_i) mean(v_i)^T`` over all kernels."""
        for name, parameter in model.named_parameters():
            if name not in self.scales:
                parameter.copy_(self._means[name].result())
            elif name in self._products:
                parameter.copy_(self._products[name].result(self.keeps_tail).reshape(parameter.shape))
            else:
                parameter.copy_(self._of_factors(name).reshape(parameter.shape))

    def _of_factors(self, name: str) -> Tensor:
        mean_u, mean_v = self._means[f"{name}_u"], self._means[f"{name}_v"]
        u = mean_u.result()
        if not self.keeps_tail:
            u = torch.where(mean_v.held[:, 0], u, 0.0)
        return Factors(u, mean_v.result(), self.scales[name]).product()

    def momentum(self) -> dict[str, Tensor]:
        """Return the averaged momentum as the server remembers it."""
        return {f"{MOMENTUM}{name}": mean.result() for name, mean in self._buffers.items()}


def place(name: str, selection: Selection, rows: int | None = None) -> Any:
    """Return where a sub-model's parameter lies in the server's tensor of the same name.

    Args:
        name: of the parameter, ``<weight>_u`` or ``<weight>_v`` where it is a factor.
        selection: the kept kernels.
        rows: how many rows of a ``u`` a client sent, the first ones; None for all.
    """
    weight, side = name[:-2], name[-2:]
    if weight not in selection.indices:
        return ...
    kept = selection.indices[weight]
    return (slice(rows), kept) if side == "_u" else (kept,)
