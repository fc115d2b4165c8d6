"""FIARSE: thresholds, masked steps, means over changed entries, and what an unstructured mask costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from aggregation import STREAMS, assert_close, random_tensor
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
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.api import Client, Method, Selection, Server, Skip, Update
from bench.cost.cost import Cost, bytes_of, cost_of
from bench.families.magnitude import kept_count, maskable
from bench.models.base import Model

NORMS = ("norm1", "norm2", "stem_norm", "project_norm")


def fiarse(name: str = CNN, levels: tuple[float, ...] = (1.0,), **parameters: Any) -> tuple[Method, Server]:
    task, method = small_task(name), method_of("fiarse", **parameters)
    method.levels = levels
    return method, method.setup(initial(task), task)


def scored(server: Server) -> dict[str, np.ndarray]:
    """Return the magnitudes of all parameters that have scores, found by their names."""
    return {
        name: np.abs(tensor.detach().double().numpy())
        for name, tensor in server.model.named_parameters()
        if name.split(".")[-2] not in NORMS and "embedding" not in name
    }


@pytest.mark.parametrize("name", [RESNET, CNN, LSTM])
@pytest.mark.parametrize("by", ["global", "layer"])
def test_the_largest_entries_are_kept(name: str, by: str) -> None:
    method, server = fiarse(name, thresholds=by)
    scores = scored(server)
    groups: dict[str, list[str]] = {}
    for weight in scores:
        groups.setdefault(weight.rpartition(".")[0] if by == "layer" else "", []).append(weight)
    for keep in (0.1, 0.5, 1.0):
        (selection,) = selections_of(method, server, cohort_of(keep))
        assert selection.indices.keys() == scores.keys()
        for names in groups.values():
            ordered = np.sort(np.concatenate([scores[weight].flatten() for weight in names]))[::-1]
            least = ordered[max(int(keep * len(ordered)), 1) - 1]
            for weight in names:
                kept = [place for place, score in enumerate(scores[weight].flatten()) if score >= least]
                assert selection.indices[weight].tolist() == kept


def test_counts_are_rounded_down_and_never_none() -> None:
    assert [kept_count(keep, 10) for keep in (0.05, 0.1, 0.3, 0.7, 0.29, 1.0)] == [1, 1, 3, 7, 2, 10]


def test_a_layer_that_keeps_nothing_computes_zeros() -> None:
    method, server = fiarse()
    with torch.no_grad():
        for name in ("weight", "bias"):
            server.model.get_parameter(f"conv2.{name}").mul_(1e-6)
    (selection,) = selections_of(method, server, cohort_of(0.1))
    submodel = method.extract(server, selection)
    assert submodel.get_parameter("conv2.weight_values").numel() == 0
    submodel(batch_of(small_task(CNN))).sum().backward()  # a later layer's bias still gets its gradient
    assert submodel.get_parameter("classifier.bias_values").grad is not None


def dense_step(model: Model, kept: Mapping[str, Tensor], least: float, follows: bool, lr: float, batch: Any) -> None:
    """Make two steps of plain descent on a full model by the rule, with masks made anew at each step."""
    held = {
        name: torch.zeros(tensor.numel(), dtype=torch.bool).index_fill_(0, kept[name], True).view_as(tensor)
        for name, tensor in model.named_parameters()
        if name in kept
    }
    samples, targets = batch
    for _ in range(2):
        own = values_of(model)
        masks = {name: flags & (own[name].abs() >= least) for name, flags in held.items()}
        for name, tensor in model.named_parameters():
            tensor.data = own[name] * masks[name] if name in masks else own[name]
        model.zero_grad()
        cross_entropy(model(samples), targets).backward()
        for name, tensor in model.named_parameters():
            assert tensor.grad is not None
            factor = torch.ones_like(own[name])
            if name in masks:
                size = own[name].abs()
                slope = 2 * least * size / (size + least) ** 2 if follows else 0
                factor = masks[name] * (1 + slope)
            tensor.data = own[name] - lr * factor * tensor.grad


@pytest.mark.parametrize("gradient", ["threshold", "plain"])
def test_local_steps_are_those_of_a_full_model_that_is_masked_at_each(gradient: str) -> None:
    method, server = fiarse(gradient=gradient)
    (selection,) = selections_of(method, server, cohort_of(0.4))
    submodel, task = method.extract(server, selection).train(), small_task(CNN)
    batch = batch_of(task, 6), torch.randint(0, 62, (6,), generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        submodel.zero_grad()
        cross_entropy(submodel(batch[0]), batch[1]).backward()
        for tensor in submodel.parameters():
            assert tensor.grad is not None
            tensor.data -= 0.5 * tensor.grad
    by_hand = initial(task).train()
    scores = scored(server)
    least = min(
        float(scores[name].flatten()[places].min()) for name, places in selection.indices.items() if len(places)
    )
    dense_step(by_hand, selection.indices, least, gradient == "threshold", 0.5, batch)
    moved = 0.0
    for name, tensor in by_hand.named_parameters():
        places = selection.indices[name]
        mine, theirs = submodel.get_parameter(f"{name}_values").detach(), tensor.detach().flatten()[places]
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        moved += float((theirs - server.model.get_parameter(name).detach().flatten()[places]).abs().sum())
        assert torch.equal(_without(tensor, places), _without(server.model.get_parameter(name), places))
    assert moved > 0.1


def _without(tensor: Tensor, places: Tensor) -> Tensor:
    flags = torch.ones(tensor.numel(), dtype=torch.bool)
    flags[places] = False
    return tensor.detach().flatten()[flags]


@pytest.mark.parametrize(("mean", "weights"), [("changed", "uniform"), ("held", "uniform"), ("changed", "samples")])
def test_entries_become_means_over_clients_of_mixed_capacity(mean: str, weights: str) -> None:
    method, server = fiarse(RESNET, mean=mean, weights=weights)
    selections = selections_of(method, server, cohort_of(0.2, 0.5, 1.0))
    updates = [update_of(method, server, selection, noise=0.1) for selection in selections]
    updates[2].parameters["stages.1.0.conv1.weight_values"][::2] = (
        server.model.get_parameter("stages.1.0.conv1.weight").detach().flatten()[::2]
    )  # half of them unchanged
    before = values_of(server.model)
    expected = {}
    for name, tensor in before.items():
        sums, counts = np.zeros(tensor.numel()), np.zeros(tensor.numel())
        old = tensor.flatten().tolist()
        for update in updates:
            share = update.selection.client.samples if weights == "samples" else 1
            places = update.selection.indices.get(name)
            sent = update.parameters[name if places is None else f"{name}_values"].flatten().tolist()
            for value, place in zip(sent, range(len(old)) if places is None else places.tolist(), strict=True):
                sums[place] += share * (value - old[place])
                counts[place] += share * (1 if mean == "held" else value != old[place])
        expected[name] = np.array(old) + sums / np.where(counts, counts, 1)
    after = values_of(method.aggregate(server, iter(updates), STREAMS).model)
    for name, tensor in after.items():
        assert_close(tensor.flatten(), expected[name], 1e-5)


def test_full_clients_with_plain_gradients_are_fedavg() -> None:
    """The threshold is then the least magnitude of all: only entries that come to lie within it of zero stay there."""
    training = {"momentum": 0.0, "weight_decay": 0.0, "rounds": 1}
    parameters = {"gradient": "plain", "mean": "held", "weights": "samples"}
    _, mine = run(federation("fiarse", CNN, keep=1.0, training=training, parameters=parameters))
    _, theirs = run(federation("fedavg", CNN, training=training))
    start = values_of(initial(small_task(CNN)))
    apart = sum(float((mine[name] - value).square().sum()) for name, value in theirs.items())
    assert apart < 1e-6 * sum(float((start[name] - value).square().sum()) for name, value in theirs.items())


def costs(keep: float, name: str = CNN, **parameters: Any) -> tuple[Cost, int, nn.Module]:
    method, server = fiarse(name, **parameters)
    (selection,) = selections_of(method, server, cohort_of(keep))
    submodel = method.extract(server, selection)
    return cost_of(submodel, small_task(name)), bytes_of(method.received(server, selection, submodel)), submodel


@pytest.mark.parametrize("name", [RESNET, CNN, LSTM])
def test_bytes_are_values_and_the_cheaper_of_bitmap_and_indices(name: str) -> None:
    full = cost_of(initial(small_task(name)), small_task(name))
    seen = set()
    for keep in (0.01, 0.3, 1.0) if name == CNN else (0.02,):
        cost, down, submodel = costs(keep, name)
        held = whole = 0
        for weight, tensor in initial(small_task(name)).named_parameters():
            if weight in dict(submodel.named_parameters()):
                whole += 4 * tensor.numel()
                continue
            kept = submodel.get_parameter(f"{weight}_values").numel()
            bits, indices = -(-tensor.numel() // 8), 4 * kept
            seen.add(bits < indices)
            held += 4 * kept + min(bits, indices)
        assert down == held + whole
        assert (cost.macs, cost.train_macs, cost.activations) == (full.macs, full.train_macs, full.activations)
        method, _ = fiarse(name)
        assert bytes_of(method.upload(submodel).values()) == 4 * cost.parameters  # the server knows where they lie
    if name == CNN:
        assert seen == {True, False}


@pytest.mark.parametrize("by", ["global", "layer"])
def test_no_cost_falls_where_the_keep_ratio_grows(by: str) -> None:
    before: tuple[int, ...] = (0,)
    for keep in (0.001, 0.03, 0.0313, 0.05, 0.5, 0.97, 1.0):
        cost, down, _ = costs(keep, thresholds=by)
        now = (down, cost.parameters, cost.ideal_macs, cost.ideal_train_macs)
        assert all(one <= other for one, other in zip(before, now, strict=False))
        before = now


def test_evaluated_is_the_mask_of_the_strongest_and_of_each_keep_ratio() -> None:
    method, server = fiarse(RESNET, levels=(0.2, 0.6))
    inputs = batch_of(small_task(RESNET))
    nested = dict(method.nested_models(server))
    assert list(nested) == [0.2, 0.6]
    for keep, model in nested.items():
        (selection,) = selections_of(method, server, cohort_of(keep))
        assert torch.equal(model(inputs), method.extract(server, selection)(inputs))
    full = method.full_model(server)
    assert torch.equal(full(inputs), nested[0.6](inputs))
    for name, tensor in maskable(full):
        raise AssertionError(f"{name} is held whole ({tensor.numel()})")
    keeping, server = fiarse(RESNET, levels=(0.2, 0.6), tail="keep")
    assert keeping.full_model(server) is server.model


def test_what_nobody_held_stays_and_every_entry_that_was_is_covered() -> None:
    method, server = fiarse()
    selections = selections_of(method, server, cohort_of(0.3, 0.1))
    before = values_of(server.model)
    units = method.coverage(server, selections[0])
    assert {name: size for name, (_, size) in units.items()} == {name: value.numel() for name, value in before.items()}
    after = method.aggregate(server, iter([update_of(method, server, one, 0.1) for one in selections]), STREAMS).model
    for name, tensor in after.named_parameters():
        places = selections[0].indices[name]
        assert torch.equal(_without(tensor, places), _without(before[name], places))
        assert not len(places) or bool((tensor.detach().flatten() != before[name].flatten())[places].any())


def test_it_is_not_defined_where_a_mask_has_nothing_to_prune() -> None:
    method = method_of("fiarse")
    with pytest.raises(Skip, match="LayerNorm has no convolution, linear layer or LSTM that a mask could prune"):
        method.setup(nn.LayerNorm(3), small_task(CNN))


def test_an_update_of_whole_weights_alone_counts_as_it_is() -> None:
    method, server = fiarse(RESNET)
    name, client = "stem_norm.bias", Client(0, 3, 0.5)
    value = random_tensor(4)
    following = method.aggregate(server, iter([Update(Selection(client), {name: value})]), STREAMS)
    torch.testing.assert_close(following.model.get_parameter(name).detach(), value)
