"""Split-Mix: several independent narrow networks, of which a client trains as many as it can."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Method, Selection, Server, Skip, Streams, Update, copy_of, parameter
from bench.families.averaging import means_of
from bench.models.base import Model, blank
from bench.models.ensemble import Ensemble
from bench.seeding import key_of, stream
from bench.spectral.decompose import rank_of

BASES, SERVED = "bases", "served"
"""A client's networks in its selection; in the server's memory, how many clients have got some so far."""


@dataclass(frozen=True)
class SplitMixParams:
    """How narrow the networks are, and how their smaller number of channels is made up for."""

    base_width: float = parameter(0.125, "share of the channels of a network", above=0.0, high=1.0)
    rescale: bool = parameter(
        True, "initial weights are those of a full layer, and hidden outputs are divided by the width in training"
    )
    weights: Literal["samples", "uniform"] = parameter("samples", "clients count by their samples (authors), or alike")


class SplitMix(Method):
    """There are ``floor(p / base_width)`` networks for the largest keep ratio p, each of
    ``ceil(base_width * channels)`` channels a layer and with initial values of its own. A client of keep ratio p trains
    ``floor(p / base_width)`` of them, at least one, each by itself: its loss is the sum of theirs.

    Which ones is drawn each round: the first from a shuffled list of all, in which the clients go on where the last one
    stopped and which is shuffled anew when it ends, the others at random. Each network becomes the mean over the
    clients that trained it. A prediction is the mean of the networks' logits: of all, and for a keep ratio of the first
    ones.
    """

    family = "ensemble"
    summary = "independent narrow networks; clients train as many as they can; evaluated is the mean of their logits"
    paper = "Hong et al., Efficient split-mix federated learning for on-demand and in-situ customization, ICLR 2022"
    deviations = (
        "initial values are the task's, in layers behind the first one times sqrt(base_width), which is what the "
        "authors' rescaled law comes to; theirs are PyTorch's own laws for every layer. Linear layers and embeddings "
        "of transformers begin alike at every width and stay as they are",
        "norms are evaluated by the statistics of the test batch, as all models here; the authors' track statistics",
        "with rescale=true networks without normalisation (the CNN) do not learn at the task's learning rate; those of "
        "the authors are normalised",
        "layers have ceil(base_width * channels) channels, the authors' the whole part of that",
        "no adversarial training and no selection of networks by their accuracy, which are further parts of the paper",
        "optimiser, learning rate, batch size and local epochs are the task's",
    )
    Params = SplitMixParams
    equals_fedavg = False
    cuts_parts = True

    def setup(self, model: nn.Module, task: Any) -> Server:
        if not isinstance(model, Model) or not model.channels():
            raise Skip(f"{self.name} needs narrow networks, and a {type(model).__name__} does not say what they are")
        if self.params.rescale and any(isinstance(module, nn.LSTM) for module in model.modules()):
            raise Skip(f"the rescaling of {self.name} is not defined for LSTMs; rescale=false leaves it out")
        server = super().setup(model, task)
        self.count = self.networks(max(self.levels))
        server.model = Ensemble({number: self._base(model, number) for number in range(self.count)})
        return server

    def _base(self, model: Model, number: int) -> Model:
        """Return a network with initial values of its own; the model itself where it is not cut."""
        width = self.params.base_width
        if width == 1:
            return model
        base = blank(model.narrow({group: rank_of(width, size) for group, size in model.channels().items()}))
        assert isinstance(base, Model)
        generator = torch.Generator().manual_seed(key_of(self.seed, BASES, client=number) % 2**63)
        self.task.initialise(base, generator)
        if self.params.rescale:
            rescale(base, width)
        return base.to(next(model.parameters()).device)

    def networks(self, keep: float) -> int:
        """Return how many networks a keep ratio stands for."""
        return max(math.floor(round(keep / self.params.base_width, 9)), 1)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        served, device = int(server.memory.get(SERVED, torch.tensor(0))), next(server.model.parameters()).device
        selections = []
        for place, client in enumerate(cohort.clients):
            bases = self._drawn(client, served + place, streams)
            selections.append(Selection(client, {BASES: torch.as_tensor(bases, dtype=torch.int64, device=device)}))
        return selections

    def _drawn(self, client: Client, turn: int, streams: Streams) -> np.ndarray:
        """Return the networks of the client whose turn it is, ascending."""
        shuffled = stream(self.seed, "turns", turn // self.count).permutation(self.count)
        first = int(shuffled[turn % self.count])
        others = np.array([number for number in range(self.count) if number != first], dtype=np.int64)
        further = min(self.networks(client.keep), self.count) - 1
        drawn = streams.client(client.number).choice(others, further, replace=False) if further else others[:0]
        return np.sort(np.append(drawn, first))

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        submodel = _some(server, selection.indices[BASES].tolist())
        if self.params.rescale:
            submodel.scale_hidden(self.params.base_width)
        return submodel

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        assert isinstance(submodel, Ensemble)
        with submodel.each_net():
            outputs = forward().unbind()
        return torch.stack([self.task.loss(own, targets) for own in outputs]).sum()

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        named, turns = dict(server.model.named_parameters()), 0

        def counted() -> Iterator[Update]:
            nonlocal turns
            for update in updates:
                turns += 1
                yield update

        for name, mean in means_of(named, counted(), self.params.weights).items():
            named[name].copy_(mean)
        served = server.memory.get(SERVED, torch.tensor(0, device=next(iter(named.values())).device))
        return Server(server.model, server.memory | {SERVED: served + turns})

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        for keep in self.levels if len(self.levels) > 1 else ():
            yield keep, _some(server, range(min(self.networks(keep), self.count)))

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        return {BASES: (selection.indices[BASES], self.count)}


@torch.no_grad()
def rescale(model: Model, width: float) -> None:
    """Make initial weights of a narrow model as large as those of a full one, whose layers have more inputs.

    Weights with narrow inputs whose law knows how many these are, and the biases beside them, are multiplied by
    ``sqrt(width)``.
    """
    axes, named = model.axes(), dict(model.named_parameters())
    for name, tensor in named.items():
        if len(axes[name]) > 1 and axes[name][1] is not None and model.drawn_by_inputs(name):
            tensor.mul_(math.sqrt(width))
            bias = named.get(f"{name.rpartition('.')[0]}.bias")
            if bias is not None:
                bias.mul_(math.sqrt(width))


def _some(server: Server, numbers: Sequence[int]) -> Ensemble:
    """Return copies of some of the server's networks."""
    assert isinstance(server.model, Ensemble)
    nets = {number: copy_of(server.model.nets[str(number)]) for number in numbers}
    return Ensemble({number: net for number, net in nets.items() if isinstance(net, Model)})
