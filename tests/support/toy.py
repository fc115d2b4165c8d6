"""A model so small that every draw of its kernels can be enumerated, and the spectral paper's algorithms as printed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from helpers import CNN, method_of, small_task
from torch import Tensor, nn

from bench.api import Client, Cohort, Method, Selection, Streams
from bench.families.spectral import SpectralServer
from bench.models.base import Axes, Model

SIGMA = (3.0, 1.4, 1.1, 0.6, 0.25)
WEIGHT = "middle.weight"


class Toy(Model):
    """Three linear layers, of which the middle one, ``[6, 5]``, may be factored; double precision."""

    factorable = (WEIGHT,)

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.first, self.middle, self.last = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 3)
        for tensor in self.parameters():
            tensor.data = torch.from_numpy(rng.normal(size=tuple(tensor.shape)))
        u, v = (np.linalg.qr(rng.normal(size=(size, 5)))[0] for size in (6, 5))
        self.middle.weight.data = torch.from_numpy(u * np.array(SIGMA) @ v.T)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.middle(torch.tanh(self.first(inputs)))))

    def channels(self) -> dict[str, int]:
        return {}

    def axes(self) -> dict[str, Axes]:
        return {}

    def parts(self) -> list[tuple[str, ...]]:
        return [("first.",), ("middle.",), ("last.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        raise NotImplementedError


def toy(name: str, **parameters: Any) -> tuple[Any, SpectralServer]:
    """Return a method and its server of a toy model."""
    method = method_of(name, **parameters)
    server = method.setup(Toy(), small_task(CNN))
    assert isinstance(server, SpectralServer)
    return method, server


def draw(method: Method, server: SpectralServer, keeps: Sequence[float], seed: int = 0) -> list[Selection]:
    """Return one draw of a cohort whose clients hold 10, 20, 30, ... samples."""
    clients = tuple(Client(number, 10 * (number + 1), keep) for number, keep in enumerate(keeps))
    return method.select(server, Cohort(1, clients), Streams(seed, "selection", 1))


def sub_weight(method: Method, server: SpectralServer, selection: Selection) -> np.ndarray:
    """Return the effective weight of the toy's sub-model, ``[6, 5]``, read off its function column by column."""
    layer = method.extract(server, selection).get_submodule("middle")
    with torch.no_grad():
        columns = layer(torch.eye(5, dtype=torch.float64)) - layer(torch.zeros(1, 5, dtype=torch.float64))
    return columns.T.numpy()


def kernels_of(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return singular values ``[R]`` and the matrices ``u_i v_i^T`` ``[R, rows, columns]``, which have no sign."""
    u, s, v = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    return s, np.stack([np.outer(u[:, kernel], v[kernel]) for kernel in range(len(s))])


def algorithm_1(sigma: Sequence[float], size: int) -> np.ndarray:
    """Return the inclusion probabilities of Unbiased by the sweep of the spectral paper's Algorithm 1."""
    best, inclusion = math.inf, np.zeros(len(sigma))
    for t in range(size):
        tail = sum(sigma[t:])
        if not sigma[t] < tail / (size - t):
            continue
        pi = np.array([1.0 if i < t else (size - t) * value / tail for i, value in enumerate(sigma)])
        error = sum(value**2 * (1 / p - 1) for value, p in zip(sigma, pi, strict=True))
        if error < best:
            best, inclusion = error, pi
    return inclusion


def algorithm_2(sigma: Sequence[float], size: int, clients: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inclusion probabilities and multipliers of Collective by the double sweep of Algorithm 2."""
    units, root = len(sigma), math.sqrt(clients)
    inclusion = np.array([1.0 if i < size else 0.0 for i in range(units)])
    multipliers, best = inclusion.copy(), -sum(value**2 for value in sigma[:size])
    for t in range(size if clients > 1 else 0):
        for u in range(1, units - t + 1):
            some = sigma[t : t + u]
            b = root * sum(some) / ((size - t) * (clients - 1) + u)
            within = sigma[t] / root < b and (t == 0 or b <= sigma[t - 1] / root) and b < sigma[t + u - 1] * root
            value = -sum(s**2 for s in sigma[:t])
            value -= clients / (clients - 1) * sum(s * (s - b / root) for s in some)
            if within and value < best:
                best = value
                inclusion = np.array(
                    [1.0 if i < t else (s * root / b - 1) / (clients - 1) if i < t + u else 0.0
                     for i, s in enumerate(sigma)]
                )  # fmt: skip
                multipliers = np.array(
                    [1.0 if i < t else root * b / s if i < t + u else 0.0 for i, s in enumerate(sigma)]
                )
    return inclusion, multipliers


def conditional_poisson(inclusion: np.ndarray, size: int) -> dict[tuple[int, ...], float]:
    """Return the probability of each set under the law of largest entropy with these inclusion probabilities.

    The odds are found by iterative proportional fitting over all sets.
    """
    sets = list(itertools.combinations(range(len(inclusion)), size))
    members = np.array([[unit in kept for unit in range(len(inclusion))] for kept in sets])
    probabilities = np.array([float(all(inclusion[list(kept)] > 0)) for kept in sets])
    probabilities /= probabilities.sum()
    for _ in range(5000):
        for unit, pi in enumerate(inclusion):
            now = probabilities[members[:, unit]].sum()
            probabilities[members[:, unit]] *= pi / now if now > 0 else 1.0
            left = probabilities[~members[:, unit]].sum()
            probabilities[~members[:, unit]] *= (1 - pi) / left if left > 0 else 1.0
    np.testing.assert_allclose(probabilities @ members, inclusion, atol=1e-9)
    return dict(zip(sets, probabilities.tolist(), strict=True))


def successive_inclusion(weights: Sequence[float], size: int) -> np.ndarray:
    """Return the inclusion probabilities of drawing without replacement, by enumeration of all ordered draws."""
    inclusion = np.zeros(len(weights))
    for order in itertools.permutations(range(len(weights)), size):
        probability, left = 1.0, float(sum(weights))
        for unit in order:
            probability *= weights[unit] / left
            left -= weights[unit]
        inclusion[list(order)] += probability
    return inclusion
