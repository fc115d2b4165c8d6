"""Ordered dropout: each local step of a client computes with the leading channels of a width drawn for it (FjORD)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Selection, Server, Streams, Update
from bench.families.averaging import CoverageMean
from bench.families.nested import Nested
from bench.families.ordered import Ordered, initial_statistics, normalised_channels
from bench.families.static_statistics import with_statistics
from bench.families.width import HELD
from bench.models.base import Model
from bench.spectral.decompose import rank_of

STATISTICS = "statistics/"


class OrderedDropout(Nested):
    """Base of methods whose clients hold their leading channels and train some of them in each local step.

    Normalised channels have running statistics of each width where :attr:`tracks_statistics` says so: clients track
    them, the server averages them over those who made steps at a width, and a width is evaluated with its own.
    """

    tracks_statistics: bool = True
    teaches: bool = False
    """True where the client's widest network computes in every step, whatever width was drawn."""

    @abstractmethod
    def widths(self) -> Sequence[float]:
        """Return the keep ratios that steps are made at, ascending; those below a client's own count."""

    def setup(self, model: nn.Module, task: Any) -> Server:
        server = super().setup(model, task)
        assert isinstance(model, Model)
        self.sizes = model.channels()
        self._networks: dict[float, Model] = {}
        if self.tracks_statistics and normalised_channels(model):
            device = next(model.parameters()).device
            for width in self.nested_keeps():
                counts = self._counts(width)
                server.memory[f"{STATISTICS}{width}"] = initial_statistics(model.narrow(counts), device)
        return server

    def client_widths(self, keep: float) -> list[float]:
        """Return the widths a client of a keep ratio draws from, ascending."""
        return [*(width for width in self.widths() if width < keep), keep]

    def nested_keeps(self) -> Sequence[float]:
        return sorted({width for level in self.levels for width in self.client_widths(level)})

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [
            replace(selection, draws={"widths": torch.from_numpy(self._drawn(selection.client, streams))})
            for selection in super().select(server, cohort, streams)
        ]

    def _drawn(self, client: Client, streams: Streams) -> np.ndarray:
        """Return the width of each local step, float64."""
        steps = self.task.recipe.local_steps(client.samples)
        return self.stream(client, streams).choice(np.array(self.client_widths(client.keep)), steps)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        narrow = super().extract(server, selection)
        assert isinstance(narrow, Model)
        known = {width: _statistics(server, width) for width in self.client_widths(selection.client.keep)}
        own = {width: statistics.clone() for width, statistics in known.items() if statistics is not None}
        return Ordered(narrow, selection.draws["widths"].tolist(), selection.client.keep, own)

    def outputs(self, submodel: Ordered, width: float, forward: Callable[[], Tensor], updates: int = 1) -> Tensor:
        with submodel.at(width, None if width == submodel.keep else self._network(submodel, width), updates):
            return forward()

    def _network(self, submodel: Ordered, width: float) -> Model:
        """Return a network of a width without parameters of its own, made once."""
        if width not in self._networks:
            self._networks[width] = submodel.model.narrow(self._counts(width))
        return self._networks[width]

    def _counts(self, width: float) -> dict[str, int]:
        return {group: rank_of(width, size) for group, size in self.sizes.items()}

    def computed(self, submodel: nn.Module) -> Iterator[tuple[nn.Module, float]]:
        """The network of each width in its share of the steps, with distillation the widest one in every step too."""
        assert isinstance(submodel, Ordered)
        drawn = list(submodel.remaining)
        for width in dict.fromkeys(drawn):
            if width == submodel.keep:
                continue
            yield self._network(submodel, width), drawn.count(width) / len(drawn)
        widest = 1.0 if self.teaches else drawn.count(submodel.keep) / max(len(drawn), 1)
        yield submodel, widest

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        assert isinstance(submodel, Ordered)
        tracked = {f"{STATISTICS}{width}": submodel.statistics(width) for width in sorted(submodel.used)}
        return super().upload(submodel.model) | {name: values for name, values in tracked.items() if values is not None}

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        means = {name: CoverageMean(values) for name, values in server.memory.items() if name.startswith(STATISTICS)}
        following = super().aggregate(server, self._noted(updates, means), streams)
        following.memory |= {name: mean.result() for name, mean in means.items()}
        return following

    def _noted(self, updates: Iterable[Update], means: Mapping[str, CoverageMean]) -> Iterator[Update]:
        """Pass on the parameters of updates and add their statistics to the means."""
        for update in updates:
            parameters = dict(update.parameters)
            for name in parameters.keys() & means.keys():
                means[name].add(parameters.pop(name), weight=self.weight(update.selection.client))
            yield replace(update, parameters=parameters)

    def full_model(self, server: Server) -> nn.Module:
        """Return the network of the largest keep ratio that some client has had, with its statistics."""
        held = [level for level in self.levels if self._is_held(server, level)]
        return _evaluated(server, super().full_model(server), held[-1]) if held else server.model

    def _is_held(self, server: Server, level: float) -> bool:
        counts = self._counts(level)
        flags = (server.memory.get(f"{HELD}{group}", torch.zeros(1))[:count] for group, count in counts.items())
        return all(bool(some.all()) for some in flags)

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        return ((keep, _evaluated(server, model, keep)) for keep, model in super().nested_models(server))


def _statistics(server: Server, width: float) -> Tensor | None:
    return server.memory.get(f"{STATISTICS}{width}")


def _evaluated(server: Server, model: nn.Module, keep: float) -> nn.Module:
    """Return a model as it is evaluated: with the statistics of its width, if there are any."""
    statistics = _statistics(server, keep)
    return model if statistics is None else with_statistics(model, [statistics])
