"""How far sub-models are from the layer they stand for, and the mean of factors from the mean of products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.families.averaging import RowMean
from bench.families.spectral_averaging import ProductMean
from bench.models.low_rank import Factors


@dataclass(frozen=True)
class LayerErrors:
    """Squared Frobenius norms of one layer in one round.

    Attributes:
        weight_norm2: of the layer W before the round.
        submodel_error: of ``W - What_c``, mean over the cohort, ``What_c`` as the client gets it.
        cohort_error: of ``W - mean_c What_c``.
        aggregation_error: of (mean of products - product of means): what is lost by averaging u and v each for itself.
        update_norm2: of (mean of products - W): the update without that loss.
    """

    weight_norm2: float
    submodel_error: float
    cohort_error: float
    aggregation_error: float
    update_norm2: float


@torch.no_grad()
def layer_errors(
    base: Factors,
    kept: Sequence[Tensor],
    sent: Sequence[Factors],
    trained: Sequence[tuple[Tensor | None, Tensor | None]],
    weights: Sequence[float],
) -> LayerErrors:
    """Measure one layer in one round, in double precision: the aggregation error is a difference of near equals.

    Args:
        base: all kernels as the server has them before the round.
        kept: each client's kernels, int64 ``[rank]``.
        sent: each client's factors before training.
        trained: the u and v each client sent back; None for one that was fixed.
        weights: each client's weight in the averages.
    """
    base = _double(base)
    weight = base.product()
    mean_sent, submodel_error = torch.zeros_like(weight), 0.0
    for factors in sent:
        approximation = _double(factors).product()
        submodel_error += _squared_norm(weight - approximation) / len(sent)
        mean_sent += approximation / len(sent)
    mean_u, mean_v, products = RowMean(base.u.mT), RowMean(base.v), ProductMean(base)
    for kernels, (u, v), client_weight in zip(kept, trained, weights, strict=True):
        kernels = kernels.to(weight.device)
        if u is not None:
            mean_u.add(u.mT, kernels, client_weight)
        if v is not None:
            mean_v.add(v, kernels, client_weight)
        products.add(u, v, kernels, client_weight)
    mean_of_products = products.result()
    product_of_means = Factors(mean_u.result().mT, mean_v.result(), base.scale).product()
    return LayerErrors(
        weight_norm2=_squared_norm(weight),
        submodel_error=submodel_error,
        cohort_error=_squared_norm(weight - mean_sent),
        aggregation_error=_squared_norm(mean_of_products - product_of_means),
        update_norm2=_squared_norm(mean_of_products - weight),
    )


def _double(factors: Factors) -> Factors:
    return Factors(exact(factors.u), exact(factors.v), None if factors.scale is None else exact(factors.scale))


def exact(tensor: Tensor) -> Tensor:
    """Return a tensor in double precision, on the CPU where its device has none (Apple's)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _squared_norm(matrix: Tensor) -> float:
    return float(matrix.square().sum())
