"""Streams depend on their names alone, and on nothing that a comparison varies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from helpers import CNN, RESNET, federation
from hypothesis import given
from hypothesis import strategies as st

from bench.api import Method
from bench.federation.federation import Federation
from bench.seeding import Streams, key_of, stream
from bench.training.local import Job, train_client

VARIED = [("fedavg", 1.0), ("prism", 0.2), ("prism", 1.0), ("orthdrop", 0.5), ("origdrop", 0.3)]


@given(st.integers(0, 2**40), st.sampled_from(["cohort", "batches"]), st.integers(0, 10**6), st.integers(0, 10**6))
def test_equal_names_give_equal_streams(seed: int, purpose: str, round_number: int, client: int) -> None:
    draws = [stream(seed, purpose, round_number, client).random(3).tolist() for _ in range(2)]
    assert draws[0] == draws[1]


def test_different_names_give_different_keys() -> None:
    names = list(itertools.product(range(12), ("a", "a/server", "b", "1"), range(12), range(12)))
    keys = {key_of(*name) for name in names}
    assert len(keys) == len(names)
    assert all(0 <= key < 2**128 for key in keys)


def test_streams_of_near_names_are_uncorrelated() -> None:
    draws = np.stack([stream(seed, "batches", 1, client).random(4000) for seed in (0, 1) for client in range(6)])
    correlations = np.asarray(np.corrcoef(draws))[np.triu_indices(len(draws), 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(4000)


def test_a_stream_is_the_same_on_every_platform() -> None:
    """The values of Philox-4x64 with a BLAKE2b key: a change would make every stored result a different run."""
    assert stream(7, "cohort", 3, 5).integers(0, 1000, 6).tolist() == [345, 6, 785, 282, 678, 540]


def test_clients_and_server_of_a_round_have_streams_of_their_own() -> None:
    streams = Streams(1, "selection", 2)
    values = [rng.random() for rng in (streams.server(), streams.client(0), streams.client(1))]
    assert len(set(values)) == 3
    assert streams.client(1).random() == values[2] == stream(1, "selection", 2, 1).random()
    assert Streams(1, "selection", 3).client(1).random() != values[2]


@pytest.fixture(scope="module")
def federations() -> list[Federation]:
    return [federation(method, RESNET, keep=keep) for method, keep in VARIED]


def test_all_methods_see_the_same_clients(federations: list[Federation]) -> None:
    for round_number in (1, 2, 7):
        cohorts = [
            [(client.number, client.samples) for client in built.cohort(round_number).clients] for built in federations
        ]
        assert all(cohort == cohorts[0] for cohort in cohorts)


def test_all_methods_see_the_same_partition(federations: list[Federation]) -> None:
    for built in federations[1:]:
        assert np.array_equal(built.partition.indices, federations[0].partition.indices)
        assert np.array_equal(built.partition.offsets, federations[0].partition.offsets)


def batches_seen(built: Federation) -> list[torch.Tensor]:
    """Return the batches that a client's sub-model reads in round 1."""
    seen: list[torch.Tensor] = []
    method: Method = built.method
    server = method.setup(built.initial_model(), built.task)
    selection = method.select(server, built.cohort(1), built.streams("selection", 1))[0]
    submodel = method.extract(server, selection)
    submodel.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    train_client(Job(selection.client.number, 1, submodel), built)
    return seen


def test_all_methods_see_the_same_augmented_batches(federations: list[Federation]) -> None:
    expected, *others = (batches_seen(built) for built in federations)
    assert len(expected) == 2
    for seen in others:
        assert all(torch.equal(a, b) for a, b in zip(expected, seen, strict=True))


def test_another_seed_is_another_run() -> None:
    first, second = (federation("prism", CNN, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.partition.indices, second.partition.indices)
    cohorts = [[built.cohort(n).clients for n in range(1, 9)] for built in (first, second)]
    assert cohorts[0] != cohorts[1]


def test_a_cohort_has_distinct_clients_drawn_uniformly() -> None:
    built = federation("fedavg", CNN, training={"clients": 5, "cohort": 2, "samples_per_client": 20})
    counts = np.zeros(5)
    for round_number in range(1, 1001):
        numbers = [client.number for client in built.cohort(round_number).clients]
        assert len(set(numbers)) == 2
        counts[numbers] += 1
    assert np.abs(counts / 1000 - 0.4).max() < 4.5 * np.sqrt(0.4 * 0.6 / 1000)
