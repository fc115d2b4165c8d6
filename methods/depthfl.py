"""DepthFL: the first stages of a model with a classifier each, which learn from one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.api import Cohort, parameter
from bench.families.distillation import divergence
from bench.families.early_exits import EarlyExits
from bench.models.heads import Bottleneck, Classifier, Head
from bench.models.multi_exit import MultiExit

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
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike, or by their samples")
    capacity_batch: int = parameter(32, "samples whose activations count in a capacity", low=1)


class DepthFL(EarlyExits):
    """A client holds the first d stages with a classifier at the end of each, and trains them all:

        loss = sum_i [ CE(z_i) + w / (d - 1) sum_{j != i} KL(softmax z_j || softmax z_i) ],

    in which the z_j that are learned are constants, ``w = exp(-5 (1 - t / ramp_rounds)^2)`` in round t = 0, 1, ... and
    1 from ``ramp_rounds`` on. A client of one classifier learns the labels alone.

    A model's prediction is the mean of its classifiers' logits.
    """

    summary = "the first stages with a classifier each, mutual distillation; evaluated is the mean of the classifiers"
    paper = "Kim et al., DepthFL: depthwise federated learning for heterogeneous clients, ICLR 2023"
    deviations = (
        "rule and early classifiers are those of Flower's reproduction; the authors' code was not at hand",
        "the average is FedAvg's over the clients that hold a parameter, without FedDyn, which the paper's headline "
        "numbers have on top",
        "which stages a client holds follows from its keep ratio by counted capacity; the paper gives depths 1 to 4",
        "the exits of the CNN (behind each convolution) and of the LSTM (behind each layer) are ours, and so is that "
        "their early classifiers have no normalisation, and in the LSTM are linear",
        "optimiser, learning rate, batch size and local epochs are the task's",
    )
    Params = DepthFLParams
    ensemble = True
    told_names = ("distillation_weight",)

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


def ramp(rounds: int, length: int) -> float:
    """Return the weight of the distillation after so many rounds."""
    return math.exp(-STEEPNESS * (1 - min(rounds, length) / length) ** 2) if length else 1.0
