"""Loss and accuracy of a model on the whole test set, or on all that clients hold out for validation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.numerics.precision import outputs_of, products_in

if TYPE_CHECKING:
    from bench.federation.federation import Federation


@dataclass(frozen=True)
class BatchScore:
    """Sum of the losses, correct answers and size of one batch; where asked for, (correct, size) of each class.

    The size is the number of samples, or of the answers that count where labels are sequences.
    """

    loss: float
    correct: int
    samples: int
    by_class: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Score:
    """Mean loss and accuracy (a fraction) over a test or validation set.

    ``class_acc`` is the accuracy on each class's samples, where it was asked for; nan where the class has none.
    """

    loss: float
    acc: float
    class_acc: tuple[float, ...] = ()


@torch.no_grad()
def score_batches(
    model: nn.Module, federation: Federation, batches: Iterable[int], by_class: bool = False
) -> list[BatchScore]:
    """Return the scores of some batches.

    Batches are fixed: batch i holds the samples from ``i * evaluation_batch`` on, in the data set's order, so that
    models that normalise by the statistics of the batch are compared on the same batches.
    """
    task, size = federation.task, federation.task.recipe.evaluation_batch
    model.eval()
    losses, correct, counted, classes = [], [], [], []
    for number in batches:
        inputs, labels = federation.evaluated_samples[number * size : (number + 1) * size]
        with products_in(task.recipe.precision):
            outputs = outputs_of(model, task.prepare(inputs), task.recipe.precision)
        losses.append(task.loss(outputs, labels))
        right = task.correct(outputs, labels)
        correct.append(right.sum())
        answers = None if task.padding is None else labels != task.padding
        counted.append(len(labels) if answers is None else answers.sum())
        if by_class:
            asked = labels if answers is None else labels[answers]
            classes.append(_by_class(labels[right], asked, federation.dataset.classes))
    # Read all at once: a GPU would be waited for at every batch.
    sizes = [number if isinstance(number, int) else int(number) for number in counted]
    return [
        BatchScore(loss * samples, int(right), samples, of_classes)
        for loss, right, samples, of_classes in zip(
            _numbers(losses), _numbers(correct), sizes, classes or [()] * len(sizes), strict=True
        )
    ]


def _by_class(right: Tensor, asked: Tensor, classes: int) -> tuple[tuple[int, int], ...]:
    counts = [torch.bincount(some, minlength=classes).tolist() for some in (right, asked)]
    return tuple(zip(*counts, strict=True))


def _numbers(scalars: list[Tensor]) -> list[float]:
    return torch.stack(scalars).tolist() if scalars else []


def batch_count(federation: Federation) -> int:
    """Return the number of batches, the last smaller one included."""
    return math.ceil(len(federation.evaluated) / federation.task.recipe.evaluation_batch)


def total_score(scores: Iterable[BatchScore]) -> Score:
    """Return mean loss and accuracy; the sum is exact, so that it does not depend on who scored which batch."""
    scores = list(scores)
    samples = sum(score.samples for score in scores)
    loss, correct = math.fsum(score.loss for score in scores), sum(score.correct for score in scores)
    of_classes = [
        sum(right for right, _ in parts) / size if (size := sum(count for _, count in parts)) else math.nan
        for parts in zip(*(score.by_class for score in scores), strict=True)
    ]
    return Score(loss / samples, correct / samples, tuple(of_classes))


def expected_acc(class_acc: Sequence[float], label_counts: Sequence[int]) -> float:
    """Return the accuracy to be expected on samples whose classes are as frequent as a client's.

    Args:
        class_acc: accuracy on each class, nan for a class that the test set lacks; it is left out.
        label_counts: the client's samples of each class.
    """
    pairs = [(acc, count) for acc, count in zip(class_acc, label_counts, strict=True) if count and not math.isnan(acc)]
    total = sum(count for _, count in pairs)
    return math.fsum(acc * count for acc, count in pairs) / total if total else math.nan
