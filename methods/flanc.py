"""FLANC: networks of every width from one basis of small filters, with coefficients of each width's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams, Update, parameter
from bench.families.averaging import CoverageMean, client_weight
from bench.families.nested import leading_model
from bench.models.base import Model
from bench.models.basis import BASIS, COEFFICIENTS, BasisConv2d, composed_kernel, group_count, orthogonality
from bench.models.factorise import with_layers
from bench.seeding import stream

SHARED, OWN = "basis/", "width/"
"""What the names of bases, and of what a width has for itself, begin with in the server's memory."""


@dataclass(frozen=True)
class FLANCParams:
    """The basis, its penalty, initial coefficients and averages; the defaults are the authors'."""

    basis_fraction: float = parameter(
        0.125, "channels of a filter of the basis, of the full model's inputs", above=0.0, high=1.0
    )
    n_basis: float = parameter(0.25, "filters of the basis, of the full model's outputs", above=0.0, high=9.0)
    orthogonality: float = parameter(
        10.0,
        "coefficient of the mean square of B B^T - 1, added to the loss for each basis",
        low=0.0,
        search=(0.1, 100.0),
        log=True,
        alias="lambda",
    )
    init: Literal["released", "matched"] | None = parameter(
        None,
        "initial coefficients: variance 2 / outputs, or such that kernels are as large as the task's own; if not given "
        "released where the model normalises, else matched",
    )
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike (authors), or by their samples")


class FLANC(Method):
    """A client of keep ratio p trains a network of ``ceil(p channels)``, whose k x k kernels are made of two things.

    One is the basis of the layer, common to all widths and averaged over all clients. The other are the coefficients,
    which only clients of the same width have; as all else in the network, normalisation, shortcuts, stem and
    classifier, they are averaged among these. Evaluated is the network of the largest keep ratio, and that of each.
    """

    family = "composed"
    summary = "kernels of a basis that all widths share and of coefficients of each width's own"
    paper = (
        "Mei, Guo, Zhou, Patel, Resource-adaptive federated learning with all-in-one neural composition, NeurIPS 2022"
    )
    deviations = (
        "rules are those of the released code; the paper's text was not at hand, so that lambda is of the mean of the "
        "squares, as there",
        "the narrow networks are those of the other width methods: the stem is as narrow as what follows it, where the "
        "authors' has all of its channels and a projection behind it",
        "any keep ratio is a width; a last group of channels that is not full is filled up with zeros",
        "clients keep their keep ratios; capacity=dynamic draws them anew, without the authors' repetition until every "
        "width has a client",
        "each convolution has an orthogonal basis of its own; in the released code a block's two are halves of one",
        "without normalisation layers initial kernels are as large as the task's own (init=matched)",
    )
    Params = FLANCParams
    costs_rise = False  # where channels are no whole number of groups, they are padded
    equals_fedavg = False

    def setup(self, model: nn.Module, task: Any) -> Server:
        server = super().setup(model, task)
        self.composed = tuple(_composed(model)) if isinstance(model, Model) else ()
        if not self.composed:
            raise Skip(f"flanc composes k x k convolutions behind the first one, and {type(model).__name__} has none")
        normalises = any(isinstance(module, nn.BatchNorm2d | nn.GroupNorm) for module in model.modules())
        self.init = self.params.init or ("released" if normalises else "matched")
        self.deviation = {name: float(model.get_parameter(name).detach().double().std()) for name in self.composed}
        """Of the entries of the task's own initial kernels."""
        for name in self.composed:
            server.memory[f"{SHARED}{name}"] = self._drawn_basis(name, model.get_parameter(name))
        for keep in sorted({*self.levels, 1.0}):
            server.memory |= {f"{_prefix(keep)}{name}": tensor for name, tensor in self._own(server, keep).items()}
        self._compose(server)
        return server

    @classmethod
    def implied(cls, task: Any) -> Mapping[str, Any]:
        with torch.device("meta"):
            modules = list(task.model().modules())
        normalises = any(isinstance(module, nn.BatchNorm2d | nn.GroupNorm) for module in modules)
        return {"init": "released" if normalises else "matched"}

    def _drawn_basis(self, name: str, weight: Tensor) -> Tensor:
        """Return filters that are orthonormal, as far as there can be so many."""
        filters = max(round(self.params.n_basis * weight.shape[0]), 1)
        size = max(round(self.params.basis_fraction * weight.shape[1]), 1)
        columns = size * weight.shape[2:].numel()
        values = stream(self.seed, f"basis/{name}").standard_normal((max(filters, columns), min(filters, columns)))
        rows, triangle = np.linalg.qr(values)
        rows = rows * np.sign(np.diag(triangle))
        flat = (rows.T if filters <= columns else rows).astype(np.float32)
        return torch.from_numpy(flat.reshape(filters, size, *weight.shape[2:])).to(weight.device)

    def _drawn_coefficients(self, name: str, basis: Tensor, inputs: int, outputs: int, keep: float) -> Tensor:
        """Return a width's initial coefficients."""
        variance = 2 / outputs
        if self.init == "matched":  # an entry of the kernel is a sum over the filters, whose entries are so large
            variance = self.deviation[name] ** 2 / (len(basis) * float(basis.square().mean()))
        rng = stream(self.seed, f"coefficients/{keep}/{name}")
        shape = (outputs, group_count(inputs, basis.shape[1]) * len(basis))
        values = math.sqrt(variance) * rng.standard_normal(shape)
        return torch.from_numpy(values.astype(np.float32)).to(basis.device)

    def _own(self, server: Server, keep: float) -> dict[str, Tensor]:
        """Return what a width has for itself, by the names in its network: as it is known, or as it begins."""
        prefix = _prefix(keep)
        known = {name.removeprefix(prefix): one for name, one in server.memory.items() if name.startswith(prefix)}
        if known:
            return known
        narrow = leading_model(server, keep)
        own = {name: tensor.detach() for name, tensor in narrow.named_parameters() if name not in self.composed}
        for name in self.composed:
            outputs, inputs = narrow.get_parameter(name).shape[:2]
            basis = server.memory[f"{SHARED}{name}"]
            own[_part(name, COEFFICIENTS)] = self._drawn_coefficients(name, basis, inputs, outputs, keep)
        return own

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [Selection(client) for client in cohort.clients]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return self._network(server, selection.client.keep)

    @torch.no_grad()
    def _network(self, server: Server, keep: float) -> nn.Module:
        """Return a width's network."""
        narrow, own = leading_model(server, keep), self._own(server, keep)
        layers: dict[str, nn.Module] = {}
        for name in self.composed:
            layer, basis = name.rpartition(".")[0], server.memory[f"{SHARED}{name}"]
            dense = narrow.get_submodule(layer)
            assert isinstance(dense, nn.Conv2d)
            layers[layer] = BasisConv2d(dense, basis.clone(), own[_part(name, COEFFICIENTS)].clone())
        network = with_layers(narrow, layers)
        for name, tensor in own.items():
            network.get_parameter(name).copy_(tensor)
        return network

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        bases = {name: CoverageMean(server.memory[f"{SHARED}{name}"]) for name in self.composed}
        widths: dict[float, dict[str, CoverageMean]] = {}
        for update in updates:
            client, weight = update.selection.client, client_weight(update.selection.client, self.params.weights)
            if client.keep not in widths:
                widths[client.keep] = {name: CoverageMean(one) for name, one in self._own(server, client.keep).items()}
            means = widths[client.keep] | {_part(name, BASIS): mean for name, mean in bases.items()}
            for name, values in update.parameters.items():
                means[name].add(values, weight=weight)
        shared = {f"{SHARED}{name}": mean.result() for name, mean in bases.items()}
        own = {
            f"{_prefix(keep)}{name}": mean.result() for keep, means in widths.items() for name, mean in means.items()
        }
        following = Server(server.model, {**server.memory, **shared, **own})
        self._compose(following)
        return following

    @torch.no_grad()
    def _compose(self, server: Server) -> None:
        """Write the network of keep ratio 1 into the server's model, its kernels composed."""
        named = dict(server.model.named_parameters())
        own = self._own(server, 1.0)
        for name in self.composed:
            coefficients, basis = own[_part(name, COEFFICIENTS)], server.memory[f"{SHARED}{name}"]
            named[name].copy_(composed_kernel(basis, coefficients, named[name].shape[1]))
        for name in own.keys() & named.keys():
            named[name].copy_(own[name])

    def full_model(self, server: Server) -> nn.Module:
        return self._network(server, max(self.levels))

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        for keep in self.levels if len(self.levels) > 1 else ():
            yield keep, self._network(server, keep)

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        apart = orthogonality(submodel) if self.params.orthogonality else None
        return None if apart is None else self.params.orthogonality * apart

    def idle_hooks(self) -> frozenset[str]:
        return frozenset() if self.params.orthogonality else frozenset({"penalty"})


def _composed(model: Model) -> Iterator[str]:
    """Yield the weights that are composed: the factorable k x k convolutions."""
    for name in model.factorable:
        layer = model.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Conv2d) and layer.weight.shape[2:].numel() > 1:
            yield name


def _part(weight: str, part: str) -> str:
    return f"{weight.rpartition('.')[0]}.{part}"


def _prefix(keep: float) -> str:
    return f"{OWN}{keep}/"
