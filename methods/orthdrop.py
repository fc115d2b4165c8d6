"""OrthDrop: every client trains the same leading principal kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from bench.api import Client, Selection, Server, parameter
from bench.families.as_released import LAST_RELU, lose_last_relu
from bench.families.bands import BANDS
from bench.families.spectral import Sampled, SpectralParams, SpectralServer
from bench.spectral.decompose import rank_of
from bench.spectral.designs import Design, Leading


@dataclass(frozen=True)
class OrthDropParams(SpectralParams):
    """What happens to the kernels that nobody trains, beside the parameters of every spectral method."""

    tail: Literal["keep", "drop"] = parameter(
        "keep", "untrained kernels stay in the server model, or are dropped from it after the first round"
    )
    bands: Literal["all", "holders"] = parameter("holders", BANDS)
    last_relu: Literal["kept", "lost"] = parameter("kept", LAST_RELU)


class OrthDrop(Sampled):
    """The ``ceil(keep * R)`` kernels of largest singular value (PriSM, section 3, baseline OrthDrop).

    The released code keeps the untrained kernels in the server model and in evaluation; FedHM discards them. With the
    tail kept, singular values absorbed and clients weighted by their samples it is Top-n of the spectral estimators.
    """

    summary = "the leading principal kernels, the same for every client; kept tail: Top-n"
    paper = "baseline of PriSM (Niu et al., 2022), after FedHM (Yao et al., 2021)"
    deviations = (
        "the bias of a factored convolution is not decayed, as in the authors' code; the paper is silent "
        "(bias_decay=true: by the task's weight decay)",
        "the CNN keeps its last ReLU, which the authors' factored CNN lacks (last_relu=lost)",
    )
    Params = OrthDropParams

    def setup(self, model: nn.Module, task: Any) -> SpectralServer:
        self.keeps_tail = self.params.tail == "keep"
        self.averages_over_all = self.discards_unheld = self.params.bands == "all"
        if self.params.last_relu == "lost":
            lose_last_relu(model)
        return super().setup(model, task)

    def nested_models(self, server: Server) -> Iterator[tuple[float, nn.Module]]:
        """Where clients differ in capacity, what one of each keep ratio would hold: the leading kernels alone."""
        assert isinstance(server, SpectralServer)
        for keep in self.levels if len(self.levels) > 1 else ():
            leading = {
                name: torch.arange(rank_of(keep, spectrum.kernels), device=spectrum.s.device)
                for name, spectrum in server.spectra.items()
            }
            yield keep, self.extract(server, Selection(Client(0, 1, keep), leading))

    def design(self, sigma: np.ndarray, rank: int, clients: int) -> Design:
        return Leading(len(sigma), rank)
