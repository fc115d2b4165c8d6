"""Networks that are factored before they are trained: clients get, train and send the factors alone (FedLMT).

A k x k convolution becomes a 1 x k one to r channels and a k x 1 one to the outputs, as in FedHM, and a matrix of an
LSTM two thin ones. The server remembers the factors, and its model holds their products.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams
from bench.models.base import Model, matrix
from bench.models.factorise import low_rank, with_layers
from bench.models.low_rank import Factors
from bench.models.resnet import Block
from bench.models.split_convolution import SplitConv2d, joined_kernel, split_matrix
from bench.models.transformer import is_hidden_linear
from bench.seeding import stream
from bench.spectral.decompose import Spectrum, decompose_all, split_rank

FACTOR = "factor/"
"""What the names of the factors begin with in the server's memory."""
_LAST: dict[str, tuple[Tensor, Spectrum]] = {}
"""The matrices that were decomposed last, by name, with their decompositions."""


class Prefactored(Method):
    """Base of FedLMT and pFedLMT.

    Parameters of a member have ``whole_blocks``.
    """

    family: ClassVar[str] = "low-rank"
    equals_fedavg: bool = False

    def setup(self, model: nn.Module, task: Any) -> Server:
        server = super().setup(model, task)
        blocks: int = self.params.whole_blocks
        self.keep_is_share = blocks == 0
        self.factored = {name: isinstance(_layer_of(model, name), nn.Conv2d) for name in factorable(model, blocks)}
        """The factored weights, and whether each is a convolution's."""
        if not self.factored:
            raise Skip(
                f"{self.name} factors k x k convolutions behind the first one and the first {blocks} residual blocks, "
                f"LSTMs and the linear layers of transformers; {type(model).__name__} has none of them"
            )
        return server

    def rank(self, model: nn.Module, name: str, keep: float) -> int:
        """Return a weight's rank at a keep ratio: of a kernel's outputs, of the smaller side of a matrix."""
        weight = model.get_parameter(name)
        most = min(self.as_matrix(name, weight).shape)
        return min(split_rank(keep, len(weight) if self.factored[name] else most), most)

    def as_matrix(self, name: str, weight: Tensor) -> Tensor:
        """Return a weight as the matrix that is factored."""
        return split_matrix(weight) if self.factored[name] else matrix(weight)

    @torch.no_grad()
    def decomposed(self, model: nn.Module, keep: float) -> dict[str, Tensor]:
        """Return ``U sqrt(S)`` and ``sqrt(S) V`` of the leading vectors of each weight, by their names in memory."""
        weights = {name: self.as_matrix(name, model.get_parameter(name).detach()) for name in self.factored}
        found = {}
        for name, spectrum in _spectra(weights).items():
            rank = self.rank(model, name, keep)
            root = spectrum.s[:rank].sqrt()
            found[f"{FACTOR}{name}_u"] = (spectrum.u[:, :rank] * root).contiguous()
            found[f"{FACTOR}{name}_v"] = (root[:, None] * spectrum.v[:rank]).contiguous()
        return found

    def drawn(self, model: nn.Module, keep: float) -> dict[str, Tensor]:
        """Return factors drawn by He's law on the fan-out, each as the convolution that it is, from the run's seed."""
        found = {}
        for name, is_kernel in self.factored.items():
            weight, rank = model.get_parameter(name), self.rank(model, name, keep)
            rows, columns = self.as_matrix(name, weight).shape
            fans = {"u": rows, "v": rank * weight.shape[3] if is_kernel else rank}
            rng = stream(self.seed, f"factors/{name}")
            for side, shape in (("v", (rank, columns)), ("u", (rows, rank))):
                values = math.sqrt(2 / fans[side]) * rng.standard_normal(shape)
                found[f"{FACTOR}{name}_{side}"] = torch.from_numpy(values.astype(np.float32)).to(weight.device)
        return found

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [Selection(client) for client in cohort.clients]

    def submodel(self, server: Server, factors: Mapping[str, Tensor]) -> nn.Module:
        """Return a copy of the server's model in which weights are held by copies of factors, given by their names."""
        by_layer: dict[str, dict[str, Factors]] = defaultdict(dict)
        for name in self.factored:
            layer, _, weight = name.rpartition(".")
            by_layer[layer][weight] = Factors(factors[f"{name}_u"].clone(), factors[f"{name}_v"].clone())
        return with_layers(
            server.model,
            {layer: _split(server.model.get_submodule(layer), own) for layer, own in by_layer.items()},
        )

    @torch.no_grad()
    def compose(self, server: Server) -> None:
        """Write the products of the server's factors into its model."""
        for name, is_kernel in self.factored.items():
            weight = server.model.get_parameter(name)
            product = server.memory[f"{FACTOR}{name}_u"] @ server.memory[f"{FACTOR}{name}_v"]
            weight.copy_(joined_kernel(product, weight.shape) if is_kernel else product.view_as(weight))

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        _LAST.clear()  # from now on there is training, and no other method to be set up
        return super().upload(submodel)


def _spectra(weights: Mapping[str, Tensor]) -> dict[str, Spectrum]:
    """Return the decompositions of matrices; those of the last ones are kept until a client is trained.

    Where costs are counted, the same initial model is set up for one keep ratio after the other.
    """
    if _LAST.keys() != weights.keys() or not all(_alike(_LAST[name][0], one) for name, one in weights.items()):
        found = decompose_all(weights)
        _LAST.clear()
        _LAST.update({name: (one.clone(), found[name]) for name, one in weights.items()})
    return {name: _LAST[name][1] for name in weights}


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)


def factors_of(server: Server) -> dict[str, Tensor]:
    """Return a server's factors by their names in a sub-model."""
    return {name.removeprefix(FACTOR): tensor for name, tensor in server.memory.items() if name.startswith(FACTOR)}


def factorable(model: nn.Module, whole_blocks: int) -> Iterator[str]:
    """Yield the weights that are factored: k x k convolutions and LSTM matrices behind so many residual blocks.

    Of a transformer the hidden linear layers too.
    Stem, 1 x 1 shortcuts, normalisation, embedding and classifier stay whole.
    """
    blocks = [f"{name}." for name, module in model.named_modules() if isinstance(module, Block)]
    for name in model.factorable if isinstance(model, Model) else ():
        layer = _layer_of(model, name)
        is_kernel = isinstance(layer, nn.Conv2d) and layer.weight.shape[2:].numel() > 1
        is_matrix = isinstance(layer, nn.LSTM) or is_hidden_linear(model, layer)
        if (is_kernel or is_matrix) and not name.startswith(tuple(blocks[:whole_blocks])):
            yield name


def _layer_of(model: nn.Module, weight: str) -> nn.Module:
    return model.get_submodule(weight.rpartition(".")[0])


def _split(dense: nn.Module, factors: dict[str, Factors]) -> nn.Module:
    return SplitConv2d(dense, factors["weight"]) if isinstance(dense, nn.Conv2d) else low_rank(dense, factors)
