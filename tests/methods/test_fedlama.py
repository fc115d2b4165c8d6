"""FedLAMA's formulae against loops and enumeration."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
from critical import CNN_LAYERS, prefixes
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    cohort_of,
    initial,
    method_of,
    selections_of,
    small_task,
    values_of,
)

from bench.api import Client, Method, Server, Update
from bench.families.layerwise import Piece, SpreadMean, kernels_of, layers_of, less_critical


def test_less_critical_layers_are_those_of_the_shortest_prefix_that_crosses() -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(300):
        count = int(rng.integers(2, 9))
        sizes, discrepancy = rng.integers(1, 1000, count).tolist(), rng.lognormal(0, 2, count).tolist()
        eligible = (rng.random(count) < 0.7).tolist()
        eligible[int(rng.integers(count))] = True
        pieces = [Piece("", (), size, free) for size, free in zip(sizes, eligible, strict=True)]
        taken = less_critical(discrepancy, pieces)
        assert taken == prefixes(discrepancy, sizes, eligible)
        lengths.add(len(taken))
    assert len(lengths) > 4


def test_less_critical_layers_of_an_example_worked_by_hand() -> None:
    # Sorted by d: c (delta 10/100, left 40/100), a (delta 30/100, left 20/100: crossed), b.
    pieces = [Piece("a", (), 20), Piece("b", (), 20), Piece("c", (), 60)]
    assert less_critical([1.0, 3.5, 1 / 6], pieces) == {0, 2}
    # All discrepancy in a bias that may not be chosen: delta stays 0 and never crosses.
    assert less_critical([0.0, 0.0, 5.0], [*pieces[:2], Piece("bias", (), 4, False)]) == {0, 1}
    assert less_critical([0.0, 0.0, 0.0], pieces) == {0, 1, 2}
    # At equal shares, a half each, the discrepancy does not yet exceed what is left: the second one is taken too.
    assert less_critical([1.0, 1.0], [Piece("one", (), 4), Piece("other", (), 4)]) == {0, 1}


def test_spread_is_the_mean_squared_distance_from_the_mean() -> None:
    rng = np.random.default_rng(1)
    # Far from the base and near to each other: sums of squares of the values themselves would cancel.
    base, clients = torch.zeros(7, 5), [torch.from_numpy(1000 + rng.normal(size=(7, 5))).float() for _ in range(4)]
    weights = [10.0, 1.0, 5.0, 4.0]
    spread = SpreadMean(base)
    for values, weight in zip(clients, weights, strict=True):
        spread.add(values, weight)
    arrays = [values.double().numpy() for values in clients]
    mean = sum(weight * array for weight, array in zip(weights, arrays, strict=True)) / 20
    expected = sum(w * ((array - mean) ** 2).sum() for w, array in zip(weights, arrays, strict=True)) / 20
    assert spread.spread() == pytest.approx(expected, rel=1e-3)
    assert_close(spread.mean.result(), mean)
    assert SpreadMean(base).spread() == 0


def test_a_layer_is_a_modules_own_parameters() -> None:
    assert {piece.name: piece.tensors for piece in layers_of(initial(small_task(CNN)))} == CNN_LAYERS
    lstm = {piece.name: piece for piece in layers_of(initial(small_task(LSTM)))}
    assert list(lstm) == ["embedding", "lstm.0", "lstm.1", "classifier"]
    assert lstm["lstm.1"].tensors == tuple(
        f"lstm.{kind}_l1" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    assert lstm["lstm.1"].size == 4 * 8 * (8 + 8 + 2)
    for name in TASKS:
        model = initial(small_task(name))
        named = dict(model.named_parameters())
        for pieces in (layers_of(model), kernels_of(model)):
            assert sorted(tensor for piece in pieces for tensor in piece.tensors) == sorted(named)
            assert all(piece.size == sum(named[tensor].numel() for tensor in piece.tensors) for piece in pieces)
        assert {piece.name for piece in kernels_of(model) if piece.eligible} == {
            tensor for tensor, value in named.items() if value.ndim > 1
        }


def server_of(name: str, **parameters: Any) -> tuple[Any, Server]:
    task, method = small_task(name), method_of("fedlama", **parameters)
    return method, method.setup(initial(task), task)


def moved(method: Method, server: Server, round_number: int, seed: int) -> list[Update]:
    """Return updates of clients with 10, 20 and 30 samples that move by noise, of another size in each parameter."""
    generator = torch.Generator().manual_seed(seed)
    updates = []
    for selection in selections_of(method, server, cohort_of(1.0, 1.0, 1.0, round_number=round_number)):
        submodel = method.extract(server, selection)
        with torch.no_grad():
            for place, tensor in enumerate(submodel.parameters()):
                tensor += 0.03 * (1 + place % 4) * torch.randn(tensor.shape, generator=generator)
        updates.append(Update(selection, method.upload(submodel), local=method.local_state(submodel)))
    return updates


@pytest.mark.parametrize("weights", ["uniform", "samples"])
@pytest.mark.parametrize("name", TASKS)
def test_discrepancy_and_means_are_those_of_the_formula(name: str, weights: str) -> None:
    method, server = server_of(name, weights=weights)
    shares = [1 / 6, 2 / 6, 3 / 6] if weights == "samples" else [1 / 3] * 3
    for round_number in range(1, 5):
        intervals = server.memory["intervals"].tolist()
        before = values_of(server.model)
        updates = moved(method, server, round_number, round_number)
        method.aggregate(server, updates, STREAMS)
        clients = [{**update.parameters, **update.local} for update in updates]
        means = {
            tensor: sum(share * client[tensor].double().numpy() for share, client in zip(shares, clients, strict=True))
            for tensor in before
        }
        evaluated = values_of(method.full_model(server))
        for tensor, mean in means.items():
            assert_close(evaluated[tensor], mean)
        expected = []
        for piece, interval in zip(layers_of(server.model), intervals, strict=True):
            synchronised = round_number % 2 == 0 or interval == 1
            for tensor in piece.tensors:
                assert (tensor in updates[0].parameters) == synchronised
                assert_close(
                    server.model.get_parameter(tensor).detach(),
                    means[tensor] if synchronised else before[tensor].numpy(),
                )
            squares = 0.0
            for share, client in zip(shares, clients, strict=True):
                for tensor in piece.tensors:
                    difference = client[tensor].double().numpy() - means[tensor]
                    squares += share * float((difference**2).sum())
            expected.append(squares / (interval * piece.size))
        if round_number % 2 == 0:
            np.testing.assert_allclose(server.memory["discrepancy"].numpy(), expected, rtol=1e-4)
            sizes = [piece.size for piece in layers_of(server.model)]
            relaxed = prefixes(expected, sizes, [True] * len(sizes))
            assert server.memory["intervals"].tolist() == [2 if place in relaxed else 1 for place in range(len(sizes))]
            assert set(server.memory) == {"intervals", "discrepancy"}
            assert method.full_model(server) is server.model
        elif round_number == 3:
            assert 1 in intervals and 2 in intervals
            kept = {
                tensor
                for p, i in zip(layers_of(server.model), intervals, strict=True)
                if i == 2
                for tensor in p.tensors
            }
            clients_memory = {f"client/{number}/{tensor}" for number in range(3) for tensor in kept}
            weights_memory = {f"weight/{number}" for number in range(3)}
            assert set(server.memory) == {"intervals", "discrepancy"} | clients_memory | weights_memory


def test_in_the_released_code_only_kernels_wait_and_the_discrepancy_of_all_counts() -> None:
    method, server = server_of(RESNET, layers="kernels")
    names = [name for name, _ in server.model.named_parameters()]
    for round_number in (1, 2):
        updates = moved(method, server, round_number, round_number)
        clients = [{**update.parameters, **update.local} for update in updates]
        method.aggregate(server, updates, STREAMS)
    sizes, discrepancy = [], []
    for name in names:
        values = np.stack([client[name].double().numpy() for client in clients])
        sizes.append(values[0].size)
        discrepancy.append(float(((values - values.mean(0)) ** 2).sum()) / 3 / values[0].size)
    kernels = [server.model.get_parameter(name).ndim > 1 for name in names]
    relaxed = prefixes(discrepancy, sizes, kernels)
    assert server.memory["intervals"].tolist() == [2 if place in relaxed else 1 for place in range(len(names))]
    assert 0 < len(relaxed) < sum(kernels)


@pytest.mark.parametrize(("base", "phi", "first"), [(1, 2, 6), (2, 2, 6), (1, 4, 6)])
def test_the_released_code_adjusts_once_the_index_of_the_average_exceeds_five(base: int, phi: int, first: int) -> None:
    method, server = server_of(CNN, base_interval=base, phi=phi, first_adjustment=first)
    adjusted = []
    for round_number in range(1, 16 * base + 1):
        method.aggregate(server, moved(method, server, round_number, round_number), STREAMS)
        average = round_number // base - 1  # as the code counts
        if round_number % base == 0 and (average + 1) % phi == 0:
            assert (max(server.memory["intervals"].tolist()) > base) == (average > 5)
            adjusted.append(average > 5)
        elif average <= 5:
            assert set(server.memory["intervals"].tolist()) == {base}
    assert True in adjusted and False in adjusted


def test_a_client_that_is_alone_has_no_discrepancy() -> None:
    method, server = server_of(CNN)
    for round_number in (1, 2):
        method.aggregate(server, moved(method, server, round_number, 0)[:1], STREAMS)
    assert server.memory["discrepancy"].tolist() == [0.0] * 3 and server.memory["intervals"].tolist() == [2] * 3
    assert Client(0, 10, 1.0) == moved(method, server, 3, 0)[0].selection.client
