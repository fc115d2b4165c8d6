"""Federated Dropout: how often each channel is drawn, who shares a draw, and how the parts come back."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, setup
from channels import cohort, means
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    federation,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from thinned import every, thinned

KEEPS = (0.3, 0.75, 0.5)


def test_each_set_of_channels_is_as_likely_as_any_other() -> None:
    method: Any = method_of("federated_dropout")
    rng, draws = np.random.default_rng(0), 12_000
    sets = Counter(tuple(method.choose("any", 5, 2, None, rng).tolist()) for _ in range(draws))
    assert len(sets) == 10 and all(first < second for first, second in sets)
    for times in sets.values():
        assert abs(times / draws - 0.1) < 4.5 * math.sqrt(0.1 * 0.9 / draws)


def test_channels_are_drawn_for_each_client_group_and_round() -> None:
    task, method = small_task(RESNET), method_of("federated_dropout")
    server = method.setup(initial(task), task)
    first, second = selections_of(method, server, cohort((0.5, 0.5)))
    later, _ = selections_of(method, server, cohort((0.5, 0.5), round_number=2))
    again, _ = selections_of(method, server, cohort((0.5, 0.5)))
    drawn = [selection.indices["stage3"].tolist() for selection in (first, second, later)]
    drawn.append(first.indices["stage3.0"].tolist())
    assert all(len(channels) == 16 for channels in drawn) and len(set(map(tuple, drawn))) == 4
    assert torch.equal(again.indices["stage3"], first.indices["stage3"])


def test_clients_may_share_a_draw() -> None:
    task, method = small_task(RESNET), method_of("federated_dropout", draws="round")
    server = method.setup(initial(task), task)
    selections = selections_of(method, server, cohort((0.25, 0.5, 0.5, 1.0)))
    later = selections_of(method, server, cohort((0.5,), round_number=2))
    for group in ("stage3", "stage2.1"):
        held = [set(selection.indices[group].tolist()) for selection in selections]
        assert held[1] == held[2] and all(small <= large for small, large in pairwise(held))
        assert held[1] != set(later[0].indices[group].tolist())
    assert method.designs(server, selections) == {}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weights", ["uniform", "samples"])
def test_entries_are_means_over_their_holders(name: str, weights: str) -> None:
    method, server, before = setup("federated_dropout", small_task(name), weights=weights)
    selections = selections_of(method, server, cohort(KEEPS))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    channels = [{group: kept.tolist() for group, kept in s.indices.items()} for s in selections]
    expected = means(name, before, updates, channels, (1, 1, 1) if weights == "uniform" else (10, 20, 30))
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for parameter, value in expected.items():
        assert_close(after[parameter], value)


def test_the_whole_model_is_evaluated_or_the_channels_held_so_far() -> None:
    task = small_task(LSTM)
    for tail in ("keep", "drop"):
        method = method_of("federated_dropout", tail=tail)
        server = method.setup(initial(task), task)
        (selection,) = selections_of(method, server, cohort((0.4,)))
        server = method.aggregate(server, [update_of(method, server, selection)], STREAMS)
        weight = method.full_model(server).get_parameter("classifier.weight")
        expected = server.model.get_parameter("classifier.weight")
        assert torch.equal(weight, expected if tail == "keep" else expected[:, selection.indices["hidden"]])


def test_coverage_and_diversity_are_recorded() -> None:
    rounds, _ = run(federation("federated_dropout", CNN, keep=0.25, diagnostics="all"))
    missed = 1.0
    for this in rounds[1:]:
        missed *= 0.75 ** len(this.members)
        assert this.coverage_expected == pytest.approx(1 - missed)
        assert this.coverage is not None and abs(this.coverage - (1 - missed)) < 0.2
        for group in ("conv1", "conv2"):
            assert this.layers[group]["anme"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("draws", thinned(["client", "round"], every(2)))
def test_with_all_channels_it_is_fedavg(name: str, draws: str) -> None:
    _, expected = run(federation("fedavg", name, parameters={"weights": "uniform"}))
    _, after = run(federation("federated_dropout", name, keep=1.0, parameters={"draws": draws}))
    assert all(torch.equal(after[parameter], value) for parameter, value in expected.items())
