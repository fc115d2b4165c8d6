"""ScaleFL: how deep and how wide sub-models are, what their exits learn, and how narrow parts come back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, entry_means
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

from bench.api import Server, Skip
from bench.families import early_exits
from bench.models.multi_exit import MultiExit
from bench.tasks.base import Task

IMAGES = (RESNET, CNN)


def small(name: str, **parameters: Any) -> tuple[Any, Server, Task]:
    task, method = small_task(name), method_of("scalefl", **parameters)
    return method, method.setup(initial(task), task), task


def submodel_of(method: Any, server: Server, keep: float, round_number: int = 1) -> MultiExit:
    (selection,) = selections_of(method, server, cohort_of(keep, round_number=round_number))
    submodel = method.extract(server, selection)
    assert isinstance(submodel, MultiExit)
    return submodel


def test_levels_are_those_of_the_released_code() -> None:
    method, server, _ = small(RESNET)
    assert [(len(size.places), size.width) for size in method.sizes] == [(1, 0.7), (2, 0.7), (3, 0.75), (4, 1.0)]
    assert [size.width for size in small(CNN)[0].sizes] == [0.75, 1.0]
    assert method.capacities == sorted(method.capacities)
    between = (method.capacities[1] + method.capacities[2]) / 2
    submodel = submodel_of(method, server, between)
    assert submodel.places == server.model.places[:2]
    expected = {group: math.ceil(0.7 * size) for group, size in server.model.channels().items()}
    assert submodel.channels() == expected
    full = values_of(server.model)
    for name, tensor in submodel.named_parameters():
        assert torch.equal(tensor, full[name][tuple(slice(length) for length in tensor.shape)]), name


def _exits(name: str, round_number: int, **parameters: Any) -> tuple[Any, list[Any], Any, Any, MultiExit]:
    """Return a client's loss, its exits' logits, the targets, and the method, in a run of eight rounds."""
    method, server, task = small(name, **parameters)
    submodel = submodel_of(method, server, 1.0, round_number).train()
    inputs, targets = batch_of(task, 6), torch.arange(6)
    loss = method.local_loss(submodel, lambda: submodel(inputs), targets)
    with submodel.each_head():
        return loss, list(submodel(inputs).unbind()), targets, method, submodel


@pytest.mark.parametrize("name", IMAGES)
def test_without_distillation_the_loss_weighs_exits_by_their_number(name: str) -> None:
    loss, exits, targets, _, _ = _exits(name, 1)
    weights = np.arange(1, len(exits) + 1) / (len(exits) * (len(exits) + 1) / 2)
    expected = sum(w * functional.cross_entropy(own, targets) for w, own in zip(weights, exits, strict=True))
    torch.testing.assert_close(loss, expected)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(("mean", "teacher"), [("samples", "constant"), ("entries", "trained")])
def test_the_distillation_is_the_rules_after_a_quarter_of_the_rounds(mean: str, teacher: str) -> None:
    """Against PyTorch's divergence; the tiny recipe has two rounds, the first of which is none of them."""
    settings = {"distillation_weight": 0.5, "divergence_mean": mean, "teacher": teacher}
    loss, exits, targets, _, submodel = _exits(CNN, 2, **settings)
    first, last = exits
    soft = functional.softmax((last.detach() if teacher == "constant" else last) / 3, 1)
    apart = functional.kl_div(functional.log_softmax(first / 3, 1), soft, reduction="sum")
    apart = apart / (6 if mean == "samples" else 6 * 62)
    expected = functional.cross_entropy(first, targets) + 0.5 * 9 * apart
    expected = (expected + 2 * functional.cross_entropy(last, targets)) / 3
    torch.testing.assert_close(loss, expected)
    tensors = list(submodel.parameters())
    own = torch.autograd.grad(loss, tensors, retain_graph=True)
    for one, other in zip(own, torch.autograd.grad(expected, tensors), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    early = _exits(CNN, 1, **settings)
    plain = (functional.cross_entropy(early[1][0], targets) + 2 * functional.cross_entropy(early[1][1], targets)) / 3
    torch.testing.assert_close(early[0], plain)


@pytest.mark.parametrize("name", IMAGES)
def test_each_entry_is_the_mean_over_its_holders(name: str) -> None:
    method, server, _ = small(name, weights="samples", heads="linear")
    before, keeps = values_of(server.model), (0.01, 1.0, 0.65)
    axes, sizes = server.model.axes(), server.model.channels()
    selections = selections_of(method, server, cohort_of(*keeps))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for parameter in ("net.conv1.weight", "heads.0.linear.weight", "net.stages.1.0.conv1.weight"):
        if parameter not in before:
            continue
        held, weights = [], []
        for place, update in enumerate(updates):
            if parameter in update.parameters:
                values = update.parameters[parameter]
                # All channels are the leading ones, so that a block's positions are the first of each dimension.
                held.append((values, tuple(range(length) for length in values.shape)))
                weights.append(10.0 * (place + 1))
        assert all(axis is None or axis.outer == 1 for axis in axes[parameter]) and sizes
        assert_close(after[parameter], entry_means(before[parameter], held, weights))


def test_narrow_sub_models_divide_by_their_width_in_training_alone() -> None:
    method, server, task = small(CNN)
    inputs = batch_of(task, 3)
    scaled, plain = (submodel_of(of, server, 0.01) for of in (method, _sharing(method, scaler=False)))
    assert torch.equal(scaled.eval()(inputs), plain.eval()(inputs))
    states = [next(iter(model.train().net.hidden_states(inputs))) for model in (scaled, plain)]
    torch.testing.assert_close(states[0], states[1] / 0.75)


def _sharing(method: Any, **parameters: Any) -> Any:
    """Return the method with other parameters and the same setup."""
    other = method_of("scalefl", **parameters)
    other.task, other.sizes, other.shape = method.task, method.sizes, method.shape
    return other


def test_with_an_exit_at_the_end_alone_it_is_fedavg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_exits, "stage_exits", lambda model: (len(model.exits()) - 1,))
    reference, expected = run(federation("fedavg", CNN, parameters={"weights": "uniform"}))
    rounds, after = run(federation("scalefl", CNN, keep=1.0))
    plain = {
        name.replace("heads.1.linear.", "classifier.").removeprefix("net."): value for name, value in after.items()
    }
    assert_equal({name: plain[name] for name in expected}, expected)
    assert [this.score for this in rounds] == [this.score for this in reference]


def test_mixed_capacities_are_evaluated_at_each_level_and_two_workers_agree() -> None:
    training = {"rounds": 1, "clients": 4, "cohort": 4, "samples_per_client": 16, "standin_test": 20}
    settings = {"keep": "0.3:0.5,1:0.5", "parameters": {"heads": "linear", "distillation_weight": 0.1}}
    rounds, _ = run(federation("scalefl", CNN, training=training, **settings))
    assert [level.keep for level in rounds[1].levels] == [0.3, 1.0]
    assert rounds[1].levels[1].score == rounds[1].score
    assert {member.cost.parameters for member in rounds[1].members} == {
        level.cost.parameters for level in rounds[1].levels
    }
    parallel = run_sent(federation("scalefl", CNN, training=training, **settings))
    assert parallel[0] == numbers(rounds)


def test_where_it_is_not_defined_it_says_so() -> None:
    with pytest.raises(Skip, match="not for LSTMs"):
        small(LSTM)
    with pytest.raises(Skip, match="a Linear does not say where"):
        method_of("scalefl").setup(nn.Linear(2, 2), small_task(CNN))
    for widths in ("0.7,0.5,1", "0.7,0.8", "1.5", "0.5;1"):
        with pytest.raises(Exception, match=f"widths = '{widths}' is not possible"):
            method_of("scalefl", widths=widths)
