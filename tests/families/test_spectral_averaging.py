"""The spectral family's aggregation, refresh and carried momentum, against loops over kernels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from aggregation import KEEPS, STREAMS, assert_close, entry_means, kernel_means, random_tensor, setup, trained
from helpers import CNN, TASKS, cohort_of, selections_of, small_task, update_of, values_of
from torch import Tensor

from bench.api import Selection, Server, Update
from bench.models.base import Model, matrix


@pytest.mark.parametrize("sigma", ["frozen", "absorbed"])
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(("method_name", "tail"), [("prism", "keep"), ("orthdrop", "keep"), ("orthdrop", "drop")])
def test_spectral_aggregation_averages_each_kernels_vectors(name: str, sigma: str, method_name: str, tail: str) -> None:
    own = {"tail": tail} if method_name == "orthdrop" else {}
    method, server, before = setup(method_name, small_task(name), sigma=sigma, **own)
    updates = trained(method, server)
    expected = kernel_means(server, updates, sigma, [1, 1, 1], only_held=tail == "drop")
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for weight, value in expected.items():
        assert_close(after[weight], value, 2e-5)
        assert not torch.allclose(after[weight], before[weight], atol=1e-3)
    for parameter in set(before) - set(expected):
        stacked = np.stack([update.parameters[parameter].double().numpy() for update in updates])
        assert_close(after[parameter], stacked.mean(0))


@pytest.mark.parametrize("name", TASKS)
def test_kernels_that_nobody_held_stay_exactly_in_place(name: str) -> None:
    """Where all others are zero the unheld kernels are all that is left of the server's weight."""
    method, server, _ = setup("prism", small_task(name))
    updates = []
    for update in trained(method, server, (0.3, 0.3), 0.0):
        zeros = {key: torch.zeros_like(value) for key, value in update.parameters.items()}
        updates.append(replace(update, parameters=zeros))
    spectra = server.spectra  # type: ignore[attr-defined]
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for weight, spectrum in spectra.items():
        held = set().union(*(update.selection.indices[weight].tolist() for update in updates))
        left = [kernel for kernel in range(spectrum.kernels) if kernel not in held]
        expected = (spectrum.u[:, left] * spectrum.s[left]) @ spectrum.v[left]
        torch.testing.assert_close(matrix(after[weight]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_a_dropped_tail_leaves_exactly_the_rank_of_the_largest_client(name: str) -> None:
    method, server, _ = setup("orthdrop", small_task(name), tail="drop")
    server = method.aggregate(server, trained(method, server, (0.3, 0.6)), STREAMS)
    assert isinstance(server.model, Model)
    for weight in server.model.factorable:
        tensor = dict(server.model.named_parameters())[weight].detach().double()
        kernels = min(matrix(tensor).shape)
        assert int(torch.linalg.matrix_rank(matrix(tensor), rtol=1e-5)) == -(-6 * kernels // 10)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("sigma", ["frozen", "absorbed"])
def test_the_spectrum_is_refreshed_after_each_round(name: str, sigma: str) -> None:
    method, server, _ = setup("prism", small_task(name), sigma=sigma)
    old = server.spectra  # type: ignore[attr-defined]
    server = method.aggregate(server, trained(method, server), STREAMS)
    for weight, spectrum in server.spectra.items():  # type: ignore[attr-defined]
        tensor = dict(server.model.named_parameters())[weight].detach()
        identity = torch.eye(spectrum.kernels)
        torch.testing.assert_close(spectrum.u.T @ spectrum.u, identity, rtol=0, atol=1e-5)
        torch.testing.assert_close(spectrum.v @ spectrum.v.T, identity, rtol=0, atol=1e-5)
        torch.testing.assert_close((spectrum.u * spectrum.s) @ spectrum.v, matrix(tensor), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(spectrum.s, torch.linalg.svdvals(matrix(tensor)), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(spectrum.s, old[weight].s)


@pytest.mark.parametrize("sigma", ["frozen", "absorbed"])
def test_carried_momentum_is_the_mean_over_the_holders(sigma: str) -> None:
    method, server, _ = setup("prism", small_task(CNN), sigma=sigma, client_momentum="carry")
    selections = selections_of(method, server, cohort_of(*KEEPS))
    assert method.initial_momentum(server, selections[0]) is None
    for round_number in (1, 2):
        shapes = [method.extract(server, selection).named_parameters() for selection in selections]
        updates = []
        for place, (selection, named) in enumerate(zip(selections, shapes, strict=True)):
            buffers = {key: random_tensor(*value.shape, seed=10 * round_number + place) for key, value in named}
            updates.append(replace(update_of(method, server, selection), momentum=buffers))
        before = {key: value.clone() for key, value in server.memory.items()}
        server = method.aggregate(server, updates, STREAMS)
        _assert_momentum(server, before, updates, selections)
        given = method.initial_momentum(server, selections[0])
        assert given is not None
        kept = selections[0].indices["conv2.weight"]
        assert torch.equal(given["conv2.weight_u"], server.memory["momentum/conv2.weight_u"][:, kept])
        assert torch.equal(given["conv2.weight_v"], server.memory["momentum/conv2.weight_v"][kept])
        assert torch.equal(given["conv1.bias"], server.memory["momentum/conv1.bias"])


def _assert_momentum(
    server: Server, before: dict[str, Tensor], updates: list[Update], selections: list[Selection]
) -> None:
    assert {"momentum/conv2.weight_u", "momentum/conv2.weight_v", "momentum/conv1.weight"} <= set(server.memory)
    for key, value in server.memory.items():
        name = key.removeprefix("momentum/")
        base = before.get(key, torch.zeros_like(value))
        blocks = []
        for update, selection in zip(updates, selections, strict=True):
            places = [list(range(length)) for length in value.shape]
            if name.endswith(("_u", "_v")):
                places[1 if name.endswith("_u") else 0] = selection.indices[name[:-2]].tolist()
            blocks.append((update.momentum[name], tuple(places)))
        assert_close(value, entry_means(base, blocks, (1, 1, 1)), 1e-6)
