"""FedAvg: every client trains the full model; the reference of every comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from bench.api import Cohort, Method, Selection, Server, Streams, Update, copy_of, parameter
from bench.families.averaging import CoverageMean


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
        means = {name: CoverageMean(tensor.detach()) for name, tensor in server.model.named_parameters()}
        for update in updates:
            weight = update.selection.client.samples if self.params.weights == "samples" else 1.0
            for name, values in update.parameters.items():
                means[name].add(values, weight=weight)
        for name, tensor in server.model.named_parameters():
            tensor.copy_(means[name].result())
        return server
