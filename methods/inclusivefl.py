"""InclusiveFL (EmbracingFL): weak clients train the output side alone, behind an input side that is frozen."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams, Update, copy_of, parameter
from bench.cost.cost import capacity, cost_of
from bench.families.averaging import means_of
from bench.models.base import Model
from bench.tasks.base import Task


@dataclass(frozen=True)
class InclusiveFLParams:
    """How clients count in the average, and for which batch the capacity of an output side is counted."""

    weights: Literal["uniform", "samples"] = parameter(
        "uniform", "clients count alike (the paper), or by their samples"
    )
    capacity_batch: int = parameter(
        32,
        "samples whose activations count in a capacity, whatever batches clients train with (slides: 32)",
        low=1,
    )


class InclusiveFL(Method):
    """A client of keep ratio p receives the whole model and trains its longest output side of capacity at most p.

    Models are cut between their parts (:meth:`bench.models.base.Model.parts`). The capacity of an output side is what
    its training takes, parameters and the activations of ``capacity_batch`` samples, relative to the full model's
    (:func:`bench.cost.cost.capacity`), rounded to two digits as published: for ResNet-20 and 32 samples that is 1.00,
    0.42 without stem and three blocks, 0.16 without stem and six. Every client trains the last part, whatever its
    capacity.

    The input side is frozen: it normalises by the statistics of its batch as in training, but no gradient passes it and
    none of its activations are kept. The server averages each parameter over the clients that trained it,

        y <- y + (1/s) sum_{strong} (y_i - y),    z <- z + (1/m) sum_{all} (z_i - z)

    (the slides' theorem 1; with several capacities each part has an s of its own). What nobody trained stays.
    """

    family = "layer"
    summary = "weak clients train the output side alone, behind a frozen input side (EmbracingFL)"
    paper = "Lee et al., Embracing federated learning: partial model training, arXiv 2406.15125; slides: InclusiveFL"
    deviations = (
        "the multi-step forward pass, which loads blocks of the frozen side in turn, is not simulated: its result is "
        "the same, but a client holds the whole model at once",
        "not the InclusiveFL of Liu et al. (KDD 2022), which removes deep layers: that is inclusive_kdd",
    )
    Params = InclusiveFLParams
    needs_full_clients = True
    cuts_parts = True
    reduces = ("trained_parameters", "activations", "train_macs")

    def setup(self, model: nn.Module, task: Task) -> Server:
        if not isinstance(model, Model):
            raise Skip(f"it needs a model that says where it may be cut, and a {type(model).__name__} does not")
        server = super().setup(model, task)
        self.parts, self._whole = model.parts(), _on_meta(model)
        return server

    @cached_property
    def capacities(self) -> list[float]:
        """Of the model without its first 0, 1, 2, ... parts; counted when first asked for, which workers never do."""
        return _capacities(self._whole, self.task, self.params.capacity_batch)

    def frozen_parts(self, keep: float) -> int:
        """Return how many parts, from the input, a client of this keep ratio does not train."""
        fits = (frozen for frozen, needed in enumerate(self.capacities) if round(needed, 2) <= keep)
        return next(fits, len(self.parts) - 1)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [Selection(client) for client in cohort.clients]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        submodel = copy_of(server.model)
        freeze(submodel, self.parts[: self.frozen_parts(selection.client.keep)])
        return submodel

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        named = dict(server.model.named_parameters())
        for name, mean in means_of(named, updates, self.params.weights).items():
            named[name].copy_(mean)
        return server

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        """All principal kernels of a factorable layer, or none: layers are trained whole."""
        assert isinstance(server.model, Model)
        frozen = tuple(prefix for part in self.parts[: self.frozen_parts(selection.client.keep)] for prefix in part)
        covered = {}
        for name in server.model.factorable:
            weight = server.model.get_parameter(name)
            kernels = min(weight.shape[0], weight[0].numel())
            trained = 0 if name.startswith(frozen) else kernels
            covered[name] = torch.arange(trained, device=weight.device), kernels
        return covered


def freeze(model: nn.Module, parts: Iterable[tuple[str, ...]]) -> None:
    """Let the parameters of these parts, prefixes of their names, be trained no more."""
    prefixes = tuple(prefix for part in parts for prefix in part)
    for name, tensor in model.named_parameters():
        if name.startswith(prefixes):
            tensor.requires_grad_(False)


def _on_meta(model: Model) -> Model:
    whole = copy_of(model).to("meta")
    assert isinstance(whole, Model)
    return whole


_KNOWN: dict[Hashable, list[float]] = {}
"""Capacities that this process has counted, which takes longer than a round of a small model."""


def _capacities(whole: Model, task: Task, batch_size: int) -> list[float]:
    """Return the capacity of a model, which is changed, without its first 0, 1, ... parts, counted from such models."""
    shapes = tuple((name, tensor.shape) for name, tensor in whole.named_parameters())
    key = repr(whole), shapes, type(task), task.example(1, "meta").shape, batch_size
    if key not in _KNOWN:
        full, capacities = cost_of(whole, task), [1.0]
        for part in whole.parts()[:-1]:
            freeze(whole, [part])
            capacities.append(capacity(cost_of(whole, task), full, batch_size))
        _KNOWN[key] = capacities
    return _KNOWN[key]
