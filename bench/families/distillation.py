"""Learning the outputs of another network."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def distillation_loss(outputs: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mean cross entropy of outputs with what a teacher's outputs say, of both from logits.

    Its gradient is that of the paper's Kullback-Leibler divergence, which is smaller by the teacher's entropy.

    Args:
        outputs: ``[samples, classes]``, or ``[samples]`` where one logit tells two classes apart; of sequences
            ``[samples, length, classes]``, whose padding counts too, as no teacher says where it is.
        teacher: the same shape.
        temperature: what both are divided by.
    """
    outputs, teacher = outputs / temperature, teacher / temperature
    if outputs.ndim == 1:
        return functional.binary_cross_entropy_with_logits(outputs, teacher.sigmoid())
    classes = outputs.shape[-1]
    return functional.cross_entropy(outputs.reshape(-1, classes), teacher.reshape(-1, classes).softmax(1))


def divergence(outputs: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mean Kullback-Leibler divergence of what outputs say from what a teacher's say, ``KL(teacher||own)``.

    That is :func:`distillation_loss` without the teacher's entropy. Gradients reach the teacher too unless it is
    detached.

    Args:
        outputs, teacher, temperature: as there.
    """
    return distillation_loss(outputs, teacher, temperature) - distillation_loss(teacher, teacher, temperature)
