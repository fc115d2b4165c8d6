"""Magnitudes summed over channels: which are kept, that they are really cut, and how parts come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, entry_means
from helpers import (
    CNN,
    LSTM,
    RESNET,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    run,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import nn

from bench.api import Method, Server, Skip
from bench.cost.cost import cost_of
from bench.families.magnitude import channel_scores
from bench.models.base import Model

NORMS = ("norm1", "norm2", "stem_norm", "project_norm")


def channels(name: str, levels: tuple[float, ...] = (1.0,), **parameters: Any) -> tuple[Method, Server]:
    task, method = small_task(name), method_of("fiarse_channels", **parameters)
    method.levels = levels
    return method, method.setup(initial(task), task)


def scores_by_hand(model: Model, group: str) -> list[float]:
    """Go through every entry of every weight and give it to the channels that it belongs to."""
    size = model.channels()[group]
    found = [0.0] * size
    for name, tensor in model.named_parameters():
        of_group = any(axis is not None and axis.group == group for axis in model.axes()[name])
        if name.split(".")[-2] in NORMS or not of_group:
            continue
        for where, value in np.ndenumerate(tensor.detach().double().numpy()):
            for place, axis in zip(where, model.axes()[name], strict=True):
                if axis is not None and axis.group == group:
                    found[place // axis.inner % size] += abs(value)
    return found


@pytest.mark.parametrize(("name", "groups"), [(RESNET, ("stage0", "stage1.1")), (LSTM, ("hidden",))])
def test_a_channels_score_is_the_sum_of_its_entries(name: str, groups: tuple[str, ...]) -> None:
    method, server = channels(name)
    assert isinstance(server.model, Model)
    scores = channel_scores(server.model)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    for group in groups:
        by_hand = scores_by_hand(server.model, group)
        assert_close(scores[group], np.array(by_hand))
        best = sorted(range(len(by_hand)), key=lambda channel: -by_hand[channel])[: -(-len(by_hand) // 2)]
        assert selection.indices[group].tolist() == sorted(best)


def test_channels_behind_a_flattened_map_have_all_of_its_places() -> None:
    _, server = channels(CNN)
    model = server.model
    expected = model.get_parameter("conv2.weight").abs().sum((1, 2, 3)) + model.get_parameter("conv2.bias").abs()
    expected = expected + model.get_parameter("classifier.weight").abs().sum(0).view(64, -1).sum(1)
    assert isinstance(model, Model)
    assert_close(channel_scores(model)["conv2"].float(), expected.detach().double().numpy())


@pytest.mark.parametrize("name", [RESNET, CNN, LSTM])
def test_it_costs_what_a_narrow_network_costs(name: str) -> None:
    task = small_task(name)
    found = []
    for method_name in ("fiarse_channels", "origdrop"):
        method = method_of(method_name)
        server = method.setup(initial(task), task)
        (selection,) = selections_of(method, server, cohort_of(0.4))
        found.append(cost_of(method.extract(server, selection), task))
    assert found[0] == found[1] and found[0].ideal_macs == found[0].macs


@pytest.mark.parametrize("weights", ["uniform", "samples"])
def test_entries_become_means_over_the_clients_that_hold_them(weights: str) -> None:
    method, server = channels(CNN, weights=weights)
    selections = selections_of(method, server, cohort_of(0.3, 0.6))
    updates = [update_of(method, server, selection, noise=0.1) for selection in selections]
    before = server.model.get_parameter("conv2.weight").detach().clone()
    blocks = []
    for update in updates:
        kept = update.selection.indices
        places = (kept["conv2"].tolist(), kept["conv1"].tolist(), range(3), range(3))
        blocks.append((update.parameters["conv2.weight"], places))
    samples = [float(update.selection.client.samples) for update in updates]
    expected = entry_means(before, blocks, samples if weights == "samples" else [1.0, 1.0])
    after = method.aggregate(server, iter(updates), STREAMS)
    assert_close(after.model.get_parameter("conv2.weight").detach(), expected)


def test_with_everything_it_is_fedavg() -> None:
    once = {"rounds": 1}
    _, mine = run(federation("fiarse_channels", CNN, keep=1.0, training=once, parameters={"weights": "samples"}))
    _, theirs = run(federation("fedavg", CNN, training=once))
    for name, tensor in theirs.items():
        torch.testing.assert_close(mine[name], tensor, rtol=1e-4, atol=1e-6)


def test_nested_networks_are_those_of_the_scores_as_they_are_now() -> None:
    method, server = channels(RESNET, levels=(0.25, 0.75))
    selections = selections_of(method, server, cohort_of(0.25, 0.75))
    server = method.aggregate(server, iter([update_of(method, server, one, 0.3) for one in selections]), STREAMS)
    again = selections_of(method, server, cohort_of(0.25, 0.75))
    assert any(not torch.equal(selections[0].indices[group], again[0].indices[group]) for group in again[0].indices)
    inputs = batch_of(small_task(RESNET))
    for (keep, model), selection in zip(method.nested_models(server), again, strict=True):
        assert keep == selection.client.keep
        assert torch.equal(model(inputs), method.extract(server, selection)(inputs))
    one, server = channels(RESNET)
    assert list(one.nested_models(server)) == []


def test_equal_scores_go_by_the_channels_number() -> None:
    method, server = channels(CNN)
    with torch.no_grad():
        for tensor in server.model.parameters():
            tensor.fill_(0.5)
    (selection,) = selections_of(method, server, cohort_of(0.5))
    assert selection.indices["conv1"].tolist() == list(range(32))
    assert values_of(server.model).keys() == dict(server.model.named_parameters()).keys()


def test_it_is_not_defined_for_a_model_without_channels() -> None:
    with pytest.raises(Skip, match="Linear does not say which channels belong together"):
        method_of("fiarse_channels").setup(nn.Linear(2, 2), small_task(CNN))
