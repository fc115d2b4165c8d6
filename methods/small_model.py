"""A small model for all: FedAvg on a network that every client can train, which is all that there is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams, Update, copy_of, parameter
from bench.cost.cost import capacity, cost_of
from bench.families.averaging import means_of
from bench.models.base import Model, blank
from bench.models.initialise import initial_values
from bench.spectral.decompose import rank_of
from bench.tasks.base import Task


@dataclass(frozen=True)
class SmallModelParams:
    """How the network is made small, and how clients count in the average."""

    shape: Literal["narrow", "shallow"] = parameter(
        "narrow", "with ceil(keep * channels) of the channels of every layer, or without whole blocks"
    )
    weights: Literal["samples", "uniform"] = parameter("samples", "clients count by their samples (FedAvg), or alike")


class SmallModel(Method):
    """The control of every sub-model method: is it better than simply training a smaller network?

    The server's model itself is small, and is what all clients train and what is evaluated: FedAvg in every other
    respect. Where clients have several keep ratios it is what the weakest of them can train, and the others' capacity
    lies idle. Its initial values are drawn for it by the task's law, from the same stream as every other model's, not
    cut out of a larger one.

    ``shape=narrow``: ``ceil(keep * channels)`` channels in every layer, at the costs of HeteroFL's sub-model of the
    same keep ratio. ``shape=shallow``: the deepest network of the architecture without some of its blocks
    (:meth:`bench.models.base.Model.shallower`) whose training takes at most that share of the full model's
    (:func:`bench.cost.cost.capacity`, at the task's batch size, rounded to two digits); below the share of the
    shallowest one it is that one, whose costs then are above the keep ratio. At keep ratio 1 both are FedAvg.
    """

    family = "small"
    summary = "FedAvg on the largest narrower or shallower network that the weakest client can train"
    paper = "FedAvg (McMahan et al., AISTATS 2017) on a small network: a control, of no paper"
    Params = SmallModelParams
    follows_levels = True

    def __init__(self, params: SmallModelParams | None = None) -> None:
        super().__init__(params)
        self.cuts_parts = self.params.shape == "shallow"
        self.keep_is_share = not self.cuts_parts

    def setup(self, model: nn.Module, task: Task) -> Server:
        narrows = self.params.shape == "narrow"
        if not isinstance(model, Model) or (narrows and not model.channels()):
            raise Skip(f"{type(model).__name__} does not say how it can be made smaller")
        super().setup(model, task)
        keep = min(self.levels)
        small = self._narrow(model, keep) if narrows else self._shallow(model, task, keep)
        if small is None:
            return Server(model)
        blank(small)
        task.initialise(small, initial_values(self.seed))
        return Server(small.to(next(model.parameters()).device))

    def _narrow(self, model: Model, keep: float) -> Model | None:
        """Return the narrow network of a keep ratio, uninitialised; None for the whole one."""
        counts = {group: rank_of(keep, size) for group, size in model.channels().items()}
        return None if counts == model.channels() else model.narrow(counts)

    def _shallow(self, model: Model, task: Task, keep: float) -> Model | None:
        """Return the deepest network that a keep ratio allows, uninitialised; None for the whole one."""
        shallower = model.shallower()
        if not shallower:
            raise Skip(f"a {type(model).__name__} has no blocks that can be left out; shape=narrow is defined for it")
        if keep == 1:
            return None
        full = cost_of(model, task)
        for small in shallower:
            if round(capacity(cost_of(small, task), full, task.recipe.batch_size), 2) <= keep:
                return small
        return shallower[-1]

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [Selection(client) for client in cohort.clients]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return copy_of(server.model)

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        named = dict(server.model.named_parameters())
        for name, mean in means_of(named, updates, self.params.weights).items():
            named[name].copy_(mean)
        return server
