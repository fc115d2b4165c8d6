"""Split-Mix: which networks there are, who trains which, and what is evaluated."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
from helpers import (
    CNN,
    LSTM,
    RESNET,
    assert_equal,
    batch_of,
    cohort_of,
    federation,
    initial,
    method_of,
    numbers,
    run,
    run_sent,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import nn
from torch.nn import functional

from bench.api import Server, Skip, Streams
from bench.models.ensemble import Ensemble
from bench.tasks.base import Task

LEVELS = (0.25, 0.5, 1.0)


def small(name: str = CNN, **parameters: Any) -> tuple[Any, Server, Task]:
    task, method = small_task(name), method_of("splitmix", **parameters)
    method.levels = LEVELS
    return method, method.setup(initial(task), task), task


def test_networks_are_narrow_and_begin_unlike_with_the_values_of_full_layers() -> None:
    method, server, task = small()
    assert len(server.model.nets) == method.count == 8
    first, second = (values_of(server.model.nets[number]) for number in "01")
    assert first["conv1.weight"].shape[0] == 8 and first["conv2.weight"].shape == (8, 8, 3, 3)
    assert not torch.equal(first["conv2.weight"], second["conv2.weight"])
    _, plain, _ = small(rescale=False)
    unscaled = values_of(plain.model.nets["0"])
    inputs = {"conv1": 25, "conv2": 64 * 9, "classifier": 64 * 49}
    for name, value in first.items():
        # The image has no fewer channels than in the full model, whose law is uniform within +- 1 / sqrt(inputs).
        factor = 1.0 if name.startswith("conv1.") else math.sqrt(1 / 8)
        torch.testing.assert_close(value, factor * unscaled[name])
        assert float(value.abs().max()) <= 1.001 / math.sqrt(inputs[name.partition(".")[0]])
    assert server.model(batch_of(task, 3)).shape == (3, 62)


@pytest.mark.parametrize(
    ("base_width", "keep", "networks"), [(0.125, 0.3, 2), (0.125, 0.01, 1), (0.1, 0.3, 3), (0.5, 1.0, 2)]
)
def test_a_client_trains_as_many_networks_as_its_keep_ratio_allows(
    base_width: float, keep: float, networks: int
) -> None:
    method, server, _ = small(base_width=base_width)
    (selection,) = selections_of(method, server, cohort_of(keep))
    submodel = method.extract(server, selection)
    assert isinstance(submodel, Ensemble) and len(submodel.nets) == networks
    for number, net in submodel.nets.items():
        assert_equal(values_of(net), values_of(server.model.nets[number]))


def test_first_networks_go_round_so_that_each_is_trained_as_often() -> None:
    """Eight networks and four clients a round: two rounds go once through the list, which is then shuffled anew."""
    method, server, _ = small()
    rounds = []
    for number in range(1, 7):
        cohort = cohort_of(0.01, 0.01, 0.01, 0.01, round_number=number)
        selections = method.select(server, cohort, Streams(3, "selection", number))
        rounds.append([int(selection.indices["bases"]) for selection in selections])
        server = method.aggregate(server, [update_of(method, server, one) for one in selections], STREAMS)
    lists = [tuple(rounds[start] + rounds[start + 1]) for start in range(0, 6, 2)]
    assert all(sorted(each) == [*range(8)] for each in lists) and len(set(lists)) == 3
    assert int(server.memory["served"]) == 24
    mixed = selections_of(method, server, cohort_of(0.25, 1.0))
    chosen = [selection.indices["bases"].tolist() for selection in mixed]
    assert [len(set(some)) for some in chosen] == [2, 8] and all(some == sorted(some) for some in chosen)


def test_each_network_is_trained_by_its_own_loss() -> None:
    method, server, task = small()
    (selection,) = selections_of(method, server, cohort_of(0.3))
    submodel = method.extract(server, selection).train()
    inputs, targets = batch_of(task, 6), torch.arange(6)
    loss = method.local_loss(submodel, lambda: submodel(inputs), targets)
    gradients = torch.autograd.grad(loss, list(submodel.parameters()))
    alone = []
    for net in submodel.nets.values():
        own = functional.cross_entropy(net(inputs), targets)
        alone += torch.autograd.grad(own, list(net.parameters()))
    for one, other in zip(gradients, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_hidden_outputs_are_divided_by_the_width_in_training_alone() -> None:
    method, server, task = small()
    (selection,) = selections_of(method, server, cohort_of(0.01))
    (net,) = method.extract(server, selection).nets.values()
    inputs = batch_of(task, 2)
    trained, evaluated = (next(iter(net.train(mode).hidden_states(inputs))) for mode in (True, False))
    torch.testing.assert_close(trained, 8 * evaluated)


@pytest.mark.parametrize("weights", ["samples", "uniform"])
def test_each_network_becomes_the_mean_over_its_clients(weights: str) -> None:
    method, server, _ = small(weights=weights)
    before = values_of(server.model)
    selections = selections_of(method, server, cohort_of(0.25, 0.5, 0.01))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    holders = Counter(number for selection in selections for number in selection.indices["bases"].tolist())
    assert {holders[number] for number in range(8)} >= {0, 1}
    for name, base in before.items():
        held = [(place, update.parameters[name]) for place, update in enumerate(updates) if name in update.parameters]
        assert len(held) == holders[int(name.split(".")[1])]
        shares = [10 * (place + 1) if weights == "samples" else 1 for place, _ in held]
        values = [value.double().numpy() for _, value in held]
        assert_close(after[name], np.average(values, 0, shares) if held else base.numpy())


def test_predictions_are_means_of_logits_of_all_and_of_the_first_networks() -> None:
    method, server, task = small()
    inputs = batch_of(task, 4)
    logits = torch.stack([net.eval()(inputs) for net in server.model.nets.values()])
    torch.testing.assert_close(method.full_model(server).eval()(inputs), logits.mean(0))
    for keep, model in method.nested_models(server):
        torch.testing.assert_close(model.eval()(inputs), logits[: round(8 * keep)].mean(0))
    method.levels = (0.25, 0.5)
    assert len(method.setup(initial(task), task).model.nets) == 4


def test_one_network_of_the_full_width_is_fedavg() -> None:
    reference, expected = run(federation("fedavg", CNN))
    rounds, after = run(federation("splitmix", CNN, keep=1.0, parameters={"base_width": 1.0}))
    assert_equal({name.removeprefix("nets.0."): value for name, value in after.items()}, expected)
    assert [this.score for this in rounds] == [this.score for this in reference]


def test_mixed_capacities_are_evaluated_at_each_level_and_two_workers_agree() -> None:
    settings = {
        "keep": "0.3:0.5,1:0.5",
        "training": {"rounds": 1, "clients": 4, "cohort": 4, "samples_per_client": 16, "standin_test": 20},
    }
    rounds, after = run(federation("splitmix", CNN, **settings))
    whole = sum(value.numel() for value in after.values())
    assert {member.client.keep: member.cost.parameters for member in rounds[1].members} == {0.3: whole // 4, 1.0: whole}
    assert [level.keep for level in rounds[1].levels] == [0.3, 1.0] and rounds[1].levels[1].score == rounds[1].score
    assert run_sent(federation("splitmix", CNN, **settings))[0] == numbers(rounds)


def test_where_it_is_not_defined_it_says_so() -> None:
    with pytest.raises(Skip, match="not defined for LSTMs; rescale=false leaves it out"):
        small(LSTM)
    assert len(small(LSTM, rescale=False)[1].model.nets) == 8
    with pytest.raises(Skip, match="a Linear does not say what they are"):
        method_of("splitmix").setup(nn.Linear(2, 2), small_task(RESNET))
