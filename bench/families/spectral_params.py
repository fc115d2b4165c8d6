"""Parameters that every spectral method has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.api import parameter
from bench.families.one_factor import TRAIN


@dataclass(frozen=True)
class SpectralParams:
    """How factors are trained and averaged; the defaults are those of PriSM's paper.

    ``sigma``: "frozen" keeps the singular values out of training (PriSM, equation 3); "absorbed" puts their square
    roots into both factors, where they are trained with them (the TMLR version and the spectral estimators).
    ``aggregate``: both papers average u and v each for itself, and the product of the means is not the mean of the
    products; "product" averages the products, kernel by kernel, and lets the next decomposition factor them again.
    ``train``: with one factor fixed that error vanishes, at the price of the directions that it cannot leave.
    ``bias_decay``: PriSM's paper does not say whether its weight decay acts on the bias behind the factors; its code
    keeps it in the factors' group, which has none.
    """

    sigma: Literal["frozen", "absorbed"] = parameter("frozen", "singular values frozen, or absorbed in both factors")
    aggregate: Literal["factors", "product"] = parameter(
        "factors", "u and v of a kernel are averaged each for itself, or their products are"
    )
    weights: Literal["uniform", "samples"] = parameter("uniform", "clients count alike, or by their samples")
    frobenius_decay: float | None = parameter(
        None,
        "decay of the product of the factors (PriSM, equation 4); the task's weight decay if not given",
        low=0.0,
        search=(1e-5, 1e-2),
        log=True,
        alias="lambda",
    )
    train: Literal["both", "u", "v", "alternate"] = parameter("both", TRAIN)
    bias_decay: bool = parameter(
        False, "the bias of a factored convolution is decayed as the whole layers are, or like the factors not at all"
    )
    client_momentum: Literal["reset", "carry"] = parameter(
        "reset", "clients start each round without momentum, or with the server's average of the last buffers"
    )
