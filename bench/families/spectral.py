"""The spectral family: sub-models made of some of the principal kernels of each factorable layer.

A member of the family says which kernels a client gets: :meth:`Spectral.choose`, or :meth:`Sampled.design` where the
law of the draw is known. The rest is common to PriSM, OrthDrop and the spectral estimators (PriSM, section 2.2 and
Algorithm 1; Korzhenkov and Louizos, section 3).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Client, Cohort, Measures, Method, Selection, Server, Skip, Streams, Update
from bench.families.averaging import client_weight
from bench.families.choice import checked_choice
from bench.families.one_factor import freeze_factors, frozen_side, rounds_of
from bench.families.product_decay import convolution_biases, factor_names, product_decay
from bench.families.spectral_averaging import MOMENTUM, Averages, part
from bench.families.spectral_errors import layer_errors
from bench.families.spectral_params import SpectralParams
from bench.models.base import Model, matrix
from bench.models.factorise import factorised, low_rank_layers
from bench.models.low_rank import Factors
from bench.spectral.decompose import Spectrum, decompose_all, rank_of
from bench.spectral.designs import Chosen, Design
from bench.spectral.error import expected_error, expected_mean_error

__all__ = ["Sampled", "Spectral", "SpectralParams", "SpectralServer"]


@dataclass
class SpectralServer(Server):
    """A server that knows the spectra of its factorable layers, decomposed once a round (the orthogonal refresh).

    Attributes:
        designs: how the round's clients draw, by layer, rank and number of clients with the same keep ratio.
    """

    designs: dict[tuple[str, int, int], Design] = field(default_factory=dict)

    @cached_property
    def spectra(self) -> dict[str, Spectrum]:
        """The decomposition of each factorable weight by name."""
        assert isinstance(self.model, Model)
        weights = dict(self.model.named_parameters())
        return decompose_all({name: matrix(weights[name].detach()) for name in self.model.factorable})

    @cached_property
    def sigma(self) -> dict[str, np.ndarray]:
        """The singular values of each factorable weight, float64 ``[R]``, not to be changed: all clients see them."""
        values = {name: spectrum.s.cpu().double().numpy() for name, spectrum in self.spectra.items()}
        for array in values.values():
            array.setflags(write=False)
        return values


class Spectral(Method):
    """Base of the methods that give each client some principal kernels of each layer."""

    family: ClassVar[str] = "spectral"
    Params: ClassVar[type] = SpectralParams
    equals_fedavg: bool = False
    keeps_tail: bool = True
    averages_over_all: bool = False
    """True where a kernel that some clients do not hold counts as zero of theirs."""
    errors_follow_from_design: bool = True
    """False where what a client gets depends on more than the design, so that no expected error is known."""

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

    def design(self, sigma: np.ndarray, rank: int, clients: int) -> Design:
        """Return how ``clients`` clients of the same keep ratio draw their kernels of one layer, each for itself."""
        return Chosen(self.choose, sigma, rank)

    def multipliers(self, sigma: np.ndarray, design: Design, kept: np.ndarray) -> np.ndarray | None:
        """Return the frozen multipliers omega of the kernels one client got, ``[rank]``; None for ones."""
        return None if design.multipliers is None else design.multipliers[kept]

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        self.cost_rounds = rounds_of(self.params.train)
        self.returns_momentum = self.params.client_momentum == "carry"
        self.frozen = ""
        """The factor of every kernel that is fixed in this round, "u" or "v"; "" for none."""

    def setup(self, model: nn.Module, task: Any) -> SpectralServer:
        if not isinstance(model, Model) or not model.factorable:
            raise Skip(f"{type(model).__name__} has no layer that a spectral method may factor")
        self.task = task
        decay = self.params.frobenius_decay
        self.frobenius_decay: float = self.implied(task)["frobenius_decay"] if decay is None else decay
        return SpectralServer(model)

    @classmethod
    def implied(cls, task: Any) -> Mapping[str, Any]:
        return {"frobenius_decay": task.recipe.weight_decay}

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        self.frozen = frozen_side(self.params.train, cohort.round_number)
        alike = Counter(client.keep for client in cohort.clients)
        return [self._selection(server, client, alike[client.keep], streams) for client in cohort.clients]

    def _selection(self, server: Server, client: Client, alike: int, streams: Streams) -> Selection:
        """Draw for one client; ``alike`` clients of the cohort have its keep ratio."""
        assert isinstance(server, SpectralServer)
        rng = streams.client(client.number)
        indices, multipliers = {}, {}
        for name, spectrum in server.spectra.items():
            rank, sigma = rank_of(client.keep, spectrum.kernels), server.sigma[name]
            key = (name, rank, alike)
            if key not in server.designs:
                server.designs[key] = self.design(sigma, rank, alike)
            drawn = self.drawn(name, spectrum.kernels, server.designs[key], rng)
            indices[name] = checked_choice(drawn, rank, spectrum.kernels, name, spectrum.s.device)
            omega = self.multipliers(sigma, server.designs[key], drawn)
            if omega is not None:
                multipliers[name] = torch.as_tensor(omega, dtype=spectrum.s.dtype, device=spectrum.s.device)
        return Selection(client, indices, multipliers)

    def drawn(self, name: str, kernels: int, design: Design, rng: np.random.Generator) -> np.ndarray:
        """Return what a client gets of the kernels of one layer, ascending; by default what its design draws."""
        return design.draw(rng)

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        assert isinstance(server, SpectralServer)
        submodel = factorised(server.model, {name: self.factors(server, selection, name) for name in selection.indices})
        freeze_factors(submodel, self.frozen)
        return submodel

    def factors(self, server: SpectralServer, selection: Selection, name: str) -> Factors:
        """Return the factors a client gets of one weight: the server's, restricted to the kept kernels."""
        spectrum, omega = server.spectra[name].take(selection.indices[name]), selection.multipliers.get(name)
        u, v = self.trained_factors(spectrum)
        scale = spectrum.s if self.params.sigma == "frozen" else None
        if omega is not None:
            scale = omega if scale is None else scale * omega
        return Factors(u, v, scale, None if omega is None else self.damping(omega))

    def damping(self, omega: Tensor) -> Tensor | None:
        """Return by what the gradients of kernels with these multipliers are scaled, ``[rank]``; None for ones."""
        return None

    def trained_factors(self, spectrum: Spectrum) -> tuple[Tensor, Tensor]:
        """Return kernels as the clients train them, ``[outputs, R]`` and ``[R, inputs]``."""
        if self.params.sigma == "frozen":
            return spectrum.u, spectrum.v
        root = spectrum.s.sqrt()
        return spectrum.u * root, root[:, None] * spectrum.v

    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> SpectralServer:
        assert isinstance(server, SpectralServer)
        averages = Averages(
            trained=self._trained_tensors(server),
            scales={name: spectrum.s if self.params.sigma == "frozen" else None
                    for name, spectrum in server.spectra.items()},
            buffers=self._buffers(server) if self.returns_momentum else None,
            products=self.params.aggregate == "product",
            keeps_tail=self.keeps_tail,
            over_all=self.averages_over_all,
        )  # fmt: skip
        for update in updates:
            averages.add(update, self.weight(update.selection.client))
        averages.write(server.model)
        return SpectralServer(server.model, averages.momentum())

    def weight(self, client: Client) -> float:
        """Return a client's weight in the averages: 1 (PriSM, equation 3) or its samples (the spectral estimators)."""
        return client_weight(client, self.params.weights)

    def _trained_tensors(self, server: SpectralServer) -> dict[str, Tensor]:
        """Return what the clients train, by the sub-model's parameter names, at the server's full size."""
        tensors = {
            name: tensor.detach() for name, tensor in server.model.named_parameters() if name not in server.spectra
        }
        for name, spectrum in server.spectra.items():
            tensors[f"{name}_u"], tensors[f"{name}_v"] = self.trained_factors(spectrum)
        return tensors

    def _buffers(self, server: SpectralServer) -> dict[str, Tensor]:
        """Return the carried momentum by parameter name, zeros before the first round."""
        return {
            name: server.memory.get(f"{MOMENTUM}{name}", torch.zeros_like(tensor))
            for name, tensor in self._trained_tensors(server).items()
        }

    def initial_momentum(self, server: Server, selection: Selection) -> Mapping[str, Tensor] | None:
        assert isinstance(server, SpectralServer)
        names = {key.removeprefix(MOMENTUM): key for key in server.memory if key.startswith(MOMENTUM)}
        return {
            name: part(name, server.memory[key], selection)
            for name, key in names.items()
            if not (self.frozen and name.endswith(f"_{self.frozen}") and name[:-2] in server.spectra)
        } or None

    def penalty(self, submodel: nn.Module) -> Tensor | None:
        return product_decay(submodel, self.frobenius_decay)

    def decay_free(self, submodel: nn.Module) -> set[str]:
        factors = factor_names(submodel)
        return factors if self.params.bias_decay else factors | convolution_biases(submodel)

    @property
    def damps(self) -> bool:
        """Whether the gradients of some kernels are scaled."""
        return False

    def idle_hooks(self) -> frozenset[str]:
        idle = set() if self.returns_momentum else {"initial_momentum"}
        return frozenset(idle if self.damps else idle | {"adjust_gradients"})

    def adjust_gradients(self, submodel: nn.Module) -> None:
        for layer in low_rank_layers(submodel).values():
            layer.damp_gradients()

    def coverage(self, server: Server, selection: Selection) -> dict[str, tuple[Tensor, int]]:
        assert isinstance(server, SpectralServer)
        return {name: (kept, server.spectra[name].kernels) for name, kept in selection.indices.items()}

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        assert isinstance(server, SpectralServer)
        alike = Counter(selection.client.keep for selection in selections)
        return {
            name: [
                server.designs[name, len(selection.indices[name]), alike[selection.client.keep]]
                for selection in selections
            ]
            for name in server.spectra
        }

    def expected_errors(self, server: Server, selections: Sequence[Selection]) -> Measures:
        assert isinstance(server, SpectralServer)
        measures = {name: {"weight_norm2": float(np.square(sigma).sum())} for name, sigma in server.sigma.items()}
        for name, designs in self.designs(server, selections).items():
            laws = [(design.inclusion, design.multipliers) for design in designs if design.inclusion is not None]
            if self.errors_follow_from_design and len(laws) == len(designs):
                sigma = server.sigma[name]
                submodels = [expected_error(sigma, *law) for law in laws]
                measures[name]["submodel_error_expected"] = float(np.mean(submodels))
                measures[name]["cohort_error_expected"] = expected_mean_error(sigma, laws)
        return measures

    def errors(self, server: Server, selections: Sequence[Selection], updates: Sequence[Update]) -> Measures:
        assert isinstance(server, SpectralServer)
        weights = [self.weight(selection.client) for selection in selections]
        measures = {}
        for name, spectrum in server.spectra.items():
            base = Factors(*self.trained_factors(spectrum), spectrum.s if self.params.sigma == "frozen" else None)
            errors = layer_errors(
                base,
                [selection.indices[name] for selection in selections],
                [self.factors(server, selection, name) for selection in selections],
                [(update.parameters.get(f"{name}_u"), update.parameters.get(f"{name}_v")) for update in updates],
                weights,
            )
            measures[name] = asdict(errors)
        return measures


class Sampled(Spectral):
    """A spectral method whose clients draw by a known law: inclusion probabilities, and perhaps multipliers."""

    @abstractmethod
    def design(self, sigma: np.ndarray, rank: int, clients: int) -> Design:
        """Return how ``clients`` clients of the same keep ratio draw their kernels of one layer, each for itself.

        Args:
            sigma: the layer's singular values, descending, float64 ``[R]``.
            rank: how many kernels a client can train, 1 to R.
            clients: how many clients of the cohort draw by this law.
        """

    def choose(self, sigma: np.ndarray, rank: int, rng: np.random.Generator) -> np.ndarray:
        """Return what a client alone with its keep ratio would get; the harness draws from :meth:`design`."""
        return self.design(sigma, rank, 1).draw(rng)
