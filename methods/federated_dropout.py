"""Federated Dropout: every client trains random channels of each layer, drawn anew in every round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from bench.api import Client, Cohort, Selection, Server, Streams, Update, parameter
from bench.families.averaging import client_weight
from bench.families.cyclic import Cycle, remembered
from bench.families.width import Width, model_of
from bench.spectral.designs import Design, Uniform


@dataclass(frozen=True)
class FederatedDropoutParams:
    """Who shares a draw, how clients count, and what is evaluated."""

    draws: Literal["client", "round", "cyclic"] = parameter(
        "client",
        "each client draws its own channels, all clients of a round take the first of the same shuffle, or each "
        "channel is dealt once before any is dealt again (FedEcover)",
    )
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike, or by their samples")
    tail: Literal["keep", "drop"] = parameter(
        "keep", "channels that nobody has trained yet take part in the evaluated model, or are left out"
    )


class FederatedDropout(Width):
    """``ceil(keep * channels)`` channels of every layer, each set as likely as any other.

    Outputs are not scaled up where channels are missing.
    """

    summary = "random channels of each layer, drawn anew for every client and round"
    paper = (
        "Caldas et al., Expanding the reach of federated learning by reducing client resource requirements, "
        "arXiv 1812.07210, 2018"
    )
    deviations = (
        "the paper has plain CNNs alone: residual networks are cut by groups of channels (the residual stream of a "
        "stage is one), LSTMs by hidden units (the same in both layers)",
        "each client draws its own channels; later work (Verardo et al., 2022) suggests that the paper's clients share "
        "one draw a round (draws=round)",
        "no compression of what is sent, which the paper adds",
        "clients count alike, as the other width methods' do; McMahan's average, on which the paper builds, counts "
        "samples (weights=samples)",
    )
    Params = FederatedDropoutParams
    cycle: Cycle | None = None

    def setup(self, model: nn.Module, task: Any) -> Server:
        self.keeps_tail = self.params.tail == "keep"
        return super().setup(model, task)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        if self.params.draws != "cyclic":
            return super().select(server, cohort, streams)
        self.cycle = Cycle(server.memory, streams.server())
        return self.cycle.noted(super().select(server, cohort, streams))

    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        left: dict[str, Tensor] = {}
        following = super().aggregate(server, remembered(updates, left), streams)
        following.memory |= left
        return following

    def stream(self, client: Client, streams: Streams) -> np.random.Generator:
        # All clients of a round read the server's stream from its start.
        return streams.server() if self.params.draws == "round" else super().stream(client, streams)

    def choose(self, group: str, size: int, count: int, cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
        if self.cycle is not None:
            return self.cycle.draw(group, size, count)
        return np.sort(rng.permutation(size)[:count])

    def weight(self, client: Client) -> float:
        return client_weight(client, self.params.weights)

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        if self.params.draws != "client":
            return {}  # the clients' draws are not independent, which what is expected of them assumes
        sizes = model_of(server).channels()
        return {group: [Uniform(size, len(s.indices[group])) for s in selections] for group, size in sizes.items()}
