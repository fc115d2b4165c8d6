"""Aggregation against loops over single entries, written from the formulae."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, entry_means, random_tensor, setup, trained
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    small_task,
    values_of,
)
from thinned import every, thinned

from bench.api import Client
from bench.families.averaging import CoverageMean, RowMean


def test_coverage_mean_is_the_weighted_mean_of_the_holders() -> None:
    base = random_tensor(4, 5)
    places = [([0, 2], [1, 3, 4]), ([2, 3], [0, 1]), ([2], [1])]
    blocks = [(random_tensor(len(rows), len(columns), seed=7 + rows[0]), (rows, columns)) for rows, columns in places]
    mean = CoverageMean(base.clone())
    for (values, (rows, columns)), weight in zip(blocks, (2.0, 0.5, 3.0), strict=True):
        mean.add(values, (torch.tensor(rows)[:, None], torch.tensor(columns)), weight)
    result, held = mean.result(), mean.held
    assert_close(result, entry_means(base, blocks, (2.0, 0.5, 3.0)), 1e-6)
    assert int(held.sum()) == 9
    assert torch.equal(result[~held], base[~held])


def test_coverage_mean_of_nobody_is_the_base() -> None:
    base = random_tensor(3, 3)
    assert torch.equal(CoverageMean(base).result(), base)


def test_coverage_mean_of_unchanged_values_is_exactly_the_base() -> None:
    base = random_tensor(50, 7)
    mean = CoverageMean(base)
    for weight in (0.1, 0.3, 1 / 7):
        mean.add(base[:20], slice(0, 20), weight)
    assert torch.equal(mean.result(), base)


def test_coverage_mean_leaves_base_and_values_alone() -> None:
    base, values = random_tensor(4), random_tensor(4, seed=1)
    before = base.clone(), values.clone()
    mean = CoverageMean(base)
    mean.add(values)
    mean.result()
    assert torch.equal(base, before[0]) and torch.equal(values, before[1])


def test_clients_with_a_part_and_clients_with_all_of_a_tensor_have_one_mean() -> None:
    base, everything = random_tensor(4, 5), [list(range(4)), list(range(5))]
    blocks = [(random_tensor(4, 5, seed=1), tuple(everything)), (random_tensor(2, 5, seed=2), ([0, 2], everything[1]))]
    for order in ((0, 1), (1, 0), (0, 1, 0)):
        mean = CoverageMean(base)
        for place in order:
            values, (rows, _) = blocks[place]
            mean.add(values, ... if place == 0 else torch.tensor(rows), 2.0 + place)
        expected = entry_means(base, [blocks[place] for place in order], [2.0 + place for place in order])
        assert_close(mean.result(), expected, 1e-6)
        assert mean.held.shape == base.shape and mean.held.all()


@pytest.mark.parametrize("columns", [5, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_row_mean_is_the_coverage_mean_of_rows(columns: int, transposed: bool) -> None:
    base = random_tensor(5, 6).T if transposed else random_tensor(6, 5)
    rows = [[0, 2, 5], [2, 3], [2]]
    blocks = [(random_tensor(len(held), columns, seed=held[0]), (held, list(range(columns)))) for held in rows]
    mean = RowMean(base.clone())
    for (values, (held, _)), weight in zip(blocks, (2.0, 0.5, 3.0), strict=True):
        before = values.clone()
        mean.add(values, torch.tensor(held), weight)
        assert torch.equal(values, before)
    assert_close(mean.result(), entry_means(base, blocks, (2.0, 0.5, 3.0)), 1e-6)
    assert mean.held.tolist() == [True, False, True, True, False, True]
    assert torch.equal(mean.result()[[1, 4]], base[[1, 4]]) and torch.equal(mean.base, base)


def test_row_mean_of_unchanged_rows_is_exactly_the_base() -> None:
    base = random_tensor(50, 7)
    mean = RowMean(base)
    for weight in (0.1, 0.3, 1 / 7):
        mean.add(base[10:30], torch.arange(10, 30), weight)
    assert torch.equal(mean.result(), base)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weights", ["samples", "uniform"])
def test_fedavg_is_the_weighted_mean(name: str, weights: str) -> None:
    method, server, before = setup("fedavg", small_task(name), weights=weights)
    updates = trained(method, server)
    shares = np.array([10, 20, 30] if weights == "samples" else [1, 1, 1], dtype=float)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for parameter in before:
        stacked = np.stack([update.parameters[parameter].double().numpy() for update in updates])
        assert_close(after[parameter], np.tensordot(shares / shares.sum(), stacked, 1))


def width_places(parameter: str, shape: torch.Size, counts: dict[str, int]) -> tuple[list[int], ...]:
    """Return by hand which positions of a small model's parameter a client with the leading channels holds."""
    everything = [list(range(length)) for length in shape]
    if parameter.startswith("conv1"):
        everything[0] = list(range(counts["conv1"]))
    if parameter.startswith("conv2"):
        everything[0] = list(range(counts["conv2"]))
    if parameter == "conv2.weight":
        everything[1] = list(range(counts["conv1"]))
    if parameter == "classifier.weight" and "conv2" in counts:
        everything[1] = list(range(counts["conv2"] * 49))
    if "hidden" in counts:
        if parameter.startswith("lstm"):
            everything[0] = [gate * 8 + unit for gate in range(4) for unit in range(counts["hidden"])]
        if parameter in ("lstm.weight_hh_l0", "lstm.weight_ih_l1", "lstm.weight_hh_l1", "classifier.weight"):
            everything[1] = list(range(counts["hidden"]))
    return tuple(everything)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (CNN, [{"conv1": 20, "conv2": 20}, {"conv1": 48, "conv2": 48}, {"conv1": 32, "conv2": 32}]),
        (LSTM, [{"hidden": 3}, {"hidden": 6}, {"hidden": 4}]),
    ],
)
def test_origdrop_is_the_mean_over_the_holders_of_each_entry(name: str, counts: list[dict[str, int]]) -> None:
    method, server, before = setup("origdrop", small_task(name))
    updates = trained(method, server)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    unheld = 0
    for parameter, base in before.items():
        places = [width_places(parameter, base.shape, own) for own in counts]
        blocks = [(update.parameters[parameter], place) for update, place in zip(updates, places, strict=True)]
        assert_close(after[parameter], entry_means(base, blocks, (1, 1, 1)))
        largest = np.zeros(base.shape, dtype=bool)
        largest[np.ix_(*places[1])] = True
        unheld += int((~largest).sum())
        assert torch.equal(after[parameter][torch.from_numpy(~largest)], base[torch.from_numpy(~largest)])
    assert unheld > 0


def test_origdrop_released_counts_what_a_client_does_not_hold_as_zero() -> None:
    method, server, before = setup("origdrop", small_task(CNN), variant="released")
    updates = trained(method, server)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for parameter, base in before.items():
        padded = np.zeros((3, *base.shape))
        for place, update in enumerate(updates):
            values = update.parameters[parameter].numpy()
            padded[place, : len(values)] = values
        assert_close(after[parameter], padded.mean(0))
    assert not after["conv2.weight"][48:].any() and not after["conv2.bias"][48:].any()


METHODS: list[tuple[str, dict[str, Any]]] = [
    ("fedavg", {}),
    ("prism", {}),
    ("prism", {"sigma": "absorbed"}),
    ("prism", {"aggregate": "product"}),
    ("prism", {"multipliers": "wallenius", "sigma": "absorbed"}),
    ("orthdrop", {}),
    ("unbiased", {}),
    ("collective", {"aggregate": "product"}),
    ("origdrop", {}),
    ("fedlama", {}),
    ("inclusivefl", {}),
    ("depthfl", {}),
    ("inclusive_kdd", {}),
    ("splitmix", {"rescale": False}),
    ("fedpara", {}),
    ("pfedpara", {}),
    ("federated_dropout", {}),
    ("fjord", {}),
]
NOT_FOR_LSTMS: list[tuple[str, dict[str, Any]]] = [
    ("scalefl", {}),
    ("heterofl", {}),
    ("fedrolex", {"weights": "samples"}),
]


@pytest.mark.parametrize(
    ("name", "method_name", "parameters"),
    thinned(
        [(name, *case) for name in TASKS for case in METHODS]
        + [(name, *case) for name in TASKS if name != LSTM for case in NOT_FOR_LSTMS],
        every(2),
    ),
)
def test_clients_that_do_nothing_change_nothing(name: str, method_name: str, parameters: dict[str, Any]) -> None:
    large = {"hidden": 40} if name == LSTM and "fedpara" in method_name else {}
    method, server, before = setup(method_name, small_task(name, **large), **parameters)
    updates = trained(method, server, noise=0.0)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for parameter, base in before.items():
        if method.family == "spectral":
            torch.testing.assert_close(after[parameter], base, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(after[parameter], base)


def test_origdrop_released_changes_only_what_was_dropped_when_clients_do_nothing() -> None:
    method, server, before = setup("origdrop", small_task(RESNET), variant="released")
    after = values_of(method.aggregate(server, trained(method, server, (0.5, 0.5), 0.0), STREAMS).model)
    for parameter, base in before.items():
        masked = ("conv" in parameter or "project.weight" in parameter) and parameter != "stem.weight"
        kept = base.shape[0] // 2 if masked else base.shape[0]
        torch.testing.assert_close(after[parameter][:kept], base[:kept])
        assert not after[parameter][kept:].any()


@pytest.mark.parametrize(
    ("method_name", "parameters"),
    thinned([*METHODS, *NOT_FOR_LSTMS, ("origdrop", {"variant": "released"}), ("fedhm", {})], every(3)),
)
def test_the_order_of_the_clients_does_not_matter(method_name: str, parameters: dict[str, Any]) -> None:
    results = []
    for order in (1, -1):
        method, server, _ = setup(method_name, small_task(RESNET), **parameters)
        updates = trained(method, server)[::order]
        results.append(values_of(method.aggregate(server, updates, STREAMS).model))
    for parameter, value in results[0].items():
        torch.testing.assert_close(results[1][parameter], value, rtol=1e-4, atol=1e-5)


def test_a_client_counts_by_its_weight() -> None:
    """The spectral and width families leave the weights of the clients to their members."""
    for method_name in ("prism", "origdrop"):
        method, server, _ = setup(method_name, small_task(CNN))
        method.weight = _by_samples  # type: ignore[attr-defined]
        updates = trained(method, server, (1.0, 1.0))
        after = values_of(method.aggregate(server, updates, STREAMS).model)
        first, second = (update.parameters["classifier.bias"] for update in updates)
        torch.testing.assert_close(after["classifier.bias"], (10 * first + 20 * second) / 30)


def _by_samples(client: Client) -> float:
    return float(client.samples)
