"""Methods whose clients hold a model up to one of its exits: which one, and what is evaluated of such a server."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Streams
from bench.cost.cost import capacity, cost_of
from bench.families.averaging import Weights
from bench.models.multi_exit import MultiExit
from bench.spectral.decompose import rank_of

HELD = "held"
"""In the server's memory: the number of the largest size that some client has held."""


@dataclass(frozen=True)
class Size:
    """One of the sub-models that clients can have: the exits it has, and its share of the channels of each layer."""

    places: tuple[int, ...]
    width: float = 1.0


class Ending(Method):
    """Base of the methods whose sub-models end early.

    A client of keep ratio p gets the largest size whose capacity is at most p, the least one where p is below that of
    all. The capacity of a size is what its training takes, parameters and the activations of ``capacity_batch``
    samples, relative to the largest one's (:func:`bench.cost.cost.capacity`), counted from the real sub-model, heads
    included, and rounded to two digits.

    Evaluated is the largest size that some client has held so far, and that of each keep ratio.

    Attributes that :meth:`setup` sets:
        sizes: from the least to the largest.
        shape: the model with all exits, on "meta".
    """

    family: ClassVar[str] = "exits"
    cuts_parts = True
    keep_is_share = False
    sizes: Sequence[Size]
    shape: MultiExit

    @property
    def capacity_batch(self) -> int:
        """Samples whose activations count in a capacity."""
        return int(self.params.capacity_batch)

    @property
    def weights(self) -> Weights:
        """How clients count in the averages."""
        weights: Weights = self.params.weights
        return weights

    @abstractmethod
    def part(self, server: Server, size: Size) -> nn.Module:
        """Return the sub-model of a size, which shares no memory with the server."""

    @cached_property
    def capacities(self) -> list[float]:
        """Of the sizes, counted when first asked for, which workers never do."""
        named = tuple((name, tensor.shape) for name, tensor in self.shape.named_parameters())
        kind = repr(self.shape), named, type(self.task), self.task.example(1, "meta").shape
        key = (*kind, tuple(self.sizes), self.capacity_batch)
        if key not in _KNOWN:
            costs = [cost_of(self.shape_of(size), self.task) for size in self.sizes]
            _KNOWN[key] = [capacity(cost, costs[-1], self.capacity_batch) for cost in costs]
        return _KNOWN[key]

    def number_of(self, keep: float) -> int:
        """Return the number of the size that a client of this keep ratio gets."""
        fitting = [number for number, needed in enumerate(self.capacities) if round(needed, 2) <= keep]
        return fitting[-1] if fitting else 0

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [
            Selection(client, draws={"size": torch.tensor(self.number_of(client.keep)), **self.told(cohort)})
            for client in cohort.clients
        ]

    def told(self, cohort: Cohort) -> Mapping[str, Tensor]:
        """Return what clients need to know of the round, by name."""
        return {}

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return self.part(server, self.sizes[number_in(selection)])

    def full_model(self, server: Server) -> nn.Module:
        largest = int(server.memory.get(HELD, torch.tensor(self.number_of(max(self.levels)))))
        return self.part(server, self.sizes[largest])

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        for keep in self.levels if len(self.levels) > 1 else ():
            yield keep, self.part(server, self.sizes[self.number_of(keep)])

    def shape_of(self, size: Size) -> MultiExit:
        """Return the sub-model of a size on "meta"."""
        return self.shape.shaped(size.places, self.counts(size))

    def counts(self, size: Size) -> dict[str, int]:
        """Return how many channels a size has of each group."""
        return {group: rank_of(size.width, count) for group, count in self.shape.channels().items()}


def number_in(selection: Selection) -> int:
    """Return the number of the size that a client was given."""
    return int(selection.draws["size"])


def held_in(server: Server) -> Tensor:
    """Return the number of the largest size that some client has held, -1 for none, on the server's device."""
    return server.memory.get(HELD, torch.tensor(-1, device=next(server.model.parameters()).device))


_KNOWN: dict[Hashable, list[float]] = {}
"""Capacities that this process has counted, which takes longer than a round of a small model."""
