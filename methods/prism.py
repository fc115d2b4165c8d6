"""PriSM: principal sub-models, sampled by their singular values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from bench.api import Cohort, Selection, Server, Streams, Update, parameter
from bench.families.as_released import AsReleased, ReleasedParams
from bench.families.cyclic import Cycle, remembered
from bench.families.spectral import SpectralServer
from bench.spectral.designs import Design, Leading, Sequential, Uniform
from bench.spectral.sampling import log_powers

PAPER_KAPPA = {"resnet18-cifar10": 2.5, "cnn-femnist": 2.0, "lstm-imdb": 2.0}
"""Smooth factors of Tables 5, 6 and 7."""
OTHER_KAPPA = 2.5


@dataclass(frozen=True)
class PriSMParams(ReleasedParams):
    """PriSM's smooth factor, the multipliers that the spectral paper adds, and the released code's departures."""

    kappa: float | None = parameter(
        None,
        "smooth factor of the sampling; the paper's value for the task if not given (2.5, or 2 for CNN and LSTM)",
        low=0.0,
        high=20.0,
        search=(0.0, 6.0),
    )
    multipliers: Literal["none", "wallenius", "scaled"] = parameter(
        "none", "kernels are weighed by 1, by 1/pi, or all by one factor that keeps their layer's Frobenius norm"
    )
    inclusion: Literal["exact", "approximate"] = parameter(
        "exact", "how the pi of 1/pi are computed: by quadrature, or by Fog's approximation as in the spectral paper"
    )
    draws: Literal["client", "cyclic"] = parameter(
        "client",
        "each client draws its own kernels, or each kernel is dealt once before any is dealt again (sampling=uniform)",
    )
    warmup_rounds: int = parameter(0, "first rounds, in which the leading kernels are taken (released flag: 50)", low=0)

    def __post_init__(self) -> None:
        """Refuse settings that would change nothing but the name of a result, or contradict each other.

        Raises:
            ValueError: in one sentence.
        """
        if self.clip_tau is not None and self.multipliers == "none":
            raise ValueError(
                f"clip_tau = {self.clip_tau:g} has no effect without multipliers; give them or leave it out"
            )
        even = self.sampling == "uniform" or (self.as_released and self.sampling == "power")
        if self.draws == "cyclic" and not even:
            raise ValueError(
                f"draws = 'cyclic' deals all kernels alike, which sampling = {self.sampling!r} does not ask for; "
                "allowed: draws = 'cyclic' with sampling = 'uniform'"
            )
        if self.kappa is not None and (self.sampling != "power" or self.as_released):
            raise ValueError(
                f"kappa = {self.kappa:g} has no effect where kernels are not drawn by powers; leave it out"
            )


class PriSM(AsReleased):
    """Kernel i of a layer is drawn with probability proportional to ``sigma_i ** kappa`` (equation 2).

    Drawn without replacement, for each layer and client anew in every round.
    """

    summary = "principal kernels drawn by sigma^kappa, refreshed every round"
    paper = "Niu et al., Federated learning of large models at the edge via principal sub-model training, 2022"
    deviations = (
        "client momentum starts from zero each round (client_momentum=carry: the server's average of the buffers)",
        "the bias of a factored convolution is not decayed, as in the authors' code; the paper is silent "
        "(bias_decay=true: by the task's weight decay)",
        "the CNN keeps its last ReLU, which the authors' factored CNN lacks (last_relu=lost)",
        "the LSTM's matrices are really factored; the authors' code trains a dense LSTM",
        "best-round accuracy, which the released code reports, is the column oracle_acc of the table cells alone",
    )
    Params = PriSMParams
    cycle: Cycle | None = None

    def setup(self, model: nn.Module, task: Any) -> SpectralServer:
        kappa = self.params.kappa
        self.kappa = self.implied(task)["kappa"] if kappa is None else kappa
        self.warming_up = False
        server = super().setup(model, task)
        self.errors_follow_from_design = self.params.multipliers != "scaled" and self.params.u_rows == 1
        exact = self.params.multipliers == "wallenius" and self.params.inclusion == "exact"
        # Over its permutations a cycle is unbiased as well, but not given what is left in its buffers.
        draws_anew = self.params.draws == "client"
        self.unbiased = exact and draws_anew and self.params.u_rows == 1 and not self.params.warmup_rounds
        return server

    @classmethod
    def implied(cls, task: Any) -> Mapping[str, Any]:
        return {**super().implied(task), "kappa": PAPER_KAPPA.get(task.name, OTHER_KAPPA)}

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        self.warming_up = cohort.round_number <= self.params.warmup_rounds
        if self.params.draws == "client" or self.warming_up:
            return super().select(server, cohort, streams)
        self.cycle = Cycle(server.memory, streams.server())
        return self.cycle.noted(super().select(server, cohort, streams))

    def drawn(self, name: str, kernels: int, design: Design, rng: np.random.Generator) -> np.ndarray:
        if self.cycle is None:
            return super().drawn(name, kernels, design, rng)
        return self.cycle.draw(name, kernels, design.size)

    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> SpectralServer:
        left: dict[str, Tensor] = {}
        following = super().aggregate(server, remembered(updates, left), streams)
        following.memory |= left
        return following

    def designs(self, server: Server, selections: Sequence[Selection]) -> dict[str, list[Design]]:
        # What is expected of draws assumes that they are independent, as those of a cycle are not.
        return {} if self.params.draws == "cyclic" else super().designs(server, selections)

    def design(self, sigma: np.ndarray, rank: int, clients: int) -> Design:
        if self.warming_up:
            return Leading(len(sigma), rank)
        reciprocal = self.params.multipliers == "wallenius"
        if self.params.sampling == "uniform":
            return Uniform(len(sigma), rank, reciprocal)
        log_weights = sigma if self.params.sampling == "softmax" else log_powers(sigma, self.kappa)
        return Sequential(log_weights, rank, reciprocal, exact=self.params.inclusion == "exact")

    def multipliers(self, sigma: np.ndarray, design: Design, kept: np.ndarray) -> np.ndarray | None:
        if self.params.multipliers != "scaled":
            return super().multipliers(sigma, design, kept)
        kept_norm = np.linalg.norm(sigma[kept])
        return np.full(len(kept), np.linalg.norm(sigma) / kept_norm if kept_norm > 0 else 1.0)
