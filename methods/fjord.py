"""FjORD: ordered dropout. Each local step trains the leading channels of a width drawn anew, up to the client's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.api import Client, Cohort, Selection, Server, Streams, Update, parameter
from bench.families.averaging import CoverageMean, client_weight
from bench.families.nested import Nested
from bench.families.ordered import Ordered, initial_statistics, normalised_channels
from bench.families.static_statistics import with_statistics
from bench.families.width import HELD
from bench.models.base import Model
from bench.spectral.decompose import rank_of

STATISTICS = "statistics/"


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


class FjORD(Nested):
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

    def setup(self, model: nn.Module, task: Any) -> Server:
        server = super().setup(model, task)
        assert isinstance(model, Model)
        self.sizes, self.narrowest = model.channels(), min(self.params.width_set())
        self._networks: dict[float, Model] = {}
        self.equals_fedavg = not self.params.distillation and self.narrowest == 1
        if self.params.statistics == "per-width" and normalised_channels(model):
            device = next(model.parameters()).device
            for width in self.nested_keeps():
                counts = self._counts(width)
                server.memory[f"{STATISTICS}{width}"] = initial_statistics(model.narrow(counts), device)
        return server

    def client_widths(self, keep: float) -> list[float]:
        """Return the widths a client of a keep ratio draws from, ascending."""
        return [*(width for width in self.params.width_set() if width < keep), keep]

    def nested_keeps(self) -> Sequence[float]:
        return sorted({width for level in self.levels for width in self.client_widths(level)})

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [
            replace(selection, draws={"widths": torch.from_numpy(self._drawn(selection.client, streams))})
            for selection in super().select(server, cohort, streams)
        ]

    def _drawn(self, client: Client, streams: Streams) -> np.ndarray:
        """Return the width of each local step, float64."""
        steps = self.task.recipe.local_steps(client.samples)
        return self.stream(client, streams).choice(np.array(self.client_widths(client.keep)), steps)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        narrow = super().extract(server, selection)
        assert isinstance(narrow, Model)
        known = {width: _statistics(server, width) for width in self.client_widths(selection.client.keep)}
        own = {width: statistics.clone() for width, statistics in known.items() if statistics is not None}
        return Ordered(narrow, selection.draws["widths"].tolist(), selection.client.keep, own)

    def local_loss(self, submodel: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> Tensor | None:
        assert isinstance(submodel, Ordered)
        width = submodel.remaining.popleft()
        if not self.params.distillation:
            return self.task.loss(self._outputs(submodel, width, forward), targets)
        # Flower's code computes the widest network a second time where it is drawn: the same outputs, statistics again.
        again = width == submodel.keep and self.params.widest_updates == "twice"
        taught = teacher = self._outputs(submodel, submodel.keep, forward, updates=2 if again else 1)
        if width != submodel.keep:
            taught = self._outputs(submodel, width, forward)
        share, temperature = self.params.distillation_weight, self.params.temperature
        loss = self.task.loss(teacher, targets) + share * distillation_loss(taught, teacher.detach(), temperature)
        # The widest network has learned the labels already.
        return loss if share == 1 or taught is teacher else loss + (1 - share) * self.task.loss(taught, targets)

    def _outputs(self, submodel: Ordered, width: float, forward: Callable[[], Tensor], updates: int = 1) -> Tensor:
        with submodel.at(width, None if width == submodel.keep else self._network(submodel, width), updates):
            return forward()

    def _network(self, submodel: Ordered, width: float) -> Model:
        """Return a network of a width without parameters of its own, made once."""
        if width not in self._networks:
            self._networks[width] = submodel.model.narrow(self._counts(width))
        return self._networks[width]

    def _counts(self, width: float) -> dict[str, int]:
        return {group: rank_of(width, size) for group, size in self.sizes.items()}

    def computed(self, submodel: nn.Module) -> Iterator[tuple[nn.Module, float]]:
        """The network of each width in its share of the steps, with distillation the widest one in every step too."""
        assert isinstance(submodel, Ordered)
        drawn = list(submodel.remaining)
        for width in dict.fromkeys(drawn):
            if width == submodel.keep:
                continue
            yield self._network(submodel, width), drawn.count(width) / len(drawn)
        widest = 1.0 if self.params.distillation else drawn.count(submodel.keep) / max(len(drawn), 1)
        yield submodel, widest

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        assert isinstance(submodel, Ordered)
        tracked = {f"{STATISTICS}{width}": submodel.statistics(width) for width in sorted(submodel.used)}
        return super().upload(submodel.model) | {name: values for name, values in tracked.items() if values is not None}

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        means = {name: CoverageMean(values) for name, values in server.memory.items() if name.startswith(STATISTICS)}
        following = super().aggregate(server, self._noted(updates, means), streams)
        following.memory |= {name: mean.result() for name, mean in means.items()}
        return following

    def _noted(self, updates: Iterable[Update], means: Mapping[str, CoverageMean]) -> Iterator[Update]:
        """Pass on the parameters of updates and add their statistics to the means."""
        for update in updates:
            parameters = dict(update.parameters)
            for name in parameters.keys() & means.keys():
                means[name].add(parameters.pop(name), weight=self.weight(update.selection.client))
            yield replace(update, parameters=parameters)

    def weight(self, client: Client) -> float:
        return client_weight(client, self.params.weights)

    def full_model(self, server: Server) -> nn.Module:
        """Return the network of the largest keep ratio that some client has had, with its statistics."""
        held = [level for level in self.levels if self._is_held(server, level)]
        return _evaluated(server, super().full_model(server), held[-1]) if held else server.model

    def _is_held(self, server: Server, level: float) -> bool:
        counts = self._counts(level)
        flags = (server.memory.get(f"{HELD}{group}", torch.zeros(1))[:count] for group, count in counts.items())
        return all(bool(some.all()) for some in flags)

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        return ((keep, _evaluated(server, model, keep)) for keep, model in super().nested_models(server))


def distillation_loss(outputs: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mean cross entropy of outputs with what a teacher's outputs say, of both from logits.

    Its gradient is that of the paper's Kullback-Leibler divergence, which is smaller by the teacher's entropy.

    Args:
        outputs: ``[samples, classes]``, or ``[samples]`` where one logit tells two classes apart.
        teacher: the same shape.
        temperature: what both are divided by.
    """
    outputs, teacher = outputs / temperature, teacher / temperature
    if outputs.ndim == 1:
        return functional.binary_cross_entropy_with_logits(outputs, teacher.sigmoid())
    return functional.cross_entropy(outputs, teacher.softmax(1))


def _statistics(server: Server, width: float) -> Tensor | None:
    return server.memory.get(f"{STATISTICS}{width}")


def _evaluated(server: Server, model: nn.Module, keep: float) -> nn.Module:
    """Return a model as it is evaluated: with the statistics of its width, if there are any."""
    statistics = _statistics(server, keep)
    return model if statistics is None else with_statistics(model, [statistics])
