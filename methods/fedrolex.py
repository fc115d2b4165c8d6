"""FedRolex: a window of channels that rolls over the server's model, so that all of it is trained in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from bench.api import Cohort, Selection, Server, parameter
from bench.families.heterogeneous import Heterogeneous, HeterogeneousParams
from bench.families.width import model_of
from bench.spectral.designs import Design, FixedSize


@dataclass(frozen=True)
class FedRolexParams(HeterogeneousParams):
    """Which way the window rolls, what is evaluated, and HeteroFL's switches."""

    direction: Literal["forward", "backward"] = parameter(
        "forward", "the window moves to the next channel in each round (paper), or to the one before (released)"
    )
    tail: Literal["keep", "drop"] = parameter(
        "keep", "channels that nobody has trained yet take part in the evaluated model, or are left out"
    )


class FedRolex(Heterogeneous):
    """In round j, from 0, every client holds the channels j, j + 1, ..., j + count - 1 modulo their number.

    All clients start their windows at the same channel, so that within a round they are nested.
    """

    summary = "a window of channels that rolls by one in each round, with HeteroFL's training"
    paper = (
        "Alam et al., FedRolex: model-heterogeneous federated learning with rolling sub-model extraction, NeurIPS 2022"
    )
    deviations = (
        "the window's rule is that of the paper as it is generally described: its text was not at hand, the code was",
        "a share of channels that is no whole number is rounded up, as everywhere here",
        "the released code weighs normalisation, biases and classifier by a running count of their updates; here all "
        "are means over the clients that hold them, as convolutions are there",
        "the scaler's rate is relative to the server's whole model, which is what is evaluated; in the released code "
        "that model is as wide as the largest client's, so that both agree where some client has keep ratio 1",
        "optimiser, learning rate, batch size and local epochs are the task's; gradients are not clipped "
        "(gradient_clip=1: as in the released code)",
    )
    Params = FedRolexParams

    def setup(self, model: nn.Module, task: Any) -> Server:
        self.keeps_tail = self.params.tail == "keep"
        return super().setup(model, task)

    def evaluated_keep(self) -> float:
        return 1.0

    def choose(self, group: str, size: int, count: int, cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
        rolled = cohort.round_number - 1
        start = rolled if self.params.direction == "forward" else -rolled
        return np.sort((start + np.arange(count)) % size)

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        sizes = model_of(server).channels()
        return {group: [_certain(size, s.indices[group].tolist()) for s in selections] for group, size in sizes.items()}


def _certain(size: int, kept: Sequence[int]) -> Design:
    """Return the law of channels that are sure to be held."""
    inclusion = np.zeros(size)
    inclusion[kept] = 1.0
    return FixedSize(inclusion)
