"""InclusiveFL of KDD 2022: the first blocks with a classifier per depth, and momentum from deeper models' blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Selection, Server, Skip, Streams, Update, copy_of, parameter
from bench.families.averaging import CoverageMean, client_weight
from bench.families.ending import HELD, Ending, Size, held_in, number_in
from bench.models.base import Model, blank, matrix
from bench.models.heads import Classifier
from bench.models.multi_exit import with_heads
from bench.seeding import key_of

OWN, MOMENTUM = "own/", "momentum/"
"""In the server's memory: what a group of clients has for itself, and what its last block learns from deeper ones."""


@dataclass(frozen=True)
class InclusiveKDDParams:
    """How much of a deeper model's update a shallower one takes over, and how clients count."""

    beta: float = parameter(
        0.2, "share of the deeper blocks' last update in that of a shallower model's last block", low=0.0, high=1.0
    )
    weights: Literal["samples", "uniform"] = parameter("samples", "within a group clients count by samples, or alike")
    capacity_batch: int = parameter(32, "samples whose activations count in a capacity", low=1)


class InclusiveKDD(Ending):
    """A client of depth d holds the first d blocks and a classifier behind them, and trains them as they are.

    Clients of one depth are a group G_d, whose update is the mean ``u_d = mean_{c in G_d} (theta_c - theta)``. A group
    has its classifier and its last block for itself; all other parameters are averaged over the groups that share
    them, each counted by its number of clients. What deeper models learn reaches a group by momentum: its last block
    moves by

        (1 - beta) u_d + beta m_d,

    tensor by tensor, where m_d is the mean, over the blocks that the next deeper group has more, of how they last moved
    (its own last block with the momentum that it got itself). m_d is of the round before, and zero if no client of that
    group took part in it. The deepest group of the federation moves by its own update.

    The model can be cut behind each of its blocks. Evaluated is the deepest group's model that some client has held.
    """

    summary = "the first blocks with a classifier per depth, and momentum distillation from deeper groups (KDD 2022)"
    paper = "Liu et al., No one left behind: inclusive federated learning over heterogeneous devices, KDD 2022"
    deviations = (
        "the rule is that of ReeFL's reproduction (which blocks are personal, momentum of the round before); the paper "
        "itself was not at hand",
        "not the InclusiveFL of Lee et al. (EmbracingFL), whose weak clients train the output side: see inclusivefl",
        "the paper's models are Transformers, whose blocks are all alike; here momentum passes between tensors of the "
        "same name and shape within blocks, and where a deeper block has none, the own update is taken whole",
        "how deep a client's model is follows from its keep ratio by counted capacity",
        "optimiser, learning rate, batch size and local epochs are the task's",
    )
    Params = InclusiveKDDParams

    def setup(self, model: nn.Module, task: Any) -> Server:
        ends = len(model.exits()) if isinstance(model, Model) and model.channels() else 0
        if not isinstance(model, Model) or not ends:
            raise Skip(f"{self.name} needs a model that can end early, and a {type(model).__name__} does not say where")
        server = super().setup(model, task)
        copied = copy_of(model)
        assert isinstance(copied, Model)
        generator = torch.Generator().manual_seed(key_of(self.seed, "heads") % 2**63)
        whole = with_heads(copied, range(ends), Classifier, False, generator)
        self.shape = whole.shaped(range(ends), whole.channels())
        self.sizes = [Size((place,)) for place in range(ends)]
        self.names = [[name for name, _ in self.shape_of(size).named_parameters()] for size in self.sizes]
        self.blocks = [_last_block(model, names) for names in self.names]
        for place in range(ends - 1):
            server.memory |= {
                f"{OWN}{place}/heads.{place}.{name}": tensor.detach().clone()
                for name, tensor in whole.heads[str(place)].named_parameters()
            }
        return server

    def part(self, server: Server, size: Size) -> nn.Module:
        (place,) = size.places
        part = self.shape_of(size)
        blank(part)
        for name, value in self._values(server, place).items():
            part.get_parameter(name).data = value.detach().clone()
        return part

    def full_model(self, server: Server) -> nn.Module:
        deepest = len(self.sizes) - 1
        held = int(server.memory.get(HELD, torch.tensor(self.number_of(max(self.levels)))))
        return server.model if held == deepest else super().full_model(server)

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        held, counts = held_in(server), defaultdict[int, int](int)
        means: dict[int, dict[str, CoverageMean]] = {}
        for update in updates:
            place, weight = number_in(update.selection), client_weight(update.selection.client, self.weights)
            held = held.clamp(min=place)
            counts[place] += 1
            if place not in means:
                means[place] = {name: CoverageMean(tensor) for name, tensor in self._values(server, place).items()}
            for name, values in update.parameters.items():
                means[place][name].add(values, weight=weight)
        named = dict(server.model.named_parameters())
        shared = {name: CoverageMean(tensor.detach()) for name, tensor in named.items()}
        memory = {name: tensor for name, tensor in server.memory.items() if not name.startswith(MOMENTUM)}
        groups = sorted({*means, *map(self.number_of, self.levels)})
        for place in sorted(means):
            moved = {name: mean.result() for name, mean in means[place].items()}
            if place != groups[-1]:
                self._distil(server, place, groups[groups.index(place) + 1], moved)
            own = self._own(place)
            for name, value in moved.items():
                if name in own:
                    memory[f"{OWN}{place}/{name}"] = value
                else:
                    shared[_in_model(name)].add(value, weight=counts[place])
            if place != groups[0]:
                memory |= self._momentum(server, groups[groups.index(place) - 1], place, moved)
        for name, tensor in named.items():
            tensor.copy_(shared[name].result())
        return Server(server.model, memory | {HELD: held})

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        """All principal kernels of a factorable layer that a client shares with others, or none."""
        assert isinstance(server.model, Model)
        place, covered = number_in(selection), {}
        trained = {_in_model(name) for name in set(self.names[place]) - self._own(place)}
        for name in server.model.factorable:
            weight = server.model.get_parameter(name)
            kernels = min(matrix(weight).shape)
            covered[name] = torch.arange(kernels if name in trained else 0, device=weight.device), kernels
        return covered

    def _own(self, place: int) -> set[str]:
        """Return which of a group's parameters are its own; none of the deepest one's, which nobody shares."""
        if place == len(self.sizes) - 1:
            return set()
        heads = {name for name in self.names[place] if name.startswith("heads.")}
        return heads | {*self.blocks[place].values()}

    def _values(self, server: Server, place: int) -> dict[str, Tensor]:
        """Return the values of a group's model by the names in its sub-model."""
        named = dict(server.model.named_parameters())
        own = {
            name.removeprefix(f"{OWN}{place}/"): tensor
            for name, tensor in server.memory.items()
            if name.startswith(f"{OWN}{place}/")
        }
        return {name: own[name] if name in own else named[_in_model(name)].detach() for name in self.names[place]}

    def _distil(self, server: Server, place: int, deeper: int, moved: dict[str, Tensor]) -> None:
        """Let a group's last block take over a share of the deeper blocks' last update."""
        before, beta = self._values(server, place), self.params.beta
        for name in self._corresponding(place, deeper):
            learned = server.memory.get(f"{MOMENTUM}{place}/{name}", torch.zeros_like(moved[name]))
            moved[name] = before[name] + (1 - beta) * (moved[name] - before[name]) + beta * learned

    def _momentum(self, server: Server, place: int, deeper: int, moved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what a group's last block will learn of a deeper group's update, by name in the memory."""
        before = self._values(server, deeper)
        return {
            f"{MOMENTUM}{place}/{name}": torch.stack([moved[other] - before[other] for other in others]).mean(0)
            for name, others in self._corresponding(place, deeper).items()
        }

    def _corresponding(self, place: int, deeper: int) -> dict[str, list[str]]:
        """Return for each tensor of a last block those of the same name and shape in the blocks up to a deeper exit."""
        whole, found = dict(self.shape.named_parameters()), {}
        for within, name in self.blocks[place].items():
            others = [self.blocks[block].get(within, "") for block in range(place + 1, deeper + 1)]
            alike = [other for other in others if other and whole[other].shape == whole[name].shape]
            if alike:
                found[name] = alike
        return found


def _last_block(model: Model, names: Sequence[str]) -> dict[str, str]:
    """Return the parameters of the last block that a sub-model has, by their names within that block.

    The model's last part is none: it holds the classifier, and of a transformer the last normalisation.

    Args:
        model: the whole model.
        names: of the sub-model's parameters.
    """
    found: dict[str, str] = {}
    for prefixes in model.parts()[:-1]:
        inner = {
            f"{number}/{name.removeprefix(f'net.{prefix}')}": name
            for number, prefix in enumerate(prefixes)
            for name in names
            if name.startswith(f"net.{prefix}")
        }
        found = inner or found
    return found


def _in_model(name: str) -> str:
    """Return the name in the server's model of what a sub-model calls so: its classifier's is that of the head."""
    if name.startswith("heads."):
        return f"classifier.{name.rpartition('.')[2]}"
    return name.removeprefix("net.")
