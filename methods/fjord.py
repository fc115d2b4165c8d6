"""FjORD: ordered dropout. Each local step trains the leading channels of a width drawn anew, up to the client's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from bench.api import Client, parameter
from bench.families.averaging import client_weight
from bench.families.distillation import distillation_loss
from bench.families.ordered import Ordered
from bench.families.ordered_dropout import OrderedDropout


@dataclass(frozen=True)
class FjORDParams:
    """Which widths, whether the widest network teaches the others, and what is known of normalised channels."""

    widths: str | float = parameter(
        "0.2,0.4,0.6,0.8,1", "keep ratios that steps are made at, those below a client's own"
    )
    distillation: bool = parameter(
        False, "a step also trains the client's widest network, whose outputs the drawn one learns"
    )
    distillation_weight: float = parameter(
        1.0, "share of the widest network's outputs in what a drawn one learns; the rest are labels", low=0.0, high=1.0
    )
    temperature: float = parameter(1.0, "what logits are divided by where outputs are learned", above=0.0)
    widest_updates: Literal["once", "twice"] = parameter(
        "once", "a batch counts once in the widest network's statistics, or twice where its width is drawn"
    )
    statistics: Literal["per-width", "batch"] = parameter(
        "per-width", "batch normalisation is evaluated with running statistics of each width, or of the test batch"
    )
    weights: Literal["samples", "uniform"] = parameter("samples", "clients count by their samples, or alike")

    def __post_init__(self) -> None:
        """Refuse widths that are none, and what distillation alone has an effect on.

        Raises:
            ValueError: in one sentence.
        """
        try:
            correct = all(0 < width <= 1 for width in self.width_set())
        except ValueError:
            correct = False
        if not correct:
            raise ValueError(
                f"widths = {self.widths!r} is not possible; allowed: numbers above 0 to 1 with commas between them, "
                "for example '0.2,0.4,0.6,0.8,1'"
            )
        for name in ("distillation_weight", "temperature"):
            if not self.distillation and getattr(self, name) != 1:
                raise ValueError(f"{name} = {getattr(self, name):g} has no effect without distillation; leave it out")
        if self.widest_updates == "twice" and (not self.distillation or self.statistics == "batch"):
            missing = "distillation" if not self.distillation else "statistics of each width"
            raise ValueError(f"widest_updates = twice has no effect without {missing}; leave it out")

    def width_set(self) -> tuple[float, ...]:
        """Return the widths, ascending."""
        return tuple(sorted({float(width) for width in str(self.widths).split(",")}))


class FjORD(OrderedDropout):
    """A client of keep ratio p_max holds its leading channels. In each of its local steps it draws p from the widths
    below p_max and p_max itself, all alike, and trains the first ``ceil(p * channels)`` of every layer.

    Each entry of the server's model becomes the mean over the clients that hold it, by their samples: the paper's rule
    of nested blocks, written entry by entry. Evaluated is the network of the channels that some client has held, and
    that of every width.
    """

    summary = "the leading channels of a width drawn for every local step (ordered dropout)"
    paper = (
        "Horvath et al., FjORD: fair and accurate federated learning under heterogeneous targets with ordered dropout, "
        "NeurIPS 2021"
    )
    deviations = (
        "evaluated are the widths that some client has held so far",
        "statistics of a width are averaged over the clients that made steps at it; in Flower's baseline over all that "
        "could have",
        "where a step of distillation draws the widest network, that is computed once and updates its statistics once; "
        "Flower's baseline computes it a second time, as its own pupil, and updates them twice (widest_updates=twice)",
    )
    Params = FjORDParams

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        self.teaches, self.tracks_statistics = self.params.distillation, self.params.statistics == "per-width"
        self.equals_fedavg = not self.teaches and min(self.widths()) == 1

    def widths(self) -> Sequence[float]:
        return self.params.width_set()

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        assert isinstance(submodel, Ordered)
        width = submodel.remaining.popleft()
        if not self.params.distillation:
            return self.task.loss(self.outputs(submodel, width, forward), targets)
        # Flower's code computes the widest network a second time where it is drawn: the same outputs, statistics again.
        again = width == submodel.keep and self.params.widest_updates == "twice"
        taught = teacher = self.outputs(submodel, submodel.keep, forward, updates=2 if again else 1)
        if width != submodel.keep:
            taught = self.outputs(submodel, width, forward)
        share, temperature = self.params.distillation_weight, self.params.temperature
        loss = self.task.loss(teacher, targets) + share * distillation_loss(taught, teacher.detach(), temperature)
        # The widest network has learned the labels already.
        return loss if share == 1 or taught is teacher else loss + (1 - share) * self.task.loss(taught, targets)

    def weight(self, client: Client) -> float:
        return client_weight(client, self.params.weights)
