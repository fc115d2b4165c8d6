"""Spectral methods that multiply kernels by frozen factors, and slow down those with large ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.api import parameter
from bench.families.spectral import Sampled
from bench.families.spectral_params import SpectralParams


@dataclass(frozen=True)
class WeighedParams(SpectralParams):
    """ClipLR beside the parameters of every spectral method."""

    clip_tau: float | None = parameter(
        None,
        "gradients of a kernel with multiplier w are scaled by min(1, tau / w) (ClipLR); never if not given",
        above=0.0,
        search=(1.0, 100.0),
        log=True,
    )


class Weighed(Sampled):
    """Base of the methods whose kernels may have multipliers omega (Korzhenkov and Louizos, section 3.4)."""

    Params: ClassVar[type] = WeighedParams

    @property
    def damps(self) -> bool:
        return self.params.clip_tau is not None

    def damping(self, omega: Tensor) -> Tensor | None:
        tau = self.params.clip_tau
        return None if tau is None else (tau / omega).clamp(max=1.0)
