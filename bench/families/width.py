"""The width family: sub-models made of some of the channels of each layer.

Input and output channels are really cut, so that a sub-model is a narrow network of the same architecture. A member
of the family says which channels a client gets (:meth:`Width.choose`); parts come back by the coverage-weighted mean
over the clients that hold an entry (HeteroFL, Diao et al., ICLR 2021, equation 2).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Method, Selection, Server, Skip, Streams, Update
from bench.families.averaging import CoverageMean
from bench.families.choice import checked_choice
from bench.models.base import Axis, Model
from bench.models.factorise import block_index, narrowed
from bench.spectral.decompose import rank_of

HELD = "held/"
"""In the server's memory: which channels of a group some client has held."""
CLASSES = "classes"
"""The group of the classifier's rows, which are averaged by class but never cut."""


class Width(Method):
    """Base of the methods that give each client some channels of each layer.

    Evaluated is the network of the channels that some client has held so far: what no client can train would otherwise
    take part with its initial values (``keeps_tail`` leaves it in).
    """

    family: ClassVar[str] = "width"
    keeps_tail: bool = False

    @abstractmethod
    def choose(self, group: str, size: int, count: int, cohort: Cohort, rng: np.random.Generator) -> np.ndarray:
        """Return the channels that one client gets of one group.

        Args:
            group: the group's name, see :meth:`bench.models.base.Model.channels`.
            size: number of channels of the group in the full model.
            count: number of channels the client can train, 1 to ``size``.
            cohort: the round's cohort, for methods that move with the round.
            rng: the client's stream.

        Returns:
            ``count`` distinct channels, ascending.
        """

    def setup(self, model: nn.Module, task: Any) -> Server:
        if not isinstance(model, Model):
            raise Skip(f"{type(model).__name__} does not say which channels belong together")
        return super().setup(model, task)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [self._selection(server, client, cohort, streams) for client in cohort.clients]

    def _selection(self, server: Server, client: Client, cohort: Cohort, streams: Streams) -> Selection:
        rng = self.stream(client, streams)
        device = next(server.model.parameters()).device
        indices = {}
        for group, size in model_of(server).channels().items():
            count = rank_of(client.keep, size)
            chosen = self.choose(group, size, count, cohort, rng)
            indices[group] = checked_choice(chosen, count, size, group, device)
        return Selection(client, indices)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return narrowed(model_of(server), selection.indices)

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        model = model_of(server)
        sizes, axes = model.channels() | {CLASSES: 0}, model.axes()  # of whole rows, whose number is not needed
        means = {name: CoverageMean(tensor.detach()) for name, tensor in model.named_parameters()}
        held = self._held(server)
        for update in updates:
            client, kept = update.selection.client, update.selection.indices
            for group, channels in kept.items():
                held[f"{HELD}{group}"][channels] = True
            weight, classes = self.weight(client), self.classes(server, client)
            for name, values in update.parameters.items():
                if classes is not None and name in model.outputs:
                    index = block_index((Axis(CLASSES), *axes[name][1:]), {**kept, CLASSES: classes}, sizes)
                    means[name].add(values.index_select(0, classes), index, weight)
                else:
                    means[name].add(values, block_index(axes[name], kept, sizes), weight)
        for name, tensor in model.named_parameters():
            tensor.copy_(means[name].result())
        return Server(model, server.memory | held)

    def _held(self, server: Server) -> dict[str, Tensor]:
        """Return for each group which channels some client has held, boolean."""
        device = next(server.model.parameters()).device
        return {
            f"{HELD}{group}": server.memory.get(
                f"{HELD}{group}", torch.zeros(size, dtype=torch.bool, device=device)
            ).clone()
            for group, size in model_of(server).channels().items()
        }

    def full_model(self, server: Server) -> nn.Module:
        held = {
            name.removeprefix(HELD): flags.nonzero()[:, 0]
            for name, flags in server.memory.items()
            if name.startswith(HELD)
        }
        return narrowed(model_of(server), held) if held and not self.keeps_tail else server.model

    def stream(self, client: Client, streams: Streams) -> np.random.Generator:
        """Return what a client's channels are drawn from."""
        return streams.client(client.number)

    def weight(self, client: Client) -> float:
        """Return a client's weight in the averages; HeteroFL counts every client alike."""
        return 1.0

    def classes(self, server: Server, client: Client) -> Tensor | None:
        """Return the classes whose rows of the classifier a client takes part in averaging, int64; None for all."""
        return None

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        sizes = model_of(server).channels()
        return {group: (kept, sizes[group]) for group, kept in selection.indices.items()}


def model_of(server: Server) -> Model:
    """Return a server's model, whose structure is known."""
    assert isinstance(server.model, Model)
    return server.model
