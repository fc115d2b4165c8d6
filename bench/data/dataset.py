"""What every data source delivers: plain arrays, resident in memory or memory-mapped from the cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """One half of a data set.

    Attributes:
        inputs: images as uint8 ``[samples, channels, height, width]`` or token ids as int16 ``[samples, length]``.
        labels: class numbers as int64 ``[samples]``, or ``[samples, length]`` where each place of a sample has one.
        users: index of the natural user of each sample as int32 ``[samples]``; None where the set has none.
    """

    inputs: np.ndarray
    labels: np.ndarray
    users: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)


def answers(labels: np.ndarray, padding: int | None) -> np.ndarray:
    """Return the labels that count, int64 ``[answers]``.

    Args:
        labels: of some samples.
        padding: the label that is no answer; None where each sample has one that counts.
    """
    counted: np.ndarray = labels if padding is None else labels[labels != padding]
    return counted


@dataclass(frozen=True)
class Statistics:
    """The pixels of a training split's images, with values in [0, 1]: one number a channel.

    Attributes:
        mean: their mean.
        deviation: their standard deviation, at least one grey level (1 / 255), so that a channel of one colour can be
            divided by it.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True)
class Dataset:
    """A training and a test split with what a result must say of them.

    Attributes:
        name: the source's name, for example "cifar10".
        title: what a figure calls it, for example "CIFAR-10" or "digits by NIST writer"; stand-ins say "stand-in data".
        train: the training split, from which the clients' data are taken.
        test: the whole test split.
        classes: number of classes of the task (62 for FEMNIST even where only digits are present).
        stand_in: True where the samples were generated and not measured.
        fingerprint: SHA-256 of the arrays' bytes (hexadecimal), part of the identity of a result.
        class_names: what the classes are called, in the order of their numbers; empty where nobody said.
        statistics: of the training images, where they were computed when these were stored; else None.
        coarse: the coarse class that each class belongs to, in the order of their numbers; empty where there are none.
    """

    name: str
    title: str
    train: Split
    test: Split
    classes: int
    stand_in: bool
    fingerprint: str
    class_names: tuple[str, ...] = ()
    statistics: Statistics | None = None
    coarse: tuple[int, ...] = ()
