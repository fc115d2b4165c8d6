"""What the tests of aggregation share: updates of clients that moved at random, and means taken entry by entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from helpers import cohort_of, initial, method_of, selections_of, update_of, values_of
from torch import Tensor

from bench.api import Method, Server, Streams, Update
from bench.tasks.base import Task

KEEPS = (0.3, 0.75, 0.5)
STREAMS = Streams(3, "aggregation", 1)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def entry_means(
    base: Tensor, blocks: Sequence[tuple[Tensor, tuple[Sequence[int], ...]]], weights: Sequence[float]
) -> np.ndarray:
    """Return ``sum a_c theta_c / sum a_c`` for each entry by a loop, the base where no client holds the entry.

    Args:
        base: the server's tensor.
        blocks: for each client its values and, for each dimension, the positions they have in the base.
        weights: the clients' weights a_c.
    """
    means = base.double().numpy().copy()
    held: list[dict[tuple[int, ...], float]] = []
    for values, places in blocks:
        array = values.double().numpy()
        indices = np.array(np.meshgrid(*places, indexing="ij")).reshape(len(places), -1).T
        held.append({tuple(where): float(value) for where, value in zip(indices, array.flatten(), strict=True)})
    for where in np.ndindex(*base.shape):
        holders = [(weight, entries[where]) for weight, entries in zip(weights, held, strict=True) if where in entries]
        if holders:
            means[where] = sum(weight * value for weight, value in holders) / sum(weight for weight, _ in holders)
    return means


def assert_close(tensor: Tensor, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(tensor.double().numpy(), expected, rtol=tolerance, atol=tolerance)


def setup(name: str, task: Task, **parameters: Any) -> tuple[Method, Server, dict[str, Tensor]]:
    method = method_of(name, **parameters)
    server = method.setup(initial(task), task)
    return method, server, values_of(server.model)


def trained(method: Method, server: Server, keeps: tuple[float, ...] = KEEPS, noise: float = 0.1) -> list[Update]:
    selections = selections_of(method, server, cohort_of(*keeps))
    return [update_of(method, server, selection, noise) for selection in selections]
