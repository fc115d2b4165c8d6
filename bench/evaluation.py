"""Loss and accuracy of a model on the whole test set, or on all that clients hold out for validation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.precision import outputs_of, products_in

if TYPE_CHECKING:
    from bench.federation import Federation


@dataclass(frozen=True)
class BatchScore:
    """Sum of the losses, correct answers and size of one batch."""

    loss: float
    correct: int
    samples: int


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy (a fraction) over a test or validation set."""

    loss: float
    acc: float


@torch.no_grad()
def score_batches(model: nn.Module, federation: Federation, batches: Iterable[int]) -> list[BatchScore]:
    """Return the scores of some batches.

    Batches are fixed: batch i holds the samples from ``i * evaluation_batch`` on, in the data set's order, so that
    models that normalise by the statistics of the batch are compared on the same batches.
    """
    task, size = federation.task, federation.task.recipe.evaluation_batch
    model.eval()
    losses, correct, sizes = [], [], []
    for number in batches:
        inputs, labels = federation.evaluated_samples[number * size : (number + 1) * size]
        with products_in(task.recipe.precision):
            outputs = outputs_of(model, task.prepare(inputs), task.recipe.precision)
        losses.append(task.loss(outputs, labels))
        correct.append(task.correct(outputs, labels))
        sizes.append(len(labels))
    # Read all at once: a GPU would be waited for at every batch.
    return [
        BatchScore(loss * samples, int(right), samples)
        for loss, right, samples in zip(_numbers(losses), _numbers(correct), sizes, strict=True)
    ]


def _numbers(scalars: list[Tensor]) -> list[float]:
    return torch.stack(scalars).tolist() if scalars else []


def batch_count(federation: Federation) -> int:
    """Return the number of batches, the last smaller one included."""
    return math.ceil(len(federation.evaluated) / federation.task.recipe.evaluation_batch)


def total_score(scores: Iterable[BatchScore]) -> Score:
    """Return mean loss and accuracy; the sum is exact, so that it does not depend on who scored which batch."""
    scores = list(scores)
    samples = sum(score.samples for score in scores)
    return Score(math.fsum(score.loss for score in scores) / samples, sum(s.correct for s in scores) / samples)
