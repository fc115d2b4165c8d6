"""Designs: the laws by which the principal kernels of a layer are drawn for a client.

A design knows how to draw, with which probability each kernel is drawn, and by what a drawn kernel is multiplied. One
design serves all clients that get as many kernels of the same layer; what is costly to find is found once, when first
asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np

from bench.errors import BenchError, choices
from bench.spectral.conditional_poisson import ConditionalPoisson
from bench.spectral.inclusion import horvitz_thompson, leading_inclusion, uniform_inclusion
from bench.spectral.sampling import brewer_sample, sequential_sample, systematic_sample
from bench.spectral.sequential import approximate_sequential_inclusion, sequential_inclusion

SAMPLERS = ("conditional-poisson", "brewer", "systematic")
"""How a set of given inclusion probabilities may be drawn."""


class Design(ABC):
    """The law by which the kernels of one layer are drawn for one client.

    Attributes:
        size: number of kernels drawn.
    """

    size: int

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the drawn kernels, int64, ascending."""

    @property
    @abstractmethod
    def inclusion(self) -> np.ndarray | None:
        """The probability with which each kernel is drawn, float64 ``[units]``; None where it is not known."""

    @property
    def multipliers(self) -> np.ndarray | None:
        """The factor by which each kernel is multiplied if drawn, float64 ``[units]``; None for ones."""
        return None


class Leading(Design):
    """The first ``size`` of ``units`` kernels, always."""

    def __init__(self, units: int, size: int) -> None:
        self._inclusion = leading_inclusion(units, size)
        self.size = size

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return np.arange(self.size)

    @property
    def inclusion(self) -> np.ndarray:
        return self._inclusion


class Uniform(Design):
    """Any ``size`` of ``units`` kernels, each set as likely as any other.

    Args:
        units, size: how many kernels there are, and how many are drawn.
        reciprocal: True to multiply each kernel by one over its inclusion probability.
    """

    def __init__(self, units: int, size: int, reciprocal: bool = False) -> None:
        self._inclusion = uniform_inclusion(units, size)
        self._reciprocal = reciprocal
        self.size = size

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return np.sort(rng.choice(len(self._inclusion), self.size, replace=False, shuffle=False))

    @property
    def inclusion(self) -> np.ndarray:
        return self._inclusion

    @property
    def multipliers(self) -> np.ndarray | None:
        return horvitz_thompson(self._inclusion) if self._reciprocal else None


class Sequential(Design):
    """One kernel after the other, each with probability proportional to its weight among those not yet drawn.

    Args:
        log_weights: natural logarithms of the weights, ``[units]``; -inf for weight zero.
        size: number of kernels drawn, 1 to ``units``.
        reciprocal: True to multiply each kernel by one over its inclusion probability.
        exact: False for the usual approximation of that probability in the multipliers.
    """

    def __init__(self, log_weights: np.ndarray, size: int, reciprocal: bool = False, exact: bool = True) -> None:
        self._log_weights = log_weights
        self.size = size
        self._reciprocal, self._exact = reciprocal, exact

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return sequential_sample(self._log_weights, self.size, rng)

    @cached_property
    def inclusion(self) -> np.ndarray:
        return sequential_inclusion(self._log_weights, self.size)

    @cached_property
    def multipliers(self) -> np.ndarray | None:
        if not self._reciprocal:
            return None
        if self._exact:
            return horvitz_thompson(self.inclusion)
        return horvitz_thompson(approximate_sequential_inclusion(self._log_weights, self.size))


class FixedSize(Design):
    """A set of fixed size with given inclusion probabilities.

    Args:
        inclusion: probability of each kernel, ``[units]``, with a whole number as sum: the size.
        sampler: one of :data:`SAMPLERS`: the law of largest entropy, Brewer's method, or equal steps in random order.
        multipliers: factor of each kernel if drawn, ``[units]``; None for ones.

    Raises:
        BenchError: there is no such sampler.
    """

    def __init__(
        self, inclusion: np.ndarray, sampler: str = SAMPLERS[0], multipliers: np.ndarray | None = None
    ) -> None:
        if sampler not in SAMPLERS:
            raise BenchError(f"there is no sampler {sampler!r}; {choices(sampler, SAMPLERS)}")
        self.size = round(float(inclusion.sum()))
        self._inclusion = inclusion
        self._sampler = sampler
        self._multipliers = multipliers

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return self._sample(rng)

    @cached_property
    def _sample(self) -> Callable[[np.random.Generator], np.ndarray]:
        if self._sampler == "conditional-poisson":
            return ConditionalPoisson(self._inclusion).draw
        sample = brewer_sample if self._sampler == "brewer" else systematic_sample
        return lambda rng: sample(self._inclusion, rng)

    @property
    def inclusion(self) -> np.ndarray:
        return self._inclusion

    @property
    def multipliers(self) -> np.ndarray | None:
        return self._multipliers


class Chosen(Design):
    """What a function chooses, such as a plugin's; with which probabilities is not known.

    Args:
        choose: called with the spectrum, the number of kernels and the client's stream.
        sigma: singular values, descending, ``[units]``.
        size: number of kernels a client gets, 1 to ``units``.
    """

    def __init__(
        self, choose: Callable[[np.ndarray, int, np.random.Generator], np.ndarray], sigma: np.ndarray, size: int
    ) -> None:
        self._choose = choose
        self._sigma = sigma
        self.size = size

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        return self._choose(self._sigma, self.size, rng)

    @property
    def inclusion(self) -> None:
        return None
