"""What the two spectral estimators share: absorbed singular values, frozen multipliers, a sampler of fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.api import parameter
from bench.families.weighed import Weighed, WeighedParams

PAPER = "Korzhenkov and Louizos, Federated learning with spectral model sharding, NeurIPS 2024 (arXiv 2410.24106)"


@dataclass(frozen=True)
class EstimatorParams(WeighedParams):
    """The spectral paper's settings: sqrt(sigma) in both factors, averages by samples, ClipLR with tau = 10.

    Its decay acts on the effective weights; of other parameters it says nothing, and they are decayed as usual.
    """

    sigma: Literal["frozen", "absorbed"] = parameter("absorbed", "singular values frozen, or absorbed in both factors")
    weights: Literal["uniform", "samples"] = parameter("samples", "clients count alike, or by their samples")
    bias_decay: bool = parameter(
        True, "the bias of a factored convolution is decayed as the whole layers are, or like the factors not at all"
    )
    clip_tau: float | None = parameter(
        10.0, "gradients of a kernel with multiplier w are scaled by min(1, tau / w) (ClipLR); never if not given",
        above=0.0, search=(1.0, 100.0), log=True,
    )  # fmt: skip
    sampler: Literal["conditional-poisson", "brewer", "systematic"] = parameter(
        "conditional-poisson", "how a fixed number of kernels is drawn with given inclusion probabilities"
    )


class Estimator(Weighed):
    """Base of the spectral estimators: kernels drawn with optimal probabilities, weighed by frozen multipliers."""

    paper: ClassVar[str] = PAPER
    Params: ClassVar[type] = EstimatorParams
