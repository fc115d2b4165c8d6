"""FedLMT: all clients train the same network, which was factored before the first round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Selection, Server, Skip, Streams, Update, parameter
from bench.families.averaging import means_of
from bench.families.prefactored import FACTOR, Prefactored, factors_of
from bench.families.product_decay import factor_names, product_decay


@dataclass(frozen=True)
class FedLMTParams:
    """What stays whole, initial factors, decay and averages; the defaults are the authors' for CIFAR-10."""

    whole_blocks: int = parameter(
        0,
        "residual blocks after the stem that stay whole (released: CIFAR-10 0, CIFAR-100 4, SVHN, Tiny ImageNet 1)",
        low=0,
    )
    init: Literal["svd", "kaiming"] = parameter(
        "svd", "initial factors: sqrt(S) on each side of the task's own initial weights, or He's law on each (released)"
    )
    frobenius_decay: float = parameter(
        0.0,
        "decay of the products in the place of weight decay on the factors; 0 for that (released: 2e-3, Tiny ImageNet)",
        low=0.0,
        alias="lambda",
    )
    weights: Literal["samples", "uniform"] = parameter("samples", "clients count by their samples, or alike")


class FedLMT(Prefactored):
    """Every client holds kernels of N outputs by ``max(round(p N), 1)`` pairs of vectors, from the first round on.

    The server averages the factors as FedAvg averages weights: it never decomposes them again, and no rank beyond the
    common one is ever reached. Where clients have several keep ratios, p is the smallest.
    """

    summary = "one low-rank network for all, factored before the first round; FedAvg on its factors"
    paper = (
        "Liu et al., FedLMT: tackling system heterogeneity of federated learning via low-rank model training with "
        "theoretical guarantees, ICML 2024"
    )
    deviations = (
        "rules are those of the released code; the paper's text was not at hand",
        "where keep ratios differ, all clients have the rank of the smallest one: the network is common to all",
        "initial factors are the leading singular vectors of the task's initial weights, with the roots of the "
        "singular values on both sides, as the code's own conversion does; its runs draw the factors (init=kaiming)",
        "frobenius_decay is lambda of lambda/2 ||U V||^2 and replaces weight decay on the factors; the released "
        "coefficient is half of it",
        "LSTMs, which the released repository leaves to another one, are factored in their four matrices, at the share "
        "p of the smaller side",
        "the authors' Transformer is no task here",
    )
    Params = FedLMTParams
    follows_levels = True

    def setup(self, model: nn.Module, task: Any) -> Server:
        server = super().setup(model, task)
        if self.params.init == "kaiming" and not all(self.factored.values()):
            raise Skip(f"init = kaiming is He's law for convolutions, and {type(model).__name__} has other matrices")
        begin = self.drawn if self.params.init == "kaiming" else self.decomposed
        server.memory |= begin(model, min(self.levels))
        self.compose(server)
        return server

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return self.submodel(server, factors_of(server))

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        return product_decay(submodel, self.params.frobenius_decay)

    def decay_free(self, submodel: nn.Module) -> set[str]:
        return factor_names(submodel) if self.params.frobenius_decay else set()

    def idle_hooks(self) -> frozenset[str]:
        return frozenset() if self.params.frobenius_decay else frozenset({"penalty", "decay_free"})

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        whole = {name: tensor for name, tensor in server.model.named_parameters() if name not in self.factored}
        means = means_of({**whole, **factors_of(server)}, updates, self.params.weights)
        for name, tensor in whole.items():
            tensor.copy_(means[name])
        averaged = {f"{FACTOR}{name}": mean for name, mean in means.items() if name not in whole}
        following = Server(server.model, {**server.memory, **averaged})
        self.compose(following)
        return following
