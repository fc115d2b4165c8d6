"""Sub-models with early exits: the first stages of a model, with a classifier at the end of each of them.

A member of the family says which kind of classifier that is, how wide the sub-models are that end at each exit, and
how the classifiers are trained together.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.api import Selection, Server, Skip, Streams, Update
from bench.families.averaging import CoverageMean, client_weight
from bench.families.ending import HELD, Ending, Size, held_in, number_in
from bench.models.base import Model, matrix
from bench.models.factorise import block_index
from bench.models.heads import Head, stage_exits
from bench.models.multi_exit import MultiExit, ended, with_heads
from bench.seeding import key_of


class EarlyExits(Ending):
    """Base of the methods whose clients hold the first stages of a model and a head at the end of each.

    There are as many sizes as stages. Each entry of the server's model becomes the mean over the clients that hold it;
    what none holds stays.
    """

    equals_fedavg = False
    ensemble: bool = False
    """Whether a model's prediction is the mean of its heads' outputs; else it is the last one's."""
    told_names: ClassVar[Sequence[str]] = ()
    """The names of what :meth:`told` returns: scalars that :meth:`local_loss` reads."""

    @abstractmethod
    def head(self) -> type[Head]:
        """Return the kind of the heads before the model's own end."""

    @abstractmethod
    def widths(self, exits: int) -> Sequence[float]:
        """Return the share of the channels of the sub-models that end at each of so many exits."""

    def setup(self, model: nn.Module, task: Any) -> Server:
        places = stage_exits(model) if isinstance(model, Model) and model.channels() else ()
        if not isinstance(model, Model) or not places:
            raise Skip(f"{self.name} needs a model that can end early, and a {type(model).__name__} does not say where")
        server = super().setup(model, task)
        generator = torch.Generator().manual_seed(key_of(self.seed, "heads") % 2**63)
        server.model = whole = with_heads(model, places, self.head(), self.ensemble, generator)
        self.sizes = [Size(places[: number + 1], width) for number, width in enumerate(self.widths(len(places)))]
        self.shape = whole.shaped(places, whole.channels())
        return server

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        part = super().extract(server, selection)
        device = next(part.parameters()).device
        for name in self.told_names:
            # Clients know the round: it is not sent, see 'received'.
            part.register_buffer(name, selection.draws[name].to(device, copy=True), persistent=False)
        return part

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Return what is sent: not what follows from the number of the round."""
        return super().received(server, selection, submodel)

    def part(self, server: Server, size: Size) -> MultiExit:
        return ended(_whole(server), size.places, self._kept(server, size))

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        whole = _whole(server)
        axes, sizes = whole.axes(), whole.channels()
        means = {name: CoverageMean(tensor.detach()) for name, tensor in whole.named_parameters()}
        held = held_in(server)
        for update in updates:
            number, weight = number_in(update.selection), client_weight(update.selection.client, self.weights)
            held, kept = held.clamp(min=number), self._kept(server, self.sizes[number])
            for name, values in update.parameters.items():
                means[name].add(values, ... if kept is None else block_index(axes[name], kept, sizes), weight)
        for name, tensor in whole.named_parameters():
            tensor.copy_(means[name].result())
        return Server(whole, server.memory | {HELD: held})

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        """The kernels of the layers that a client holds, all of them; where sub-models are narrow, their channels."""
        whole, size = _whole(server), self.sizes[number_in(selection)]
        within, device = self._held[number_in(selection)], next(whole.parameters()).device
        if all(of.width == 1 for of in self.sizes):
            kernels = {name: min(matrix(whole.get_parameter(name)).shape) for name in whole.factorable}
            held = {name: count if name in within else 0 for name, count in kernels.items()}
            return {name: (torch.arange(held[name], device=device), count) for name, count in kernels.items()}
        counts = self.counts(size)
        return {
            group: (torch.arange(counts[group] if group in within else 0, device=device), count)
            for group, count in whole.channels().items()
        }

    @cached_property
    def _held(self) -> list[set[str]]:
        """For each size the layers that can be factored and the groups of channels that lie within it."""
        held = []
        for part in map(self.shape_of, self.sizes):
            inner = (axes for name, axes in part.axes().items() if name.startswith("net."))
            held.append({axis.group for axes in inner for axis in axes if axis} | {*part.factorable})
        return held

    def _kept(self, server: Server, size: Size) -> dict[str, Tensor] | None:
        """Return the channels that a size has of each group, the leading ones; None for all."""
        if size.width == 1:
            return None
        device = next(server.model.parameters()).device
        return {group: torch.arange(count, device=device) for group, count in self.counts(size).items()}


def _whole(server: Server) -> MultiExit:
    assert isinstance(server.model, MultiExit)
    return server.model
