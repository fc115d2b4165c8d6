"""The family of FedPara: clients train factors whose entry-wise products are the server's weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams, Update, parameter
from bench.families.averaging import means_of
from bench.families.hadamard_rank import Init, Rule, factor_deviations, pays, rank_for
from bench.models.base import Model
from bench.models.factorise import with_layers
from bench.models.hadamard import HALVES, HadamardLayer, composed, factor_shapes, hadamard_layer, names_of
from bench.seeding import stream

FACTOR = "factor/"
"""What the names of the factors begin with in the server's memory."""


@dataclass(frozen=True)
class HadamardParams:
    """Ranks, initial values and averages."""

    rank_rule: Literal["interpolated", "share"] = parameter(
        "interpolated",
        "rank for a keep ratio: so far between the smallest and the largest rank (the paper), or that share of a "
        "weight's numbers (the authors' notebook)",
    )
    init: Literal["fan_in", "fan_out", "matched"] | None = parameter(
        None,
        "initial factors: He's law on fan_in (the authors' notebook) or fan_out (Flower), or such that weights are as "
        "large as the task's own; if not given fan_in where the model normalises, else matched",
    )
    tanh: bool = parameter(False, "both halves of a product go through a tanh (an option of the paper)")
    weights: Literal["samples", "uniform"] = parameter("samples", "clients count by their samples, or alike")


class Hadamard(Method):
    """Base of FedPara and pFedPara.

    The server remembers the factors; its model holds the weights that they make. All clients have the same factors, of
    the rank that the weakest client of the federation affords.
    """

    family: ClassVar[str] = "hadamard"
    Params: ClassVar[type] = HadamardParams
    reduces = ("parameters", "down_bytes")
    follows_levels = True
    equals_fedavg: bool = False
    offset: float = 0.0
    """What is added to the second half of each product."""

    def setup(self, model: nn.Module, task: Any) -> Server:
        super().setup(model, task)
        rule: Rule = self.params.rank_rule
        self.keep_is_share = rule == "share"
        shapes = {name: tuple(model.get_parameter(name).shape) for name in _candidates(model)}
        self.factored = {name: len(shape) for name, shape in shapes.items() if pays(shape, rule)}
        """How many dimensions each weight has that is made of factors."""
        if not self.factored:
            raise Skip(
                f"no weight of {type(model).__name__} is large enough: factors of the smallest rank would hold as many "
                "numbers"
            )
        self.init: Init = self.params.init or _usual_init(model)
        server = Server(model)
        for name in self.factored:
            rank = rank_for(shapes[name], min(self.levels), rule)
            server.memory |= self._drawn(name, model.get_parameter(name), rank)
        self._compose(server)
        return server

    @classmethod
    def implied(cls, task: Any) -> Mapping[str, Any]:
        with torch.device("meta"):
            return {"init": _usual_init(task.model())}

    def _drawn(self, name: str, weight: Tensor, rank: int) -> dict[str, Tensor]:
        """Return initial factors of a weight by their names in the server's memory."""
        shape = tuple(weight.shape)
        deviation = float(weight.detach().double().std(correction=0))
        deviations = factor_deviations(shape, rank, self.init, deviation, self.offset)
        rng, drawn = stream(self.seed, f"factors/{name}"), {}
        for half in HALVES:
            for letter, factor in factor_shapes(shape, rank).items():
                values = deviations[letter] * rng.standard_normal(factor)
                drawn[f"{FACTOR}{name}_{letter}{half}"] = torch.from_numpy(values.astype(np.float32)).to(weight.device)
        return drawn

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [Selection(client) for client in cohort.clients]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return self.submodel(server, self.factors(server))

    def factors(self, server: Server) -> dict[str, Tensor]:
        """Return the server's factors by their names in a sub-model."""
        return {name.removeprefix(FACTOR): tensor for name, tensor in server.memory.items() if name.startswith(FACTOR)}

    def submodel(self, server: Server, factors: Mapping[str, Tensor]) -> nn.Module:
        """Return a copy of the server's model in which weights are held by copies of these factors."""
        by_layer: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in factors.items():
            layer, _, factor = name.rpartition(".")
            by_layer[layer][factor] = tensor.clone()
        return with_layers(
            server.model,
            {
                layer: hadamard_layer(server.model.get_submodule(layer), own, self.offset, self.params.tanh)
                for layer, own in by_layer.items()
            },
        )

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        whole = {name: tensor for name, tensor in server.model.named_parameters() if name not in self.factored}
        means = means_of({**whole, **self.factors(server)}, updates, self.params.weights)
        for name, tensor in whole.items():
            tensor.copy_(means[name])
        averaged = {f"{FACTOR}{name}": mean for name, mean in means.items() if name not in whole}
        following = Server(server.model, {**server.memory, **averaged})
        self._compose(following)
        return following

    @torch.no_grad()
    def _compose(self, server: Server) -> None:
        """Write the products of the server's factors into its model."""
        for name, dimensions in self.factored.items():
            first, second = (
                {letter: server.memory[FACTOR + factor] for letter, factor in names_of(name, half, dimensions).items()}
                for half in HALVES
            )
            server.model.get_parameter(name).copy_(composed(first, second, self.offset, self.params.tanh))


def factor_names(submodel: nn.Module, half: str) -> set[str]:
    """Return the names of a sub-model's parameters that are factors of one half, "1" or "2"."""
    return {
        f"{layer}.{name}"
        for layer, module in submodel.named_modules()
        if isinstance(module, HadamardLayer)
        for name in module.factor_names(half)
    }


def _usual_init(model: nn.Module) -> Init:
    """Return the authors' law where its small weights are normalised at once, else the one that keeps their size."""
    normalises = any(isinstance(module, nn.BatchNorm2d | nn.GroupNorm) for module in model.modules())
    return "fan_in" if normalises else "matched"


def _candidates(model: nn.Module) -> Iterator[str]:
    """Yield the weights that may be made of factors, in the model's order.

    All k x k convolutions, the first one too, and the matrices that spectral methods factor: those of LSTMs and hidden
    linear layers. 1 x 1 shortcuts, embeddings, normalisation and classifiers stay whole.
    """
    factorable = model.factorable if isinstance(model, Model) else ()
    for name, weight in model.named_parameters():
        layer = model.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Conv2d):
            if weight.ndim == 4 and weight.shape[2:].numel() > 1 and layer.groups == 1:
                yield name
        elif name in factorable and weight.ndim == 2:
            yield name
