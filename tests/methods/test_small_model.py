"""A small model for all: its costs, what it starts from, and when it is FedAvg."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import (
    CNN,
    LSTM,
    RESNET,
    TASKS,
    assert_equal,
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

from bench.api import Skip, Streams
from bench.cost.cost import capacity, cost_of
from bench.models.base import Model, blank
from bench.models.factorise import narrowed
from bench.models.initialise import initial_values
from bench.models.resnet import ResNet18, ResNet20


def setup(name: str, *levels: float, model: dict[str, Any] | None = None, **parameters: Any) -> Any:
    task, method = small_task(name, **(model or {})), method_of("small_model", **parameters)
    method.levels = levels
    full = initial(task)
    return task, method, method.setup(full, task), full


@pytest.mark.parametrize(("name", "rival"), [(RESNET, "heterofl"), (CNN, "heterofl"), (LSTM, "origdrop")])
@pytest.mark.parametrize("keep", [0.3, 1.0])
def test_a_client_has_the_costs_of_heterofls_sub_model(name: str, rival: str, keep: float) -> None:
    task, method, server, _ = setup(name, keep)
    theirs = method_of(rival)
    theirs.levels = (keep,)
    held = theirs.setup(initial(task), task)
    costs = []
    for each, state in ((method, server), (theirs, held)):
        (selection,) = selections_of(each, state, cohort_of(keep))
        submodel = each.extract(state, selection)
        sent = sum(tensor.nbytes for tensor in each.received(state, selection, submodel))
        costs.append((cost_of(submodel, task), sent, sum(tensor.nbytes for tensor in each.upload(submodel).values())))
    assert costs[0] == costs[1]


def test_what_is_evaluated_is_what_the_weakest_client_can_train() -> None:
    _, method, server, full = setup(CNN, 0.25, 0.5, 1.0)
    assert server.model.channels() == {"conv1": 16, "conv2": 16} and full.channels() == {"conv1": 64, "conv2": 64}
    for selection in selections_of(method, server, cohort_of(0.25, 0.5, 1.0)):
        assert_equal(values_of(method.extract(server, selection)), values_of(server.model))
    assert method.full_model(server) is server.model and not list(method.nested_models(server))


@pytest.mark.parametrize("name", TASKS)
def test_initial_values_are_drawn_for_the_small_network(name: str) -> None:
    """Not cut out of the large one, whose values would be too small for so few inputs."""
    task, _, server, full = setup(name, 0.5)
    by_hand = blank(task.model().narrow({group: -(-size // 2) for group, size in full.channels().items()}))
    task.initialise(by_hand, initial_values(0))
    assert_equal(values_of(server.model), values_of(by_hand))
    kept = {group: torch.arange(-(-size // 2)) for group, size in full.channels().items()}
    cut_out = values_of(narrowed(full, kept))
    assert any(not torch.equal(value, cut_out[each]) for each, value in values_of(server.model).items())


@pytest.mark.parametrize("weights", ["samples", "uniform"])
def test_the_server_averages_as_fedavg(weights: str) -> None:
    _, method, server, _ = setup(CNN, 0.2, weights=weights)
    updates = [update_of(method, server, s, 0.1) for s in selections_of(method, server, cohort_of(0.2, 0.2, 1.0))]
    counts = [10.0, 20.0, 30.0] if weights == "samples" else [1.0, 1.0, 1.0]
    wanted = {
        name: sum(count * update.parameters[name] for count, update in zip(counts, updates, strict=True)) / sum(counts)
        for name, _ in server.model.named_parameters()
    }
    after = method.aggregate(server, iter(updates), Streams(0, "aggregation", 1))
    for name, tensor in after.model.named_parameters():
        torch.testing.assert_close(tensor.detach(), wanted[name])


@pytest.mark.parametrize(("name", "shape"), [(CNN, "narrow"), (LSTM, "narrow"), (LSTM, "shallow")])
def test_keep_1_is_fedavg_to_the_bit(name: str, shape: str) -> None:
    ours, after = run(federation("small_model", name, keep=1.0, parameters={"shape": shape}, training={"rounds": 2}))
    theirs, wanted = run(federation("fedavg", name, training={"rounds": 2}))
    assert_equal(after, wanted)
    assert [this.score for this in ours] == [this.score for this in theirs]


@pytest.mark.parametrize(("kind", "blocks"), [(ResNet18, 2), (ResNet20, 3)])
def test_a_shallower_resnet_lacks_the_last_blocks_of_every_stage(kind: Any, blocks: int) -> None:
    task = small_task(RESNET, architecture="resnet20" if kind is ResNet20 else "resnet18")
    full = initial(task)
    assert isinstance(full, kind)
    small = full.shallower()
    assert [model.block_count for model in small] == list(range(blocks - 1, 0, -1))
    for model in small:
        blank(model)
        values = dict(full.named_parameters())
        for name, tensor in model.named_parameters():
            tensor.data = values[name].detach().clone()
        hidden = full.stem_norm(full.stem(batch_of(task)), relu=True)
        for stage in full.stages:
            for block in list(stage)[: model.block_count]:
                hidden = block(hidden)
        torch.testing.assert_close(model(batch_of(task)), full.classifier(hidden.mean((2, 3))))
        _says_of_itself_what_it_is(model)


def test_a_shallower_lstm_has_one_layer() -> None:
    task = small_task(LSTM)
    (model,) = initial(task).shallower()
    blank(model)
    task.initialise(model, torch.Generator().manual_seed(1))
    states, _ = model.lstm(model.embedding(batch_of(task)))
    assert model.lstm.num_layers == 1 and model.factorable == ("lstm.weight_ih_l0", "lstm.weight_hh_l0")
    torch.testing.assert_close(model(batch_of(task)), model.classifier(states[:, -1])[:, 0])
    _says_of_itself_what_it_is(model)


def _says_of_itself_what_it_is(model: Model) -> None:
    """What a model tells of its structure holds for a shallower one, narrowed again."""
    names = [name for name, _ in model.named_parameters()]
    assert set(model.axes()) == set(names) >= set(model.factorable)
    prefixes = [prefix for part in model.parts() for prefix in part]
    assert all(sum(name.startswith(prefix) for prefix in prefixes) == 1 for name in names)
    narrow = narrowed(model, {group: torch.arange(-(-size // 2)) for group, size in model.channels().items()})
    assert [name for name, _ in narrow.named_parameters()] == names
    assert len(narrow.shallower()) == len(model.shallower())


def test_shallow_takes_the_deepest_network_of_that_capacity() -> None:
    task = small_task(RESNET, architecture="resnet20")
    full = task.model()
    whole, *less = (cost_of(each, task) for each in (full, *full.shallower()))
    middle, least = (round(capacity(cost, whole, task.recipe.batch_size), 2) for cost in less)
    assert least < middle < 1
    for keep, blocks in ((1.0, 3), (0.999, 2), (middle, 2), (middle - 0.01, 1), (least / 2, 1)):
        _, _, server, _ = setup(RESNET, keep, 1.0, model={"architecture": "resnet20"}, shape="shallow")
        assert server.model.block_count == blocks, keep


def test_where_it_is_not_defined() -> None:
    task = small_task(CNN)
    with pytest.raises(Skip, match="a CNN has no blocks that can be left out; shape=narrow"):
        method_of("small_model", shape="shallow").setup(initial(task), task)
    with pytest.raises(Skip, match="Linear does not say how it can be made smaller"):
        method_of("small_model").setup(nn.Linear(2, 2), task)


def test_clients_of_mixed_capacity_all_train_it_and_it_learns() -> None:
    training = {"rounds": 3, "local_epochs": 3}
    rounds, _ = run(federation("small_model", CNN, keep="0.25:0.5,1:0.5", training=training))
    assert len({cost.parameters for this in rounds for cost in this.costs}) == 1
    assert rounds[-1].train_loss < rounds[1].train_loss
