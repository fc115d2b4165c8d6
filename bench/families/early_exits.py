"""Sub-models that end early: the first stages of a model, with a classifier at the end of each of them.

A member of the family says which kind of classifier that is, how wide the sub-models are that end at each exit, and
how the classifiers are trained together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams, Update
from bench.cost.cost import capacity, cost_of
from bench.families.averaging import CoverageMean, Weights, client_weight
from bench.models.base import Model, matrix
from bench.models.factorise import block_index
from bench.models.heads import Head, stage_exits
from bench.models.multi_exit import MultiExit, ended, with_heads
from bench.seeding import key_of
from bench.spectral.decompose import rank_of

HELD = "held"
"""In the server's memory: the number of the largest size that some client has held."""


@dataclass(frozen=True)
class Size:
    """One of the sub-models that clients can have: the exits it has, and its share of the channels of each layer."""

    places: tuple[int, ...]
    width: float = 1.0


class EarlyExits(Method):
    """Base of the methods whose clients hold the first stages of a model and a head at the end of each.

    There are as many sizes as stages. A client of keep ratio p gets the largest whose capacity is at most p, the least
    one where p is below that of all. The capacity of a size is what its training takes, parameters and the activations
    of ``capacity_batch`` samples, relative to the largest one's (:func:`bench.cost.cost.capacity`), counted from the
    real sub-model, heads included, and rounded to two digits.

    Each entry of the server's model becomes the mean over the clients that hold it; what none holds stays. Evaluated is
    the largest size that some client has held so far, and that of each keep ratio.
    """

    family: ClassVar[str] = "exits"
    cuts_parts = True
    keep_is_share = False
    equals_fedavg = False
    ensemble: bool = False
    """Whether a model's prediction is the mean of its heads' outputs; else it is the last one's."""
    told_names: ClassVar[Sequence[str]] = ()
    """The names of what :meth:`told` returns."""

    @abstractmethod
    def head(self) -> type[Head]:
        """Return the kind of the heads before the model's own end."""

    @abstractmethod
    def widths(self, exits: int) -> Sequence[float]:
        """Return the share of the channels of the sub-models that end at each of so many exits."""

    @property
    def capacity_batch(self) -> int:
        """Samples whose activations count in a capacity."""
        return int(self.params.capacity_batch)

    @property
    def weights(self) -> Weights:
        """How clients count in the averages."""
        weights: Weights = self.params.weights
        return weights

    def setup(self, model: nn.Module, task: Any) -> Server:
        places = stage_exits(model) if isinstance(model, Model) and model.channels() else ()
        if not isinstance(model, Model) or not places:
            raise Skip(f"{self.name} needs a model that can end early, and a {type(model).__name__} does not say where")
        server = super().setup(model, task)
        generator = torch.Generator().manual_seed(key_of(self.seed, "heads") % 2**63)
        server.model = whole = with_heads(model, places, self.head(), self.ensemble, generator)
        self.sizes = [Size(places[: number + 1], width) for number, width in enumerate(self.widths(len(places)))]
        self._shape = whole.shaped(places, whole.channels())
        return server

    @cached_property
    def capacities(self) -> list[float]:
        """Of the sizes, counted when first asked for, which workers never do."""
        named = tuple((name, tensor.shape) for name, tensor in self._shape.named_parameters())
        kind = repr(self._shape), named, type(self.task), self.task.example(1, "meta").shape
        key = (*kind, tuple(self.sizes), self.capacity_batch)
        if key not in _KNOWN:
            costs = [cost_of(self._shape.shaped(size.places, self._counts(size)), self.task) for size in self.sizes]
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
        """Return what clients need to know of the round, by name: scalars that :meth:`local_loss` reads."""
        return {}

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        part = self.part(server, self.size_of(selection))
        device = next(part.parameters()).device
        for name in self.told_names:
            # Clients know the round: it is not sent, see 'received'.
            part.register_buffer(name, selection.draws[name].to(device, copy=True), persistent=False)
        return part

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Return what is sent: not what follows from the number of the round."""
        return super().received(server, selection, submodel)

    def size_of(self, selection: Selection) -> Size:
        """Return the size of a client's sub-model."""
        return self.sizes[int(selection.draws["size"])]

    def part(self, server: Server, size: Size) -> MultiExit:
        """Return a copy of the part of the server's model that a size stands for."""
        return ended(_whole(server), size.places, self._kept(server, size))

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        whole = _whole(server)
        axes, sizes = whole.axes(), whole.channels()
        means = {name: CoverageMean(tensor.detach()) for name, tensor in whole.named_parameters()}
        held = server.memory.get(HELD, torch.tensor(-1, device=next(whole.parameters()).device))
        for update in updates:
            number, weight = int(update.selection.draws["size"]), client_weight(update.selection.client, self.weights)
            held, kept = held.clamp(min=number), self._kept(server, self.sizes[number])
            for name, values in update.parameters.items():
                means[name].add(values, ... if kept is None else block_index(axes[name], kept, sizes), weight)
        for name, tensor in whole.named_parameters():
            tensor.copy_(means[name].result())
        return Server(whole, server.memory | {HELD: held})

    def full_model(self, server: Server) -> nn.Module:
        largest = int(server.memory.get(HELD, torch.tensor(self.number_of(max(self.levels)))))
        return self.part(server, self.sizes[largest])

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        for keep in self.levels if len(self.levels) > 1 else ():
            yield keep, self.part(server, self.sizes[self.number_of(keep)])

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        """The kernels of the layers that a client holds, all of them; where sub-models are narrow, their channels."""
        whole, size = _whole(server), self.size_of(selection)
        part = self._shape.shaped(size.places, self._counts(size))
        device = next(whole.parameters()).device
        if all(of.width == 1 for of in self.sizes):
            kernels = {name: min(matrix(whole.get_parameter(name)).shape) for name in whole.factorable}
            held = {name: count if name in part.factorable else 0 for name, count in kernels.items()}
            return {name: (torch.arange(held[name], device=device), count) for name, count in kernels.items()}
        named, counts = part.axes(), self._counts(size)
        within = {axis.group for name, of in named.items() if name.startswith("net.") for axis in of if axis}
        return {
            group: (torch.arange(counts[group] if group in within else 0, device=device), count)
            for group, count in whole.channels().items()
        }

    def _counts(self, size: Size) -> dict[str, int]:
        return {group: rank_of(size.width, count) for group, count in self._shape.channels().items()}

    def _kept(self, server: Server, size: Size) -> dict[str, Tensor] | None:
        """Return the channels that a size has of each group, the leading ones; None for all."""
        if size.width == 1:
            return None
        device = next(server.model.parameters()).device
        return {group: torch.arange(count, device=device) for group, count in self._counts(size).items()}


_KNOWN: dict[Hashable, list[float]] = {}
"""Capacities that this process has counted, which takes longer than a round of a small model."""


def _whole(server: Server) -> MultiExit:
    assert isinstance(server.model, MultiExit)
    return server.model
