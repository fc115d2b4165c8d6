"""ScaleFL: sub-models that are both shallower and narrower, with early exits that learn from the last one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Cohort, Selection, Server, Skip, parameter
from bench.families.distillation import divergence
from bench.families.early_exits import EarlyExits
from bench.families.ending import number_in
from bench.models.heads import Classifier, ConvolvedHead, Head
from bench.models.multi_exit import MultiExit


@dataclass(frozen=True)
class ScaleFLParams:
    """How wide sub-models are, which classifiers they have, and how these learn from the last one."""

    widths: str | float = parameter(
        "0.7,0.7,0.75,1", "share of the channels of the sub-models that end at each exit; of fewer exits the last ones"
    )
    distillation_weight: float = parameter(
        0.0, "weight of what early exits learn from the last one (released: 0; its commands for BERT: 0.05)", low=0.0
    )
    temperature: float = parameter(3.0, "what logits are divided by where outputs are learned", above=0.0)
    distillation_from: float = parameter(0.25, "share of the rounds after which outputs are learned", low=0.0, high=1.0)
    divergence_mean: Literal["samples", "entries"] = parameter(
        "samples", "the divergence is a mean over samples, or over samples and classes (released)"
    )
    teacher: Literal["constant", "trained"] = parameter(
        "constant", "the last exit's outputs are constants where they are learned, or trained towards them (released)"
    )
    heads: Literal["convolved", "linear"] = parameter(
        "convolved", "early exits have three convolutions (authors), or are linear alone"
    )
    scaler: bool = parameter(True, "in training, hidden outputs are divided by the sub-model's width")
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike (authors), or by their samples")
    capacity_batch: int = parameter(32, "samples whose activations count in a capacity", low=1)

    def __post_init__(self) -> None:
        """Refuse widths that are none, and what the distillation alone has an effect on.

        Raises:
            ValueError: in one sentence.
        """
        try:
            shares = self.width_list()
            correct = all(0 < share <= 1 for share in shares) and shares == sorted(shares) and shares[-1] == 1
        except ValueError:
            correct = False
        if not correct:
            raise ValueError(
                f"widths = {self.widths!r} is not possible; allowed: numbers above 0 to 1 with commas between them, "
                "ascending, the last one 1, for example '0.7,0.7,0.75,1'"
            )

    def width_list(self) -> list[float]:
        """Return the widths, from the first exit to the last."""
        return [float(width) for width in str(self.widths).split(",")]


class ScaleFL(EarlyExits):
    """A client of level l holds the stages up to the l-th exit, of these the first ``ceil(width_l * channels)`` of
    every layer, and trains all M exits of its sub-model:

        loss = sum_j j L_j / (M (M + 1) / 2),  L_M = CE(z_M),
        L_j = CE(z_j) + gamma T^2 KL(softmax z_M / T || softmax z_j / T)  for j < M,

    with gamma 0 in the first quarter of the rounds. A model's prediction is its last exit's.
    """

    summary = "the first stages of a narrow model, with exits that learn from the last one"
    paper = "Ilhan, Su and Liu, ScaleFL: resource-adaptive federated learning with heterogeneous clients, CVPR 2023"
    deviations = (
        "rule and widths are those of the released code, whose ResNet-110 has its exits within the last two stages; "
        "here exits are the ends of stages",
        "which level a client has follows from its keep ratio by counted capacity; in the released code levels are "
        "dealt to a quarter of the clients each",
        "the scaler divides in training alone, as HeteroFL's; in the released code in evaluation too, which behind "
        "normalisation is the same",
        "layers have ceil(width * channels) channels, in the released code the whole part of that",
        "optimiser, learning rate, batch size and local epochs are the task's",
    )
    Params = ScaleFLParams
    told_names = ("distillation_weight",)

    def setup(self, model: nn.Module, task: Any) -> Server:
        if any(isinstance(module, nn.LSTM) for module in model.modules()):
            raise Skip(f"{self.name} is defined for convolutional networks and Transformers, not for LSTMs")
        return super().setup(model, task)

    def head(self) -> type[Head]:
        return ConvolvedHead if self.params.heads == "convolved" else Classifier

    def widths(self, exits: int) -> Sequence[float]:
        widths = self.params.width_list()
        return [*[widths[0]] * (exits - len(widths)), *widths[-exits:]]

    def told(self, cohort: Cohort) -> Mapping[str, Tensor]:
        active = cohort.round_number - 1 > self.params.distillation_from * self.task.recipe.rounds
        return {"distillation_weight": torch.tensor(self.params.distillation_weight if active else 0.0)}

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        part = super().extract(server, selection)
        assert isinstance(part, MultiExit)
        if self.params.scaler:
            part.scale_hidden(self.sizes[number_in(selection)].width)
        return part

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        assert isinstance(submodel, MultiExit)
        with submodel.each_head():
            outputs = forward().unbind()
        losses = [self.task.loss(own, targets) for own in outputs]
        if self.params.distillation_weight:
            teacher = outputs[-1].detach() if self.params.teacher == "constant" else outputs[-1]
            scale = submodel.get_buffer("distillation_weight") * self.params.temperature**2
            for place, own in enumerate(outputs[:-1]):
                losses[place] = losses[place] + scale * self._divergence(own, teacher)
        count = len(losses)
        return torch.stack([(place + 1) * own for place, own in enumerate(losses)]).sum() / (count * (count + 1) / 2)

    def _divergence(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        apart = divergence(outputs, teacher, self.params.temperature)
        classes = 2 if outputs.ndim == 1 else outputs.shape[-1]
        return apart / classes if self.params.divergence_mean == "entries" else apart
