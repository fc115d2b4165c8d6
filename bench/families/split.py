"""Sub-models that hold convolutions by the leading vectors of their decomposition, as a 1 x k and a k x 1 one.

The hidden linear layers of transformers are two thinner ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.api import Cohort, Method, Selection, Server, Skip, Streams, Update, copy_of
from bench.models.base import Model
from bench.models.factorise import low_rank, with_layers
from bench.models.low_rank import Factors
from bench.models.resnet import Block
from bench.models.split_convolution import SplitConv2d, joined_kernel, split_matrix
from bench.models.transformer import is_hidden_linear
from bench.spectral.decompose import Spectrum, decompose_all, split_rank
from bench.spectral.designs import Design, Leading


@dataclass
class SplitServer(Server):
    """A server that knows the decompositions of its factored kernels, made once a round.

    Attributes:
        factored: names of the factored weights.
    """

    factored: tuple[str, ...] = ()

    @cached_property
    def spectra(self) -> dict[str, Spectrum]:
        """The decomposition of each factored kernel, read as :func:`split_matrix`."""
        kernels = {name: self.model.get_parameter(name).detach() for name in self.factored}
        return decompose_all({name: split_matrix(kernel) for name, kernel in kernels.items()})


class Split(Method):
    """Base of methods whose client of keep ratio p holds each kernel by ``max(round(p N), 1)`` singular vectors.

    N is the number of the kernel's outputs, or the smaller side of a matrix. A client of keep ratio 1 trains the dense
    model.
    """

    family: ClassVar[str] = "spectral"

    def setup(self, model: nn.Module, task: Any) -> SplitServer:
        super().setup(model, task)
        factored = tuple(_factored(model)) if isinstance(model, Model) else ()
        if not factored:
            raise Skip(
                f"{self.name} factors convolutions behind the first one and the first residual block, and "
                f"{type(model).__name__} has none"
            )
        # Of a matrix this rank is no share: at a half two factors may hold as many numbers as the matrix.
        self.keep_is_share = all(model.get_parameter(name).ndim > 2 for name in factored)
        return SplitServer(model, factored=factored)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        assert isinstance(server, SplitServer)
        return [Selection(client, self._kept(server, client.keep)) for client in cohort.clients]

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        assert isinstance(server, SplitServer)
        return self._truncated(server, selection.client.keep)

    def _kept(self, server: SplitServer, keep: float) -> dict[str, Tensor]:
        """Return the singular vectors that a client holds of each kernel; all of a kernel's if it is full."""
        kept = {}
        for name, spectrum in server.spectra.items():
            weight = server.model.get_parameter(name)
            most = len(weight) if weight.ndim > 2 else spectrum.kernels
            rank = spectrum.kernels if keep == 1 else min(split_rank(keep, most), spectrum.kernels)
            kept[name] = torch.arange(rank, device=spectrum.s.device)
        return kept

    def _truncated(self, server: SplitServer, keep: float) -> nn.Module:
        """Return the sub-model of a keep ratio, the dense model for 1."""
        if keep == 1:
            return copy_of(server.model)
        layers: dict[str, nn.Module] = {}
        for name, kept in self._kept(server, keep).items():
            layer = name.rpartition(".")[0]
            dense = server.model.get_submodule(layer)
            factors = absorbed(server.spectra[name].take(kept))
            if isinstance(dense, nn.Conv2d):
                layers[layer] = SplitConv2d(dense, factors)
            else:
                layers[layer] = low_rank(dense, {"weight": factors})
        return with_layers(server.model, layers)

    def dense(self, server: SplitServer, update: Update, but: Collection[str] = ()) -> Iterator[tuple[str, Tensor]]:
        """Yield what a client sent by the names of the server's model, its factors multiplied out.

        Args:
            server: as it handed the sub-models out.
            update: what the client sent; a factor that is not among it was fixed.
            but: names that are left out.
        """
        for name, tensor in server.model.named_parameters():
            if name in but:
                continue
            if name in update.parameters:
                yield name, update.parameters[name]
            else:
                given = absorbed(server.spectra[name].take(update.selection.indices[name]))
                u, v = (update.parameters.get(f"{name}_{side}", getattr(given, side)) for side in "uv")
                yield name, joined_kernel(u @ v, tensor.shape)

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        assert isinstance(server, SplitServer)
        for keep in self.levels if len(self.levels) > 1 else ():
            yield keep, self._truncated(server, keep)

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        assert isinstance(server, SplitServer)
        return {name: (kept, server.spectra[name].kernels) for name, kept in selection.indices.items()}

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        pieces = [self.coverage(server, selection) for selection in selections]
        assert isinstance(server, SplitServer)
        return {name: [Leading(units[name][1], len(units[name][0])) for units in pieces] for name in server.factored}


def absorbed(spectrum: Spectrum) -> Factors:
    """Return a decomposition as the factors ``U sqrt(S)`` and ``sqrt(S) V``."""
    root = spectrum.s.sqrt()
    return Factors(spectrum.u * root, root[:, None] * spectrum.v)


def _factored(model: Model) -> Iterator[str]:
    """Yield the factored weights: factorable k x k convolutions, but for those of the first residual block.

    Of a transformer the matrices too.
    """
    blocks = (name for name, module in model.named_modules() if isinstance(module, Block))
    first = next(blocks, None)
    for name in model.factorable:
        layer = model.get_submodule(name.rpartition(".")[0])
        exempt = first is not None and name.startswith(f"{first}.")
        is_kernel = isinstance(layer, nn.Conv2d) and layer.weight.shape[2:].numel() > 1
        if (is_kernel or is_hidden_linear(model, layer)) and not exempt:
            yield name
