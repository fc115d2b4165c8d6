"""DepthFL: which stages clients hold, how their classifiers learn from one another, and what is evaluated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close
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
    numbers,
    run,
    run_sent,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import Tensor, nn
from torch.nn import functional

from bench.api import Server, Skip, Update
from bench.cost.cost import cost_of
from bench.families import early_exits
from bench.models.multi_exit import MultiExit
from bench.tasks.base import Task
from methods.depthfl import ramp

MIXED = "0.3:0.5,1:0.5"


def small(name: str, **parameters: Any) -> tuple[Any, Server, Task]:
    task, method = small_task(name), method_of("depthfl", **parameters)
    return method, method.setup(initial(task), task), task


def submodel_of(method: Any, server: Server, keep: float, round_number: int = 1) -> MultiExit:
    (selection,) = selections_of(method, server, cohort_of(keep, round_number=round_number))
    submodel = method.extract(server, selection)
    assert isinstance(submodel, MultiExit)
    return submodel


@pytest.mark.parametrize(("name", "heads"), [(RESNET, "linear"), (CNN, "bottleneck"), (LSTM, "bottleneck")])
def test_a_client_holds_the_deepest_prefix_that_fits(name: str, heads: str) -> None:
    method, server, task = small(name, heads=heads)
    costs = []
    for count in range(1, len(method.sizes) + 1):
        part = method.part(server, method.sizes[count - 1])
        assert part.places == server.model.places[:count]
        costs.append(cost_of(part, task))
    needed = [of.trained_parameters + 32 * of.activations for of in costs]
    shares = [round(some / needed[-1], 2) for some in needed]
    assert shares == sorted(shares) and method.capacities == pytest.approx([some / needed[-1] for some in needed])
    for keep in (0.01, 0.3, 0.55, 0.8, 0.95, 1.0, *shares):
        fitting = [number for number, share in enumerate(shares) if share <= keep]
        assert method.number_of(keep) == (fitting[-1] if fitting else 0)


@pytest.mark.parametrize("name", TASKS)
def test_loss_and_gradients_are_those_of_the_rule(name: str) -> None:
    """Against cross entropies and divergences of PyTorch's own, in the round of weight exp(-5 (1 - 150/300)^2)."""
    method, server, task = small(name)
    submodel = submodel_of(method, server, 1.0, round_number=151)
    inputs, targets = batch_of(task, 6), torch.arange(6) % 2
    own = method.local_loss(submodel.train(), lambda: submodel(inputs), targets)
    gradients = torch.autograd.grad(own, list(submodel.parameters()))

    with submodel.each_head():
        outputs = submodel(inputs)
    logs = [_log_probabilities(logits) for logits in outputs]
    expected = torch.zeros(())
    for i, mine in enumerate(logs):
        expected = expected - mine[torch.arange(6), targets].mean()
        for j, other in enumerate(logs):
            if j != i:
                apart = functional.kl_div(mine, other.detach(), reduction="batchmean", log_target=True)
                expected = expected + math.exp(-1.25) * apart / (len(logs) - 1)
    torch.testing.assert_close(own, expected)
    for mine, other in zip(gradients, torch.autograd.grad(expected, list(submodel.parameters())), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def _log_probabilities(logits: Tensor) -> Tensor:
    """Of classes, also where one logit tells two of them apart."""
    return functional.log_softmax(torch.stack([torch.zeros_like(logits), logits], 1) if logits.ndim == 1 else logits, 1)


def test_the_weight_rises_as_published() -> None:
    assert ramp(0, 300) == pytest.approx(math.exp(-5)) and ramp(100, 300) == pytest.approx(math.exp(-20 / 9))
    assert ramp(300, 300) == ramp(1000, 300) == ramp(0, 0) == 1


def test_without_distillation_and_with_one_classifier_only_labels_are_learned() -> None:
    for parameters, keep in (({"distillation": False}, 1.0), ({}, 0.01)):
        method, server, task = small(CNN, **parameters)
        submodel = submodel_of(method, server, keep)
        inputs, targets = batch_of(task, 6), torch.arange(6)
        own = method.local_loss(submodel, lambda submodel=submodel, inputs=inputs: submodel(inputs), targets)
        with submodel.each_head():
            expected = sum(functional.cross_entropy(logits, targets) for logits in submodel(inputs))
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("weights", ["uniform", "samples"])
@pytest.mark.parametrize("name", TASKS)
def test_each_parameter_is_the_mean_over_its_holders(name: str, weights: str) -> None:
    method, server, _ = small(name, weights=weights)
    before, keeps = values_of(server.model), (0.01, 1.0, 0.85, 1.0)
    selections = selections_of(method, server, cohort_of(*keeps))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    holders = set()
    for parameter, base in before.items():
        held = [(place, update) for place, update in enumerate(updates) if parameter in update.parameters]
        shares = [10 * (place + 1) if weights == "samples" else 1 for place, _ in held]
        values = [update.parameters[parameter].double().numpy() for _, update in held]
        assert_close(after[parameter], np.average(values, 0, shares) if held else base.numpy())
        holders.add(len(held))
    assert {2, 4} <= holders


def test_with_an_exit_at_the_end_alone_it_is_fedavg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_exits, "stage_exits", lambda model: (len(model.exits()) - 1,))
    for name in (CNN, LSTM):
        reference, expected = run(federation("fedavg", name, parameters={"weights": "uniform"}))
        rounds, after = run(federation("depthfl", name, keep=1.0))
        end = f"heads.{[*after][-1].split('.')[1]}.linear."
        plain = {
            parameter.replace(end, "classifier.").removeprefix("net."): value for parameter, value in after.items()
        }
        assert_equal({parameter: plain[parameter] for parameter in expected}, expected)
        assert [this.score for this in rounds] == [this.score for this in reference]


def test_what_is_evaluated_is_the_mean_of_what_was_held_so_far() -> None:
    method, server, task = small(CNN)
    method.levels, inputs = (0.3, 1.0), batch_of(task, 4)
    assert len(method.full_model(server).places) == 2
    selections = selections_of(method, server, cohort_of(0.3, 0.3))
    server = method.aggregate(server, [update_of(method, server, one, 0.1) for one in selections], STREAMS)
    assert method.full_model(server).places == (0,)
    server = method.aggregate(
        server, [update_of(method, server, *selections_of(method, server, cohort_of(1.0)))], STREAMS
    )
    with server.model.each_head():
        each = server.model.eval()(inputs)
    torch.testing.assert_close(method.full_model(server).eval()(inputs), each.mean(0))
    models = dict(method.nested_models(server))
    torch.testing.assert_close(models[0.3].eval()(inputs), each[0])
    torch.testing.assert_close(models[1.0].eval()(inputs), each.mean(0))


def test_mixed_capacities_cost_what_they_hold_and_two_workers_agree() -> None:
    settings = {
        "keep": MIXED,
        "parameters": {"heads": "linear"},
        "training": {"rounds": 1, "clients": 4, "cohort": 4, "samples_per_client": 16, "standin_test": 20},
    }
    rounds, after = run(federation("depthfl", CNN, **settings))
    sizes = {member.client.keep: member for member in rounds[1].members}
    assert sizes[0.3].cost.parameters < sizes[1.0].cost.parameters == sum(value.numel() for value in after.values())
    for member in rounds[1].members:
        assert member.up_bytes == member.down_bytes == 4 * member.cost.parameters
    assert [level.keep for level in rounds[1].levels] == [0.3, 1.0]
    parallel = run_sent(federation("depthfl", CNN, **settings))
    assert parallel[0] == numbers(rounds)
    assert_equal(parallel[1], after)


def test_feddyn_is_that_of_its_rule_over_three_rounds() -> None:
    """Clients and server by hand, on the parameters of a classifier that all hold and of one that two do."""
    alpha, method, server, task = 0.5, *small(LSTM, feddyn=0.5)
    clients, names = task.recipe.clients, ("heads.0.linear.weight", "heads.1.linear.bias")
    theta = {name: values_of(server.model)[name].double() for name in names}
    state = {name: torch.zeros_like(theta[name]) for name in names}
    own = {(client, name): torch.zeros_like(theta[name]) for client in range(3) for name in names}
    for number, keeps in enumerate(((0.01, 1.0, 1.0), (1.0, 0.01, 1.0), (1.0, 1.0, 0.01))):
        updates, sums = [], {name: [] for name in names}
        for selection in selections_of(method, server, cohort_of(*keeps)):
            submodel, client = method.extract(server, selection), selection.client.number
            start = values_of(submodel)
            generator = torch.Generator().manual_seed(10 * number + client)
            for tensor in submodel.parameters():
                tensor.data += torch.randn(tensor.shape, generator=generator)
                tensor.grad = torch.zeros_like(tensor)
            method.adjust_gradients(submodel)
            for name in set(names) & start.keys():
                moved = submodel.get_parameter(name).detach().double() - start[name].double()
                expected = alpha * moved - own[client, name]
                torch.testing.assert_close(submodel.get_parameter(name).grad.double(), expected, rtol=1e-4, atol=1e-5)
                own[client, name] = own[client, name] - alpha * moved
                sums[name].append(start[name].double() + moved)
            local = {name: tensor.clone() for name, tensor in method.local_state(submodel).items()}
            updates.append(Update(selection, method.upload(submodel), local=local))
        server = method.aggregate(server, updates, STREAMS)
        for name, values in sums.items():
            mean = torch.stack(values).mean(0)
            state[name] = state[name] - alpha * len(values) / clients * (mean - theta[name])
            theta[name] = mean - state[name] / alpha
            torch.testing.assert_close(values_of(server.model)[name].double(), theta[name], rtol=1e-4, atol=1e-4)


def test_feddyn_costs_no_bytes_and_two_workers_agree() -> None:
    settings = {"keep": MIXED, "parameters": {"feddyn": 0.1}}
    rounds, _ = run(federation("depthfl", LSTM, **settings))
    plain, _ = run(federation("depthfl", LSTM, keep=MIXED))
    assert [(this.up_bytes, this.down_bytes) for this in rounds] == [(this.up_bytes, this.down_bytes) for this in plain]
    assert rounds[-1].score != plain[-1].score
    assert run_sent(federation("depthfl", LSTM, **settings))[0] == numbers(rounds)


def test_a_model_that_cannot_end_early_is_skipped() -> None:
    with pytest.raises(Skip, match="needs a model that can end early, and a Linear does not say where"):
        method_of("depthfl").setup(nn.Linear(2, 2), small_task(RESNET))
