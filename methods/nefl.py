"""NeFL: sub-models scaled in width and depth, with step sizes and norms of their own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Method, Selection, Server, Skip, Streams, Update, parameter
from bench.families.averaging import CoverageMean, client_weight
from bench.models.factorise import block_index
from bench.models.normalisation import BatchNorm, GroupNorm
from bench.models.resnet import ResNet
from bench.models.stepped import Stepped, scaled, step_names
from bench.models.transformer import Transformer
from bench.spectral.decompose import rank_of

OWN, HELD = "own/", "held"
"""In the server's memory: what each smaller sub-model has for itself, and the largest keep ratio held so far."""


@dataclass(frozen=True)
class NeFLParams:
    """Along what sub-models are scaled, what each has for itself, and which of them clients may take."""

    scaling: Literal["both", "width", "depth"] = parameter(
        "both", "a keep ratio cuts channels and blocks (NeFL-WD), channels (NeFL-W) or blocks alone (NeFL-D)"
    )
    steps: Literal["learned", "none"] = parameter(
        "learned", "residual blocks have step sizes that are learned, or none"
    )
    inconsistent: Literal["steps+norms", "steps", "none"] = parameter(
        "steps+norms", "what each sub-model has for itself; the rest is averaged over all that hold it"
    )
    flexibility: int = parameter(
        0, "levels above or below its own whose sub-model a client may draw each round (released: 2)", low=0
    )
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike (authors), or by their samples")


class NeFL(Method):
    """A client of keep ratio p holds about that share of the parameters: of each stage the first ``round(sqrt(p) n)``
    of its n blocks, at least one, and of each layer the first ``ceil(p^(1/4) * channels)`` channels, so that depth and
    width each cut the parameters to ``sqrt(p)``.

    A block computes ``relu(x + s F(x))``, a step of an ordinary differential equation, whose size s is learned; that of
    a transformer, which is one stage, takes two steps, attention's ``x + s F(x)`` and the linear layers'. Step
    sizes and the gains and biases of normalisation are *inconsistent*: each sub-model has its own, which are averaged
    over the clients of that sub-model. All other entries become the mean over the clients that hold them (NeFedAvg).
    Evaluated are the largest sub-model that some client has held so far, and that of each keep ratio.
    """

    family = "scaled"
    summary = "leading channels and first blocks, with learned step sizes and norms of each sub-model's own"
    paper = "Kang et al., NeFL: nested model scaling for federated learning with system heterogeneous clients, TMC 2025"
    deviations = (
        "the authors list blocks and widths by hand for five sub-models of each network; here both follow from the "
        "keep ratio, width and depth taking the same share, and neither falls where it rises",
        "the blocks that are dropped are the last ones of each stage, as for the authors' ResNet-56 and 110; their "
        "lists for ResNet-18 and 34 drop others too",
        "transformers are cut in all groups of channels, of each head the same; the released code narrows the ViT's "
        "residual stream alone and takes the leading rows of stacked queries, keys and values",
        "a client trains the sub-model of its keep ratio; in the released code one of five that is drawn within two "
        "levels of its own, which may be larger than it affords (flexibility=2)",
        "norms are evaluated by the statistics of the test batch, as all models here; the released code tracks "
        "statistics of each sub-model",
        "optimiser, learning rate, batch size and local epochs are the task's",
    )
    Params = NeFLParams
    equals_fedavg = False
    cuts_parts = True

    def setup(self, model: nn.Module, task: Any) -> Server:
        if not isinstance(model, ResNet | Transformer):
            kind = type(model).__name__
            raise Skip(f"{self.name} scales residual networks and transformers in depth, and a {kind} is neither")
        server = super().setup(model, task)
        blocks = model.depth if isinstance(model, Transformer) else model.block_count
        server.model = Stepped(model, blocks, self.params.steps == "learned")
        self.shape = server.model.shaped(blocks, model.channels())
        # Each sub-model begins with the norms and steps that the full one begins with.
        for keep in self.levels:
            server.memory |= self._named(keep, dict(self.part(server, keep).named_parameters()))
        return server

    def blocks(self, keep: float) -> int:
        """Return how many blocks of each stage a sub-model has."""
        share = {"both": math.sqrt(keep), "width": 1.0, "depth": keep}[self.params.scaling]
        return max(math.floor(round(share * self.shape.blocks, 9) + 0.5), 1)

    def counts(self, keep: float) -> dict[str, int]:
        """Return how many channels of each group a sub-model has."""
        width = {"both": keep**0.25, "width": math.sqrt(keep), "depth": 1.0}[self.params.scaling]
        return {group: rank_of(width, size) for group, size in self.shape.channels().items()}

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [
            Selection(client, draws={"keep": torch.tensor(self._drawn(client, streams), dtype=torch.float64)})
            for client in cohort.clients
        ]

    def _drawn(self, client: Client, streams: Streams) -> float:
        """Return the keep ratio whose sub-model a client takes this round."""
        levels, reach = sorted({*self.levels, client.keep}), self.params.flexibility
        own = levels.index(client.keep)
        near = levels[max(own - reach, 0) : own + reach + 1]
        return near[int(streams.client(client.number).integers(len(near)))] if len(near) > 1 else near[0]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return self.part(server, _keep_in(selection))

    @torch.no_grad()
    def part(self, server: Server, keep: float) -> Stepped:
        """Return the sub-model of a keep ratio, which shares no memory with the server."""
        part, prefix = scaled(_whole(server), self.blocks(keep), self.counts(keep)), _prefix(keep)
        for name, value in server.memory.items():
            if name.startswith(prefix):
                part.get_parameter(name.removeprefix(prefix)).copy_(value)
        return part

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        whole = _whole(server)
        sizes, axes = whole.channels(), whole.axes()
        means = {name: CoverageMean(tensor.detach()) for name, tensor in whole.named_parameters()}
        own: dict[float, dict[str, CoverageMean]] = defaultdict(dict)
        device = next(whole.parameters()).device
        held = server.memory.get(HELD, torch.zeros((), dtype=torch.float64, device=device))
        for update in updates:
            keep, weight = _keep_in(update.selection), client_weight(update.selection.client, self.params.weights)
            held = held.clamp(min=keep)
            kept = {group: torch.arange(count, device=device) for group, count in self.counts(keep).items()}
            if keep not in own:
                before = self.part(server, keep).named_parameters()
                own[keep] = {n: CoverageMean(t) for n, t in self._inconsistent(keep, dict(before)).items()}
            for name, values in update.parameters.items():
                if name in own[keep]:
                    own[keep][name].add(values, weight=weight)
                else:
                    means[name].add(values, block_index(axes[name], kept, sizes), weight)
        for name, tensor in whole.named_parameters():
            tensor.copy_(means[name].result())
        memory = {f"{_prefix(keep)}{name}": mean.result() for keep, of in own.items() for name, mean in of.items()}
        return Server(whole, server.memory | memory | {HELD: held})

    def full_model(self, server: Server) -> nn.Module:
        largest = float(server.memory.get(HELD, torch.tensor(max(self.levels), dtype=torch.float64)))
        return server.model if largest == 1 else self.part(server, largest)

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        for keep in self.levels if len(self.levels) > 1 else ():
            yield keep, self.part(server, keep)

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        """The leading channels of a client, none within blocks that it does not have."""
        keep, device = _keep_in(selection), next(server.model.parameters()).device
        counts, blocks = self.counts(keep), self.blocks(keep)
        lacking = {group for group in counts if (self.shape.block_of(group) or 0) >= blocks}
        return {
            group: (torch.arange(0 if group in lacking else counts[group], device=device), size)
            for group, size in self.shape.channels().items()
        }

    def _inconsistent(self, keep: float, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return of a sub-model's tensors those that are its own; the full one's are the server's model's."""
        if keep == 1 or self.params.inconsistent == "none":
            return {}
        own = step_names(self.shape)
        if self.params.inconsistent == "steps+norms":
            norms = (
                n
                for n, module in self.shape.named_modules()
                if isinstance(module, BatchNorm | GroupNorm | nn.LayerNorm)
            )
            own |= {f"{norm}.{kind}" for norm in norms for kind in ("weight", "bias")}
        return {name: tensor.detach() for name, tensor in named.items() if name in own}

    def _named(self, keep: float, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what is a sub-model's own by its names in the server's memory."""
        return {f"{_prefix(keep)}{name}": tensor for name, tensor in self._inconsistent(keep, named).items()}


def _prefix(keep: float) -> str:
    return f"{OWN}{keep}/"


def _keep_in(selection: Selection) -> float:
    return float(selection.draws["keep"])


def _whole(server: Server) -> Stepped:
    assert isinstance(server.model, Stepped)
    return server.model
