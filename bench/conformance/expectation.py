"""The check of unbiasedness, by Monte Carlo."""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor, nn

from bench.conformance.outcome import Failure, Undefined
from bench.conformance.subject import Stage, Subject
from bench.models.base import matrix
from bench.models.factorise import low_rank_layers

KEEP, CLIENTS, DRAWS = 0.25, 2, 100
RISK = 1e-4
"""Probability that an unbiased method is found biased, for all entries of a layer together."""
ROUNDING = 1e-5


def mean_is_the_full_model(subject: Subject) -> None:
    """The mean of clients' effective weights over 100 cohorts is the server's, for methods that claim it.

    The effective weight of a low-rank layer is ``U diag(scale) V``. A cohort's mean is one observation, so that
    clients of a cohort may depend on each other. Entry by entry the distance of the mean from the server's weight is
    compared with its standard error, by Student's law with a bound for as many comparisons as there are entries.
    """
    stage = subject.stage()
    if not stage.method.unbiased:
        raise Undefined("it does not claim to be unbiased (unbiased is False)")
    first = _cohort_mean(stage, 1)
    if not first:
        raise Failure(
            "it claims to be unbiased and its sub-models have no low-rank layers",
            "layers whose effective weight U diag(scale) V can be averaged",
            "make sub-models of the layers in bench.models.low_rank, or leave unbiased False",
        )
    # Taken from the first observation, the sums of an entry that never varies are exactly zero.
    totals = {name: torch.zeros_like(weight) for name, weight in first.items()}
    squares = {name: torch.zeros_like(weight) for name, weight in first.items()}
    for number in range(2, DRAWS + 1):
        for name, weight in _cohort_mean(stage, number).items():
            totals[name] += weight - first[name]
            squares[name] += (weight - first[name]) ** 2
    weights = dict(stage.server.model.named_parameters())
    for name, start in first.items():
        expected = matrix(weights[name]).detach().double()
        size = float(expected.abs().max())
        _compare(name, totals[name] / DRAWS, squares[name] / DRAWS, expected - start, size)


def _cohort_mean(stage: Stage, number: int) -> dict[str, Tensor]:
    """Return the mean effective weights of one cohort's sub-models."""
    submodels = [
        stage.method.extract(stage.server, selection)
        for selection in stage.select(*[KEEP] * CLIENTS, round_number=number)
    ]
    effective = [_effective(submodel) for submodel in submodels]
    return {name: torch.stack([weights[name] for weights in effective]).mean(0) for name in effective[0]}


@torch.no_grad()
def _effective(submodel: nn.Module) -> dict[str, Tensor]:
    return {
        f"{layer}.{weight}": module.factors(weight).product().double()
        for layer, module in low_rank_layers(submodel).items()
        for weight in module.factored_weights()
    }


def _compare(name: str, mean: Tensor, mean_square: Tensor, expected: Tensor, size: float) -> None:
    """Compare the mean of a layer's entries with what it should be; ``size`` is that of the layer's largest entry."""
    error = ((mean_square - mean**2).clamp(min=0) / (DRAWS - 1)).sqrt()
    bound = float(stats.t.isf(RISK / (2 * mean.numel()), DRAWS - 1))
    distance = (mean - expected).abs()
    beyond = distance > bound * error + ROUNDING * size
    hint = "weigh each kernel by the inverse of the probability with which it is drawn, or leave unbiased False"
    never = int((beyond & (mean_square == 0)).sum())
    if never:
        raise Failure(
            f"over {DRAWS} cohorts the weight of {name!r} is the same in each, and not the server's, in {never:,} of "
            f"{mean.numel():,} entries: no draw reached what is missing there",
            "that every kernel is drawn with some probability",
            hint,
        )
    if bool(beyond.any()):
        worst = float((distance / error)[beyond].max())
        raise Failure(
            f"over {DRAWS} cohorts the mean weight of {name!r} is {worst:.1f} standard errors from the server's in an "
            f"entry, and beyond the bound in {int(beyond.sum()):,} of {mean.numel():,}",
            f"at most {bound:.1f} in every entry",
            hint,
        )
