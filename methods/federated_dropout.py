"""Federated Dropout: every client trains random channels of each layer, drawn anew in every round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from bench.api import Client, Cohort, Selection, Server, Streams, parameter
from bench.families.averaging import client_weight
from bench.families.width import Width, model_of
from bench.spectral.designs import Design, Uniform


@dataclass(frozen=True)
class FederatedDropoutParams:
    """Who shares a draw, how clients count, and what is evaluated."""

    draws: Literal["client", "round"] = parameter(
        "client", "each client draws its own channels, or all clients of a round take the first of the same shuffle"
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

    def setup(self, model: nn.Module, task: Any) -> Server:
        self.keeps_tail = self.params.tail == "keep"
        return super().setup(model, task)

    def stream(self, client: Client, streams: Streams) -> np.random.Generator:
        # All clients of a round read the server's stream from its start.
        return streams.server() if self.params.draws == "round" else super().stream(client, streams)

    def choose(self, group: str, size: int, count: int, cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
        return np.sort(rng.permutation(size)[:count])

    def weight(self, client: Client) -> float:
        return client_weight(client, self.params.weights)

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        if self.params.draws == "round":
            return {}  # the clients' draws are not independent, which what is expected of them assumes
        sizes = model_of(server).channels()
        return {group: [Uniform(size, len(s.indices[group])) for s in selections] for group, size in sizes.items()}
