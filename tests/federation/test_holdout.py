"""Held-out training samples: disjoint, in every client's proportions, and never mixed with the test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import CNN, TRAINING

from bench.config.cells import make_cell
from bench.errors import BenchError
from bench.federation.federation import Federation, partition_of
from bench.federation.holdout import hold_out
from bench.federation.partition import Partition, split
from bench.launch.running import run_cell
from bench.seeding import stream
from bench.simulation.simulator import Simulation
from bench.store.cells import Store
from bench.training.engine import InlineEngine


def built(**training: Any) -> Federation:
    values = {"task": CNN, "method": "fedavg", "alpha": 0.5, "training": {**TRAINING, **training}}
    return Federation.build(make_cell(values, "test"))


def of_sizes(sizes: list[int]) -> Partition:
    order = stream(3, "test").permutation(sum(sizes))
    return Partition("iid", None, "none", order, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.floats(0.01, 0.5), st.integers(0, 5))
def test_every_client_keeps_and_holds_out_its_own_samples(sizes: list[int], share: float, seed: int) -> None:
    whole = of_sizes(sizes)
    if max(sizes) == 1:
        with pytest.raises(BenchError, match="holds nothing out"):
            hold_out(whole, share, seed)
        return
    trained, held = hold_out(whole, share, seed)
    assert sorted([*trained.indices, *held]) == sorted(whole.indices)
    for client, size in enumerate(sizes):
        own, kept = whole.client(client), trained.client(client)
        assert [index for index in own if index in set(kept)] == list(kept)  # in the order of the partition
        missing = len(own) - len(kept)
        assert missing == (0 if size == 1 else min(max(round(share * size), 1), size - 1))
        assert set(own) - set(kept) <= set(held)


def test_who_is_held_out_depends_on_the_seed_and_each_sample_is_as_likely() -> None:
    whole = of_sizes([10, 10])
    first, second = hold_out(whole, 0.3, 0)[1], hold_out(whole, 0.3, 1)[1]
    assert set(first) != set(second) and np.array_equal(first, hold_out(whole, 0.3, 0)[1])
    counts = np.zeros(20)
    for seed in range(600):
        counts[hold_out(whole, 0.3, seed)[1]] += 1
    standard_error = np.sqrt(600 * 0.3 * 0.7)
    assert np.abs(counts - 180).max() < 4.5 * standard_error


def test_the_order_does_not_go_client_by_client() -> None:
    labels = np.repeat(np.arange(10), 100)
    whole = split("lda", labels, clients=10, rng=stream(0, "partition"), alpha=0.01)
    held = hold_out(whole, 0.2, 0)[1]
    assert all(len(np.unique(labels[held[start : start + 50]])) > 5 for start in range(0, 200, 50))


def test_without_validation_nothing_changes_and_the_test_set_is_evaluated() -> None:
    federation = built()
    assert federation.evaluated is federation.dataset.test and not federation.validates
    whole = partition_of(federation.cell, federation.task, federation.dataset)
    assert np.array_equal(federation.partition.indices, whole.indices)


def test_held_out_samples_are_evaluated_by_an_independent_count() -> None:
    federation = built(validation=0.25, rounds=1)
    held = federation.evaluated
    assert len(held) == 4 * 10 and list(federation.partition.sizes) == [30] * 4
    assert [client.samples for client in federation.cohort(1).clients] == [30] * 2
    simulation = Simulation(federation, InlineEngine(federation))
    this = list(simulation.rounds())[-1]
    whole = partition_of(federation.cell, federation.task, federation.dataset)
    left_out = np.setdiff1d(whole.indices, federation.partition.indices)
    inputs = torch.from_numpy(federation.dataset.train.inputs[left_out])
    labels = torch.from_numpy(federation.dataset.train.labels[left_out])
    model = simulation.method.full_model(simulation.server).eval()
    with torch.no_grad():
        answers = model(federation.task.prepare(inputs)).argmax(1)
    assert this.validates and this.score is not None
    assert this.score.acc == pytest.approx(float((answers == labels).float().mean()))


def test_validation_stands_in_columns_of_its_own(tmp_path: Path) -> None:
    values = {"task": CNN, "method": "orthdrop", "keep": 0.5, "training": {**TRAINING, "validation": 0.2}}
    cell, store = make_cell(values, "test"), Store(tmp_path)
    outcome = run_cell(cell, store=store)
    assert outcome.status == "done" and "on held-out training samples of" in outcome.line
    rounds = store.read(cell, "rounds").to_pydict()
    assert rounds["test_acc"] == rounds["test_loss"] == [None] * 3
    assert all(0 <= acc <= 1 for acc in rounds["validation_acc"]) and all(rounds["validation_loss"])
    tested = make_cell({**values, "training": TRAINING}, "test")
    run_cell(tested, store=store)
    assert store.read(tested, "rounds").to_pydict()["validation_acc"] == [None] * 3
    assert tested.identity != cell.identity


def test_a_share_is_checked() -> None:
    for share in (-0.1, 0.6, "a fifth"):
        with pytest.raises(BenchError, match=r"validation = .* is not possible; allowed: a number from 0 to 0.5"):
            make_cell({"task": CNN, "method": "fedavg", "training": {"validation": share}}, "test")
