"""FedAvg: every client trains the full model; the reference of every comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from bench.api import Cohort, Method, Selection, Server, Streams, Update, copy_of, parameter
from bench.families.averaging import means_of


@dataclass(frozen=True)
class FedAvgParams:
    """How clients count in the average: by their number of samples (the paper) or alike."""

    weights: Literal["samples", "uniform"] = parameter("samples", "clients count by their samples, or alike")


class FedAvg(Method):
    family = "full"
    summary = "every client trains the full model; the server averages"
    paper = "McMahan et al., Communication-efficient learning of deep networks, AISTATS 2017"
    Params = FedAvgParams
    uses_keep = False

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
