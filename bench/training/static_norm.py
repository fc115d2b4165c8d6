"""Static batch normalisation: evaluated with the statistics of one pass over the clients' training samples.

HeteroFL's clients normalise by the statistics of their batches and track none; after training the statistics of the
server's model are taken once, and used in evaluation (Diao et al., ICLR 2021, section 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.api import copy_of
from bench.families.static_statistics import has_statistics, with_statistics
from bench.models.normalisation import watched
from bench.numerics.precision import outputs_of, products_in

if TYPE_CHECKING:
    from bench.federation.federation import Federation


def statistics_batches(federation: Federation) -> int:
    """Return the number of batches of the pass: of the size of the evaluation's, the last smaller one included."""
    return math.ceil(len(federation.training_samples) / federation.task.recipe.evaluation_batch)


@torch.no_grad()
def batch_statistics(model: nn.Module, federation: Federation, batches: Iterable[int]) -> list[Tensor]:
    """Return mean and unbiased variance of what reaches each normalised channel, for each of some batches.

    Samples are taken in the data set's order and without augmentation. In a batch every layer normalises by that
    batch's statistics, as in training, so that one pass is enough for all layers.

    Returns:
        For each batch float32 ``[2, channels of all layers]``, on the CPU.
    """
    task, size = federation.task, federation.task.recipe.evaluation_batch
    model = copy_of(model).eval()
    found = []
    with watched(model) as statistics:
        for number in batches:
            inputs, _ = federation.training_samples[number * size : (number + 1) * size]
            with products_in(task.recipe.precision):
                outputs_of(model, task.prepare(inputs), task.recipe.precision)
            found.append(statistics().cpu())
    return found


def calibrated(model: nn.Module, federation: Federation) -> nn.Module:
    """Return a copy of a model with the statistics of the whole pass, which this process makes."""
    if not has_statistics(model):
        return model
    return with_statistics(model, batch_statistics(model, federation, range(statistics_batches(federation))))
