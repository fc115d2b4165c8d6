"""FIARSE's scores on whole channels, which are really cut: a narrow network of the most important ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from bench.api import Client, Cohort, Selection, Server, Streams, parameter
from bench.families.averaging import client_weight
from bench.families.magnitude import channel_scores
from bench.families.width import Width, model_of
from bench.models.factorise import narrowed
from bench.spectral.decompose import rank_of


@dataclass(frozen=True)
class FIARSEChannelsParams:
    """How clients count, and what is evaluated."""

    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike, or by their samples")
    tail: Literal["drop", "keep"] = parameter(
        "drop", "channels that nobody has trained yet are left out of the evaluated model, or take part in it"
    )


class FIARSEChannels(Width):
    """``ceil(p channels)`` of every group, those of the largest sum of ``|w|`` over all entries that belong to them.

    The entries are those that FIARSE scores: weights and biases of convolutions, linear layers and LSTMs. Scores are
    taken anew from the server's model in each round. The sub-model is a narrow dense network, so that operations and
    activations shrink with it, and its gradient is plain: there is no threshold in it.
    """

    summary = "the channels of the largest magnitude, really cut: the structured sibling of fiarse"
    paper = "scores of Wu et al., FIARSE, NeurIPS 2024; a channel's score as in magnitude pruning of filters"
    deviations = (
        "no method of the paper: its scores are summed over channels here, so that unstructured and structured masks "
        "can be compared at what they cost",
        "entries become means over the clients that hold them (HeteroFL, equation 2)",
    )
    Params = FIARSEChannelsParams

    def setup(self, model: nn.Module, task: Any) -> Server:
        self.keeps_tail = self.params.tail == "keep"
        self._order: dict[str, np.ndarray] = {}
        """The channels of each group by falling score, as of the last draw."""
        return super().setup(model, task)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        self._order = _by_score(server)
        return super().select(server, cohort, streams)

    def choose(self, group: str, size: int, count: int, cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
        return np.sort(self._order[group][:count])

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        model, device = model_of(server), next(server.model.parameters()).device
        order = _by_score(server) if len(self.levels) > 1 else {}
        for keep in self.levels if len(self.levels) > 1 else ():
            kept = {
                group: torch.from_numpy(np.sort(channels[: rank_of(keep, len(channels))])).to(device)
                for group, channels in order.items()
            }
            yield keep, narrowed(model, kept)

    def weight(self, client: Client) -> float:
        return client_weight(client, self.params.weights)


def _by_score(server: Server) -> dict[str, np.ndarray]:
    """Return the channels of each group by falling score, equal ones by their number."""
    return {
        group: np.argsort(-scores.cpu().numpy(), kind="stable")
        for group, scores in channel_scores(model_of(server)).items()
    }
