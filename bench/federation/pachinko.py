"""Pachinko allocation: class shares that each client draws down a hierarchy, coarse classes first, then their own.

Source: S. Reddi et al., Adaptive Federated Optimization (ICLR 2021), appendix on CIFAR-100, and TensorFlow Federated's
CIFAR-100, which was made so; the method is that of W. Li and A. McCallum, Pachinko Allocation (ICML 2006).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.errors import BenchError
from bench.written import number_in, rounded

NAME = "pachinko"
FINE_ALPHA = 10.0
"""The concentration of the fine classes where none is written, TensorFlow Federated's."""

Shares = Callable[[int, np.ndarray], np.ndarray]
"""From a client's number and the samples that are left of each class to the client's class shares."""


def read_kind(text: str, least: float, largest: float) -> tuple[str, float]:
    """Return the kind of a partition and the concentration of its fine classes, which stands behind a colon.

    >>> read_kind("pachinko:2", 1e-100, 1e100), read_kind("lda", 1e-100, 1e100)
    (('pachinko', 2.0), ('lda', 10.0))

    Raises:
        BenchError: what stands behind the colon of "pachinko:" is no concentration.
    """
    kind, colon, number = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind != NAME or not colon:
        return text, FINE_ALPHA
    fine = number_in(number)
    if fine is None or not least <= fine <= largest:
        raise BenchError(
            f"partition {text!r}: {number!r} is no concentration of the fine classes; allowed behind 'pachinko:': a"
            f" number from {least:g} to {largest:g}, such as 'pachinko:2'"
        )
    return kind, fine


def written(kind: str, fine_alpha: float) -> str:
    """Return a kind as it is written: the concentration of its fine classes only where it is not the usual one."""
    fine_alpha = rounded(fine_alpha)
    return f"{kind}:{fine_alpha:.12g}" if kind == NAME and fine_alpha != FINE_ALPHA else kind


def shares_of(coarse: np.ndarray, clients: int, alpha: float, fine_alpha: float, rng: np.random.Generator) -> Shares:
    """Draw all clients' shares and return what gives them while classes run out.

    Each client draws a law over the coarse classes from a symmetric Dirichlet distribution, and one over the classes of
    each coarse class from another. A class that has run out is left out of its coarse class and the others of it are
    normalised, so that the coarse class keeps its share; a coarse class that has run out is left out in the same way.

    Args:
        coarse: the coarse class of each class, integers ``[classes]``.
        clients: number of clients.
        alpha: concentration per coarse class.
        fine_alpha: concentration per class within its coarse class.
        rng: the stream that all draws come from.
    """
    groups, group_of = np.unique(coarse, return_inverse=True)
    of_groups = _log_gammas(alpha, (clients, len(groups)), rng)
    of_classes = _log_gammas(fine_alpha, (clients, len(coarse)), rng)

    def shares(client: int, left: np.ndarray) -> np.ndarray:
        result = np.zeros(len(coarse))
        remaining = np.unique(group_of[left > 0])
        for group, share in zip(remaining, _normalised(of_groups[client, remaining]), strict=True):
            members = np.flatnonzero((group_of == group) & (left > 0))
            result[members] = share * _normalised(of_classes[client, members])
        return result / result.sum()

    return shares


def _log_gammas(alpha: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return logarithms of gamma variates, which normalised are Dirichlet: the smallest of them are no zeros so.

    Gamma(a) has the law of Gamma(a + 1) U^(1 / a) for a uniform U.
    """
    return np.log(rng.standard_gamma(alpha + 1, shape)) + np.log1p(-rng.random(shape)) / alpha


def _normalised(logarithms: np.ndarray) -> np.ndarray:
    shares = np.exp(logarithms - logarithms.max())
    normalised: np.ndarray = shares / shares.sum()
    return normalised


def hierarchy(labels: np.ndarray, coarse: np.ndarray | None) -> np.ndarray:
    """Return the coarse class of each class that is among the labels, in the order of the classes.

    Raises:
        BenchError: the data set has no coarse classes.
    """
    if coarse is None or not len(coarse):
        raise BenchError(
            f"partition: {NAME!r} needs coarse classes, and this data set has none; allowed for: 'cifar100', whose"
            " classes are of 20 kinds"
        )
    of_present: np.ndarray = np.asarray(coarse)[np.unique(labels)]
    return of_present


def convention(fine_alpha: float) -> str:
    """Return what alpha means, in words."""
    fine = "" if math.isnan(fine_alpha) else f" = {fine_alpha:g}"
    return (
        "q ~ Dir(alpha, ..., alpha) over the coarse classes of each client, and Dir(b, ..., b) over the classes of each"
        f" coarse class with b{fine}: concentration alpha per coarse class"
    )
