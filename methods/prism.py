"""PriSM: principal sub-models, sampled by their singular values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from bench.api import parameter
from bench.families.spectral import Spectral, SpectralParams, SpectralServer
from bench.spectral.sampling import log_powers, sequential_sample

PAPER_KAPPA = {"resnet18-cifar10": 2.5, "cnn-femnist": 2.0, "lstm-imdb": 2.0}
"""Smooth factors of Tables 5, 6 and 7."""
OTHER_KAPPA = 2.5


@dataclass(frozen=True)
class PriSMParams(SpectralParams):
    """PriSM's smooth factor beside the parameters of every spectral method."""

    kappa: float | None = parameter(
        None,
        "smooth factor of the sampling; the paper's value for the task if not given (2.5, or 2 for CNN and LSTM)",
        low=0.0,
        high=20.0,
        search=(0.0, 6.0),
    )


class PriSM(Spectral):
    """Kernel i of a layer is drawn with probability proportional to ``sigma_i ** kappa`` (equation 2).

    Drawn without replacement, for each layer and client anew in every round.
    """

    summary = "principal kernels drawn by sigma^kappa, refreshed every round"
    paper = "Niu et al., Federated learning of large models at the edge via principal sub-model training, 2022"
    deviations = (
        "client momentum starts from zero each round (client_momentum=carry: the server's average of the buffers)",
        "the LSTM's matrices are really factored; the authors' code trains a dense LSTM",
    )
    Params = PriSMParams

    def setup(self, model: nn.Module, task: Any) -> SpectralServer:
        kappa = self.params.kappa
        self.kappa = PAPER_KAPPA.get(task.name, OTHER_KAPPA) if kappa is None else kappa
        return super().setup(model, task)

    def choose(self, sigma: np.ndarray, rank: int, rng: np.random.Generator) -> np.ndarray:
        return sequential_sample(log_powers(sigma, self.kappa), rank, rng)
