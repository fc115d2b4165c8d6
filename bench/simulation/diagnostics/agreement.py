"""Does a method move the server where FedAvg would have moved it?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from bench.api import Client, copy_of
from bench.families.averaging import CoverageMean
from bench.families.spectral_errors import exact
from bench.training.engine import Engine
from bench.training.local import Job


def values_of(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of a model's parameters."""
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def fedavg_parameters(
    model: nn.Module, clients: Sequence[Client], round_number: int, engine: Engine
) -> dict[str, Tensor]:
    """Return what FedAvg would make of a model in one round with these clients; the model is not changed.

    Each client trains the whole model on the samples and in the order it also has in the method's own round.

    Raises:
        Diverged: the loss of a client is not finite.
    """
    means = {name: CoverageMean(tensor) for name, tensor in values_of(model).items()}
    jobs: Iterable[Job] = (Job(client.number, round_number, copy_of(model), reference=True) for client in clients)
    for client, trained in zip(clients, engine.train(jobs), strict=True):
        for name, values in trained.parameters.items():
            means[name].add(values, weight=client.samples)
    return {name: mean.result() for name, mean in means.items()}


def update_cosine(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], reference: Mapping[str, Tensor]
) -> float | None:
    """Return the cosine between two updates of the same parameters, in double precision.

    None where one of them is zero or not finite: it has no direction.
    """
    dot = own = other = 0.0
    for name, start in before.items():
        ours, theirs = exact(after[name] - start), exact(reference[name] - start)
        dot += float(torch.sum(ours * theirs))
        own += float(torch.sum(ours * ours))
        other += float(torch.sum(theirs * theirs))
    norms = math.sqrt(own * other)
    return dot / norms if norms > 0 and math.isfinite(norms) else None


def layer_cosines(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], reference: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return the cosine of each parameter's update alone, where it has one."""
    cosines = {name: update_cosine({name: start}, after, reference) for name, start in before.items()}
    return {name: cosine for name, cosine in cosines.items() if cosine is not None}
