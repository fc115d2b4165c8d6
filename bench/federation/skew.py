"""How unlike the clients of a partition are, in their classes: what a concentration gave, whatever it asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data.dataset import answers
from bench.federation.partition import Partition


@dataclass(frozen=True)
class Skew:
    """The realised skew of a partition; every client counts alike.

    Attributes:
        classes_per_client: number of classes a client holds, mean over the clients.
        fewest, most: the same of the clients with the fewest and the most classes.
        divergence_bits: mean over the clients of the Kullback-Leibler divergence of the client's class shares from
            those of the training split, in bits: 0 where they are the same, log2(K) for one of K classes of equal size.
        classes: number of classes in the training split.
    """

    classes_per_client: float
    fewest: int
    most: int
    divergence_bits: float
    classes: int

    def __str__(self) -> str:
        """Return the two numbers in words."""
        return (
            f"{self.classes_per_client:.3g} of {self.classes} classes a client ({self.fewest} to {self.most}), "
            f"{self.divergence_bits:.3g} bits from the prior"
        )


def skew_of(partition: Partition, labels: np.ndarray, padding: int | None = None) -> Skew:
    """Return the realised skew of a partition.

    Args:
        partition: the clients' samples.
        labels: class numbers of the training split that was partitioned, integers ``[samples]`` or, of sequences,
            ``[samples, length]``, whose every place counts alike.
        padding: the label that is no answer, see :attr:`bench.tasks.base.Task.padding`.
    """
    held_labels = answers(labels, padding)
    prior = np.bincount(held_labels) / len(held_labels)
    counts = partition.counts(labels, len(prior), padding)
    held = (counts > 0).sum(axis=1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # A class that a client holds is in the training split: no logarithm of a ratio is infinite.
    ratios = np.divide(shares, prior, out=np.ones(shares.shape), where=shares > 0)
    bits = (shares * np.log2(ratios)).sum(axis=1)
    mean_bits = max(float(bits.mean()), 0.0)
    return Skew(float(held.mean()), int(held.min()), int(held.max()), mean_bits, int((prior > 0).sum()))
