"""What the tests of aggregation share: updates of clients that moved at random, and means taken entry by entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from helpers import cohort_of, initial, method_of, selections_of, update_of, values_of
from torch import Tensor

from bench.api import Method, Server, Streams, Update
from bench.families.spectral import SpectralServer
from bench.models.base import Model, matrix
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


def kernel_means(
    server: Server,
    updates: Iterable[Update],
    sigma: str,
    weights: Sequence[float],
    *,
    products: bool = False,
    only_held: bool = False,
) -> dict[str, np.ndarray]:
    """Return the new weights of the factored layers by a loop over kernels and clients.

    Args:
        server: before the round.
        updates: what the clients sent.
        sigma: "frozen" or "absorbed".
        weights: the clients' weights.
        products: ``sum_i mean_c(s_i u_i v_i^T)`` and not ``sum_i s_i mean_c(u_i) mean_c(v_i)^T``.
        only_held: leave out the kernels that nobody held.
    """
    assert isinstance(server, SpectralServer) and isinstance(server.model, Model)
    named, updates = dict(server.model.named_parameters()), list(updates)
    expected = {}
    for name in server.model.factorable:
        # The method's own decomposition: singular vectors are defined only up to their sign.
        spectrum = server.spectra[name]
        all_u, s, all_v = (part.double().numpy() for part in (spectrum.u, spectrum.s, spectrum.v))
        np.testing.assert_allclose(all_u * s @ all_v, matrix(named[name]).detach().numpy(), atol=1e-5)
        total = np.zeros((all_u.shape[0], all_v.shape[1]))
        for kernel in range(len(s)):
            outer = 1.0 if sigma == "absorbed" else s[kernel]
            us, vs, holders = [], [], []
            for update, weight in zip(updates, weights, strict=True):
                kept = update.selection.indices[name].tolist()
                if kernel in kept:
                    us.append(update.parameters[f"{name}_u"][:, kept.index(kernel)].double().numpy())
                    vs.append(update.parameters[f"{name}_v"][kept.index(kernel)].double().numpy())
                    holders.append(weight)
            if us and products:
                total += outer * np.average([np.outer(u, v) for u, v in zip(us, vs, strict=True)], 0, holders)
            elif us:
                total += outer * np.outer(np.average(us, 0, holders), np.average(vs, 0, holders))
            elif not only_held:
                total += s[kernel] * np.outer(all_u[:, kernel], all_v[kernel])
        expected[name] = total.reshape(named[name].shape)
    return expected


def setup(name: str, task: Task, **parameters: Any) -> tuple[Method, SpectralServer, dict[str, Tensor]]:
    method = method_of(name, **parameters)
    server = method.setup(initial(task), task)
    return method, server, values_of(server.model)


def trained(method: Method, server: Server, keeps: tuple[float, ...] = KEEPS, noise: float = 0.1) -> list[Update]:
    selections = selections_of(method, server, cohort_of(*keeps))
    return [update_of(method, server, selection, noise) for selection in selections]
