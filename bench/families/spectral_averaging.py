"""How the factors that clients trained come back into the server's layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from bench.api import Selection, Update
from bench.families.averaging import CoverageMean, RowMean
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

    def add(self, u: Tensor | None, v: Tensor | None, kept: Tensor, weight: float) -> None:
        """Add a client's kernels.

        Args:
            u: ``[rows, rank]``; rows that it leaves out keep their value, all if it is None.
            v: ``[rank, inputs]``; None where it keeps its value.
            kept: which kernels they are, int64 ``[rank]``.
            weight: the client's weight in the means.
        """
        whole = self.base.u[:, kept]
        if u is not None:
            whole[: len(u)] = u.to(whole)
        self._updates.append((whole, self.base.v[kept] if v is None else v.to(whole), kept, weight))

    @torch.no_grad()
    def result(self, keeps_tail: bool = True, total: float | None = None) -> Tensor:
        """Return the new matrix ``[outputs, inputs]``, without the kernels nobody held unless the tail is kept.

        Args:
            keeps_tail: leave kernels that nobody held as they are.
            total: what a kernel's sum is divided by, if not by the weight of its holders.
        """
        held = torch.zeros_like(self.base.v[:, 0])
        for _, _, kept, weight in self._updates:
            held[kept] += weight
        scale = torch.ones_like(held) if self.base.scale is None else self.base.scale
        tail = (held == 0) & keeps_tail
        us, vs = [self.base.u[:, tail] * scale[tail]], [self.base.v[tail]]
        for u, v, kept, weight in self._updates:
            us.append(u * (scale[kept] * weight / (held[kept] if total is None else total)))
            vs.append(v)
        return torch.cat(us, 1) @ torch.cat(vs)


class TensorMeans:
    """The means of tensors by the names they have in a sub-model: factors kernel by kernel, all others as a whole.

    Args:
        tensors: the server's, at their full size.
        factored: names of the factored weights.
    """

    def __init__(self, tensors: Mapping[str, Tensor], factored: Collection[str]) -> None:
        self._factors = {
            name: RowMean(kernel_rows(name, tensor)) for name, tensor in tensors.items() if name[:-2] in factored
        }
        self._others = {name: CoverageMean(tensor) for name, tensor in tensors.items() if name not in self._factors}

    def add(self, values: Mapping[str, Tensor], selection: Selection, weight: float) -> None:
        """Add what one client sent of these tensors."""
        for name, tensor in values.items():
            if name in self._factors:
                self._factors[name].add(kernel_rows(name, tensor), selection.indices[name[:-2]], weight)
            elif name in self._others:
                self._others[name].add(tensor, weight=weight)

    def held(self, factor: str) -> Tensor:
        """Return which kernels of a factor some client held, boolean ``[R]``."""
        return self._factors[factor].held

    def weight(self, factor: str) -> Tensor:
        """Return the weight of the clients that sent each kernel of a factor, ``[R]``."""
        return self._factors[factor].weight

    def result(self, name: str) -> Tensor:
        """Return the mean of one tensor."""
        if name in self._factors:
            return kernel_rows(name, self._factors[name].result())
        return self._others[name].result()

    def results(self) -> dict[str, Tensor]:
        """Return all means."""
        return {name: self.result(name) for name in [*self._factors, *self._others]}


class Averages:
    """The averages of one round.

    Args:
        trained: what the clients train, by the sub-model's parameter names, at the server's full size.
        scales: the frozen singular values of each factored weight; None where they are absorbed.
        buffers: carried momentum by parameter name; None where clients send none.
        products: average the products of a kernel's vectors and not each vector.
        keeps_tail: leave kernels nobody held in the server's layers.
        over_all: divide what was sent of a kernel by the weight of all clients, and not by that of its holders.
    """

    def __init__(
        self,
        trained: Mapping[str, Tensor],
        scales: Mapping[str, Tensor | None],
        buffers: Mapping[str, Tensor] | None,
        products: bool,
        keeps_tail: bool,
        over_all: bool = False,
    ) -> None:
        self.scales, self.keeps_tail, self.over_all = scales, keeps_tail, over_all
        self._total = 0.0
        whole = {name: tensor for name, tensor in trained.items() if not products or name[:-2] not in scales}
        self._means = TensorMeans(whole, scales)
        self._buffers = TensorMeans(buffers or {}, scales)
        self._products: dict[str, ProductMean] = {}
        if products:
            self._products = {
                name: ProductMean(Factors(trained[f"{name}_u"], trained[f"{name}_v"], scale))
                for name, scale in scales.items()
            }

    def add(self, update: Update, weight: float) -> None:
        """Add what one client sent, with its weight."""
        self._total += weight
        self._means.add(update.parameters, update.selection, weight)
        for name, mean in self._products.items():
            kept = update.selection.indices[name]
            mean.add(update.parameters.get(f"{name}_u"), update.parameters.get(f"{name}_v"), kept, weight)
        self._buffers.add(update.momentum, update.selection, weight)

    @torch.no_grad()
    def write(self, model: nn.Module) -> None:
        """Write the averages into the server model: ``W = sum_i s_i mean(u_i) mean(v_i)^T`` over all kernels."""
        for name, parameter in model.named_parameters():
            if name not in self.scales:
                parameter.copy_(self._means.result(name))
            elif name in self._products:
                parameter.copy_(self._product(name).reshape(parameter.shape))
            else:
                parameter.copy_(self._of_factors(name).reshape(parameter.shape))

    def _product(self, name: str) -> Tensor:
        return self._products[name].result(self.keeps_tail, self._total if self.over_all else None)

    def _of_factors(self, name: str) -> Tensor:
        u, v = self._means.result(f"{name}_u"), self._means.result(f"{name}_v")
        if not self.keeps_tail:
            held = self._means.held(f"{name}_u") | self._means.held(f"{name}_v")  # one of them may be fixed
            u = torch.where(held, u, 0.0)
        if self.over_all:
            weight = torch.maximum(self._means.weight(f"{name}_u"), self._means.weight(f"{name}_v"))
            u = u * torch.where(weight > 0, weight / self._total, 1.0)
        return Factors(u, v, self.scales[name]).product()

    def momentum(self) -> dict[str, Tensor]:
        """Return the averaged momentum as the server remembers it."""
        return {f"{MOMENTUM}{name}": mean for name, mean in self._buffers.results().items()}


def kernel_rows(name: str, factor: Tensor) -> Tensor:
    """Return a factor ``<weight>_u`` or ``<weight>_v`` with a kernel in each row, or the factor of such rows."""
    return factor.mT if name.endswith("_u") else factor


def part(name: str, tensor: Tensor, selection: Selection) -> Tensor:
    """Return a copy of what a client holds of a server tensor.

    Args:
        name: of the sub-model's parameter, ``<weight>_u`` or ``<weight>_v`` where it is a factor.
        tensor: the server's tensor of the same name, at its full size.
        selection: the kept kernels.
    """
    if name[:-2] not in selection.indices:
        return tensor.clone()
    return kernel_rows(name, kernel_rows(name, tensor).index_select(0, selection.indices[name[:-2]]))
