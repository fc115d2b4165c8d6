"""Sketch: clients train the full model and the server takes a step of its own size towards their mean.

Say here what the method does and why, with the equations of its paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from bench.api import Cohort, Method, Selection, Server, Streams, Update, copy_of, parameter
from bench.families.averaging import CoverageMean


@dataclass(frozen=True)
class SketchParams:
    """What users set with ``--set``; the defaults are the paper's values."""

    step: float = parameter(1.0, "length of the server's step towards the mean", above=0, search=(0.1, 2.0))


class Sketch(Method):
    """``theta <- theta + step * (mean of the clients' theta - theta)``."""

    family = "full"
    summary = "full models, and a server step of its own size"
    paper = "authors, title, venue, year"
    Params = SketchParams
    uses_keep = False

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [Selection(client) for client in cohort.clients]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return copy_of(server.model)

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        means = {name: CoverageMean(tensor.detach()) for name, tensor in server.model.named_parameters()}
        for update in updates:
            for name, values in update.parameters.items():
                means[name].add(values)
        for name, tensor in server.model.named_parameters():
            tensor.lerp_(means[name].result(), self.params.step)
        return server
