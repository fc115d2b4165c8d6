"""The spectral family: sub-models made of some of the principal kernels of each factorable layer.

A member of the family says which kernels a client gets (:meth:`Spectral.choose`); the rest is common to PriSM,
OrthDrop and the spectral estimators (PriSM, section 2.2 and Algorithm 1).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Method, Selection, Server, Skip, Streams, Update, parameter
from bench.families.averaging import CoverageMean
from bench.families.choice import checked_choice
from bench.models.base import Model, matrix
from bench.models.factorise import factorised, low_rank_layers
from bench.models.low_rank import Factors
from bench.spectral.decompose import Spectrum, decompose, rank_of


@dataclass
class SpectralServer(Server):
    """A server that knows the spectra of its factorable layers, decomposed once a round (the orthogonal refresh)."""

    @cached_property
    def spectra(self) -> dict[str, Spectrum]:
        """The decomposition of each factorable weight by name."""
        assert isinstance(self.model, Model)
        weights = dict(self.model.named_parameters())
        return {name: decompose(matrix(weights[name].detach())) for name in self.model.factorable}


@dataclass(frozen=True)
class SpectralParams:
    """Parameters of every spectral method.

    ``sigma``: "frozen" keeps the singular values out of training (PriSM, equation 3); "absorbed" puts their square
    roots into both factors, where they are trained with them (the TMLR version and the spectral estimators).
    """

    sigma: Literal["frozen", "absorbed"] = parameter("frozen", "singular values frozen, or absorbed in both factors")
    frobenius_decay: float | None = parameter(
        None,
        "decay of the product of the factors (equation 4); the task's weight decay if not given",
        low=0.0,
        search=(1e-5, 1e-2),
        log=True,
        alias="lambda",
    )
    client_momentum: Literal["reset", "carry"] = parameter(
        "reset", "clients start each round without momentum, or with the server's average of the last buffers"
    )


class Spectral(Method):
    """Base of the methods that give each client some principal kernels of each layer."""

    family: ClassVar[str] = "spectral"
    Params: ClassVar[type] = SpectralParams
    keeps_tail: bool = True

    @abstractmethod
    def choose(self, sigma: np.ndarray, rank: int, rng: np.random.Generator) -> np.ndarray:
        """Return the kernels that one client gets of one layer.

        Args:
            sigma: the layer's singular values, descending, ``[R]``.
            rank: how many kernels the client can train, 1 to R.
            rng: the client's stream.

        Returns:
            ``rank`` distinct indices into ``sigma``, ascending.
        """

    def setup(self, model: nn.Module, task: Any) -> SpectralServer:
        if not isinstance(model, Model) or not model.factorable:
            raise Skip(f"{type(model).__name__} has no layer that a spectral method may factor")
        self.task = task
        self.returns_momentum = self.params.client_momentum == "carry"
        decay = self.params.frobenius_decay
        self.frobenius_decay: float = task.recipe.weight_decay if decay is None else decay
        return SpectralServer(model)

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [self._selection(server, client, streams) for client in cohort.clients]

    def _selection(self, server: Server, client: Client, streams: Streams) -> Selection:
        assert isinstance(server, SpectralServer)
        rng = streams.client(client.number)
        indices = {}
        for name, spectrum in server.spectra.items():
            rank = rank_of(client.keep, spectrum.kernels)
            chosen = self.choose(spectrum.s.cpu().numpy(), rank, rng)
            indices[name] = checked_choice(chosen, rank, spectrum.kernels, name, spectrum.s.device)
        return Selection(client, indices)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        assert isinstance(server, SpectralServer)
        return factorised(
            server.model,
            {name: self._factors(server.spectra[name], kept) for name, kept in selection.indices.items()},
        )

    def _factors(self, spectrum: Spectrum, kept: Tensor) -> Factors:
        """Return the factors a client gets: all of them as the server trains them, restricted to the kept kernels."""
        u, v = self._server_factors(spectrum)
        scale = spectrum.s[kept] if self.params.sigma == "frozen" else None
        return Factors(u[:, kept], v[kept], scale)

    def _server_factors(self, spectrum: Spectrum) -> tuple[Tensor, Tensor]:
        if self.params.sigma == "frozen":
            return spectrum.u, spectrum.v
        root = spectrum.s.sqrt()
        return spectrum.u * root, root[:, None] * spectrum.v

    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> SpectralServer:
        assert isinstance(server, SpectralServer)
        trained = self._trained_tensors(server)
        means = {name: CoverageMean(tensor) for name, tensor in trained.items()}
        buffers = {}
        if self.returns_momentum:
            buffers = {
                name: CoverageMean(server.memory.get(f"momentum/{name}", torch.zeros_like(tensor)))
                for name, tensor in trained.items()
            }
        for update in updates:
            weight = self.weight(update.selection.client)
            for name, values in update.parameters.items():
                means[name].add(values, _place(name, update.selection), weight)
            for name, values in update.momentum.items():
                buffers[name].add(values, _place(name, update.selection), weight)
        self._write(server, means)
        memory = {f"momentum/{name}": mean.result() for name, mean in buffers.items()}
        return SpectralServer(server.model, memory)

    def weight(self, client: Client) -> float:
        """Return a client's weight in the averages; PriSM counts every client alike (equation 3)."""
        return 1.0

    def _trained_tensors(self, server: SpectralServer) -> dict[str, Tensor]:
        """Return what the clients train, by the sub-model's parameter names, at the server's full size."""
        tensors = {
            name: tensor.detach() for name, tensor in server.model.named_parameters() if name not in server.spectra
        }
        for name, spectrum in server.spectra.items():
            tensors[f"{name}_u"], tensors[f"{name}_v"] = self._server_factors(spectrum)
        return tensors

    @torch.no_grad()
    def _write(self, server: SpectralServer, means: Mapping[str, CoverageMean]) -> None:
        """Write the averages into the server model: ``W = sum_i s_i mean(u_i) mean(v_i)`` over all kernels."""
        for name, parameter_ in server.model.named_parameters():
            if name not in server.spectra:
                parameter_.copy_(means[name].result())
                continue
            u, v = means[f"{name}_u"].result(), means[f"{name}_v"].result()
            if not self.keeps_tail:
                u = torch.where(means[f"{name}_u"].held, u, 0.0)
            scale = server.spectra[name].s if self.params.sigma == "frozen" else None
            parameter_.copy_(Factors(u, v, scale).product().reshape(parameter_.shape))

    def initial_momentum(self, server: Server, selection: Selection) -> Mapping[str, Tensor] | None:
        if not server.memory:
            return None
        carried = {name.removeprefix("momentum/"): tensor for name, tensor in server.memory.items()}
        return {name: tensor[_place(name, selection)].clone() for name, tensor in carried.items()}

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        if self.frobenius_decay == 0:
            return None
        norms = [layer.squared_norm() for layer in low_rank_layers(submodel).values()]
        return torch.stack(norms).sum() * (self.frobenius_decay / 2)

    def decay_free(self, submodel: nn.Module) -> set[str]:
        return {
            f"{layer}.{weight}_{side}"
            for layer, module in low_rank_layers(submodel).items()
            for weight in module.factored_weights()
            for side in "uv"
        }

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        assert isinstance(server, SpectralServer)
        return {name: (kept, server.spectra[name].kernels) for name, kept in selection.indices.items()}


def _place(name: str, selection: Selection) -> Any:
    """Return where a sub-model's parameter lies in the server's tensor of the same name."""
    weight, side = name[:-2], name[-2:]
    if weight not in selection.indices:
        return ...
    kept = selection.indices[weight]
    return (slice(None), kept) if side == "_u" else (kept,)
