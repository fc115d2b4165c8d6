"""DepthFL: the first stages of a model with a classifier each, which learn from one another."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.api import Cohort, Selection, Server, Streams, Update, parameter
from bench.families.distillation import divergence
from bench.families.early_exits import EarlyExits
from bench.models.heads import Bottleneck, Classifier, Head
from bench.models.multi_exit import MultiExit

CLIENT, SERVER = "client/", "feddyn/"
"""In the server's memory: what clients keep, and the server's own state, both of FedDyn."""
STEEPNESS = 5.0
"""Of the ramp of the distillation's weight."""


@dataclass(frozen=True)
class DepthFLParams:
    """Which classifiers, and how they learn from one another."""

    distillation: bool = parameter(True, "the classifiers of a client learn each other's outputs (mutual distillation)")
    ramp_rounds: int = parameter(
        300, "rounds in which the weight of the distillation rises to 1; 0: 1 from the start", low=0
    )
    temperature: float = parameter(1.0, "what logits are divided by where outputs are learned", above=0.0)
    heads: Literal["bottleneck", "linear"] = parameter(
        "bottleneck", "early classifiers have attention and separable convolutions (authors), or are linear alone"
    )
    feddyn: float | None = parameter(
        None,
        "alpha of the dynamic regularisation of FedDyn (paper's headline numbers: 0.1); none if not given",
        above=0.0,
    )
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike, or by their samples")
    capacity_batch: int = parameter(32, "samples whose activations count in a capacity", low=1)


class DepthFL(EarlyExits):
    """A client holds the first d stages with a classifier at the end of each, and trains them all:

        loss = sum_i [ CE(z_i) + w / (d - 1) sum_{j != i} KL(softmax z_j || softmax z_i) ],

    in which the z_j that are learned are constants, ``w = exp(-5 (1 - t / ramp_rounds)^2)`` in round t = 0, 1, ... and
    1 from ``ramp_rounds`` on. A client of one classifier learns the labels alone.

    A model's prediction is the mean of its classifiers' logits.

    With ``feddyn`` a client adds ``-<g_k, theta> + alpha/2 ||theta - theta_0||^2`` to its loss and keeps
    ``g_k <- g_k - alpha (theta - theta_0)`` for its next round; for a parameter that c of the federation's N clients
    sent the server sets ``h <- h - alpha c/N (mean - theta_0)`` and ``theta <- mean - h / alpha``.
    """

    summary = "the first stages with a classifier each, mutual distillation; evaluated is the mean of the classifiers"
    paper = "Kim et al., DepthFL: depthwise federated learning for heterogeneous clients, ICLR 2023"
    deviations = (
        "rule and early classifiers are those of Flower's reproduction; the authors' code was not at hand",
        "the average is FedAvg's over the clients that hold a parameter; the paper's headline numbers have FedDyn on "
        "top (feddyn=0.1)",
        "which stages a client holds follows from its keep ratio by counted capacity; the paper gives depths 1 to 4",
        "the exits of the CNN (behind each convolution) and of the LSTM (behind each layer) are ours, and so is that "
        "their early classifiers have no normalisation, and in the LSTM are linear",
        "optimiser, learning rate, batch size and local epochs are the task's",
    )
    Params = DepthFLParams
    ensemble = True
    told_names = ("distillation_weight",)

    def idle_hooks(self) -> frozenset[str]:
        return frozenset() if self.params.feddyn else frozenset({"adjust_gradients"})

    def head(self) -> type[Head]:
        return Bottleneck if self.params.heads == "bottleneck" else Classifier

    def widths(self, exits: int) -> Sequence[float]:
        return [1.0] * exits

    def told(self, cohort: Cohort) -> Mapping[str, Tensor]:
        return {"distillation_weight": torch.tensor(ramp(cohort.round_number - 1, self.params.ramp_rounds))}

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        assert isinstance(submodel, MultiExit)
        with submodel.each_head():
            outputs = forward().unbind()
        loss = torch.stack([self.task.loss(own, targets) for own in outputs]).sum()
        if len(outputs) == 1 or not self.params.distillation:
            return loss
        pairs = itertools.permutations(outputs, 2)
        apart = torch.stack([divergence(own, other.detach(), self.params.temperature) for own, other in pairs]).sum()
        weight = submodel.get_buffer("distillation_weight")
        return loss + weight / (len(outputs) - 1) * apart

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        part = super().extract(server, selection)
        if self.params.feddyn:
            kept = named_in(server, f"{CLIENT}{selection.client.number}/")
            part.add_module("dynamics", Dynamics(part, kept))
        return part

    def adjust_gradients(self, submodel: nn.Module) -> None:
        if self.params.feddyn:
            for _, tensor, start, gradient in _dynamics(submodel):
                if tensor.grad is not None:
                    tensor.grad.add_(tensor.detach() - start, alpha=self.params.feddyn).sub_(gradient)

    def local_state(self, submodel: nn.Module) -> dict[str, Tensor]:
        if not self.params.feddyn:
            return {}
        alpha = self.params.feddyn
        return {name: gradient - alpha * (now.detach() - start) for name, now, start, gradient in _dynamics(submodel)}

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        if not self.params.feddyn:
            return super().aggregate(server, updates, streams)
        before = {name: tensor.detach().clone() for name, tensor in server.model.named_parameters()}
        counts, kept = Counter[str](), dict[str, Tensor]()

        def noted() -> Iterator[Update]:
            for update in updates:
                counts.update([*update.parameters])
                prefix = f"{CLIENT}{update.selection.client.number}/"
                kept.update({f"{prefix}{name}": tensor.clone() for name, tensor in update.local.items()})
                yield update

        following, alpha = super().aggregate(server, noted(), streams), self.params.feddyn
        states = named_in(server, SERVER)
        for name, tensor in following.model.named_parameters():
            if counts[name]:
                share = counts[name] / self.task.recipe.clients
                state = states.get(name, torch.zeros_like(tensor)) - alpha * share * (tensor - before[name])
                kept[f"{SERVER}{name}"] = state
                tensor.sub_(state / alpha)
        following.memory |= kept
        return following


class Dynamics(nn.Module):
    """What FedDyn's client knows: where it starts, and its gradient so far; neither is sent to it anew.

    Args:
        model: whose parameters are where the client starts.
        kept: the gradients by the parameter's name, as far as the client has any.
    """

    def __init__(self, model: nn.Module, kept: Mapping[str, Tensor]) -> None:
        super().__init__()
        for number, (name, tensor) in enumerate(model.named_parameters()):
            start = tensor.detach().clone()
            self.register_buffer(f"start{number}", start, persistent=False)
            gradient = kept[name].clone() if name in kept else torch.zeros_like(start)
            self.register_buffer(f"gradient{number}", gradient, persistent=False)


def _dynamics(submodel: nn.Module) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Yield name, value, start and gradient of each parameter."""
    known = submodel.get_submodule("dynamics")
    for number, (name, tensor) in enumerate(submodel.named_parameters()):
        yield name, tensor, known.get_buffer(f"start{number}"), known.get_buffer(f"gradient{number}")


def named_in(server: Server, prefix: str) -> dict[str, Tensor]:
    """Return what a server's memory holds under a prefix, by the rest of the name."""
    return {name.removeprefix(prefix): value for name, value in server.memory.items() if name.startswith(prefix)}


def ramp(rounds: int, length: int) -> float:
    """Return the weight of the distillation after so many rounds."""
    return math.exp(-STEEPNESS * (1 - min(rounds, length) / length) ** 2) if length else 1.0
