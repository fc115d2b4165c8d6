"""Nested sub-models: the leading channels of each layer, so that a smaller sub-model lies within every larger one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from bench.api import Cohort, Selection, Server
from bench.families.width import Width, model_of
from bench.models.factorise import narrowed
from bench.spectral.decompose import rank_of
from bench.spectral.designs import Design, Leading


class Nested(Width):
    """Base of the methods whose clients get the first ``ceil(keep * channels)`` channels of every group.

    Where clients have several keep ratios, the sub-model of each is evaluated beside the full model.
    """

    def choose(self, group: str, size: int, count: int, cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
        return np.arange(count)

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        for keep in self.nested_keeps():
            yield keep, leading_model(server, keep)

    def nested_keeps(self) -> Sequence[float]:
        """Return the keep ratios whose sub-models are evaluated."""
        return self.levels if len(self.levels) > 1 else ()

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        sizes = model_of(server).channels()
        return {group: [Leading(size, len(s.indices[group])) for s in selections] for group, size in sizes.items()}


def leading_model(server: Server, keep: float) -> nn.Module:
    """Return the narrow model of a keep ratio's leading channels."""
    model = model_of(server)
    device = next(model.parameters()).device
    return narrowed(
        model, {g: torch.arange(rank_of(keep, size), device=device) for g, size in model.channels().items()}
    )
