"""What a client takes, counted a second time from real sub-models, and the largest keep ratio that fits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from helpers import CNN, RESNET, cohort_of, federation, initial, method_of, run, selections_of, small_task
from torch import nn

from bench.api import Server, Skip
from bench.budget import fitting
from bench.budget.fitting import LEAST, STEPS, Counted, Fit, Scale, fits
from bench.budget.taken import Taken, taken_by
from bench.budget.written import UNITS, read_budget
from bench.cost.cost import CostMeter, cost_of
from bench.models.base import Model
from bench.models.multi_exit import MultiExit

METHODS = ("prism", "heterofl", "fedhm", "inclusivefl", "origdrop", "unbiased")


def scale_of(task: str = CNN, **model: int) -> Scale:
    return Scale(small_task(task, **model))


def counted_of(name: str, scale: Scale) -> Counted:
    return Counted(lambda: method_of(name), scale)


@pytest.mark.parametrize("name", METHODS)
def test_the_largest_keep_ratio_that_fits_is_the_one_of_going_through_all(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 60
    monkeypatch.setattr(fitting, "STEPS", steps)
    scale = scale_of()
    counted = counted_of(name, scale)
    found = 0
    for quantity, share in itertools.product(UNITS, (0.15, 0.45, 0.8)):
        fit, allowed = fits(counted, scale, read_budget(f"{quantity}={share}")), share * scale.full.of(quantity)
        inside = [step for step in range(1, steps + 1) if counted.at(step / steps).of(quantity) <= allowed]
        assert fit.keep == (max(inside) / steps if inside else None)
        if fit.keep is not None:
            assert fit.used[quantity] == counted.at(fit.keep).of(quantity) / allowed <= 1
            found += 1
    assert found


def test_several_limits_hold_together() -> None:
    scale = scale_of()
    counted = counted_of("heterofl", scale)
    alone = {words: fits(counted, scale, read_budget(words)).keep for words in ("memory=0.3", "macs=0.2", "bytes=0.5")}
    both = fits(counted, scale, read_budget(" ".join(alone)))
    known = [keep for keep in alone.values() if keep is not None]
    assert both.keep == min(known) and len(set(known)) > 1
    assert set(both.used) == {"memory", "macs", "bytes"}


def test_levels_are_found_one_by_one() -> None:
    scale = scale_of()
    counted = counted_of("heterofl", scale)
    mixed = read_budget("memory=0.2:0.5,0.6:0.5")
    found = [fits(counted, scale, mixed, level).keep for level in (0, 1)]
    assert found == [fits(counted, scale, read_budget(f"memory={share}")).keep for share in (0.2, 0.6)]


def test_what_never_fits_says_what_its_smallest_client_takes() -> None:
    scale = scale_of()
    found = fits(counted_of("inclusivefl", scale), scale, read_budget("parameters=0.5"))
    assert found == Fit(None, {"parameters": 2.0})  # it holds the whole model, whatever it trains
    assert LEAST == 1 / STEPS


def test_the_dense_model_of_keep_ratio_1_is_tried_before_large_factors() -> None:
    """FedHM's client of keep ratio 0.999 takes more than that of 1, which has the dense model."""
    scale = scale_of(RESNET)
    counted = counted_of("fedhm", scale)
    assert counted.at(0.999).memory > counted.at(1.0).memory == scale.full.memory
    assert fits(counted, scale, read_budget("memory=1")).keep == 1.0


def test_a_method_that_is_not_defined_says_so() -> None:
    scale = scale_of("lstm-imdb")
    with pytest.raises(Skip, match="not for LSTMs"):
        fits(counted_of("heterofl", scale), scale, read_budget("memory=0.5"))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_what_the_full_cnn_takes_is_that_of_a_real_step(momentum: float) -> None:
    """Bytes of a real step on the CPU: parameters, gradients, buffers of momentum, and what autograd keeps."""
    task = small_task(CNN)
    task.recipe = replace(task.recipe, momentum=momentum, batch_size=8)
    taken = Scale(task).full
    model = PlainCNN(initial(task))
    kept: dict[int, int] = {}
    own = {tensor.data_ptr() for tensor in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    inputs = torch.zeros(8, 1, 28, 28)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(inputs)
    outputs.sum().backward()
    numbers = sum(tensor.numel() for tensor in model.parameters())
    gradients = sum(tensor.grad.numel() for tensor in model.parameters() if tensor.grad is not None)
    copies = 2 if momentum else 1
    assert gradients == numbers
    assert taken.memory == pytest.approx(4 * (numbers + copies * numbers) + sum(kept.values()), rel=1e-3)
    assert taken.parameters == numbers
    assert taken.bytes == 2 * 4 * numbers


class PlainCNN(nn.Module):
    """The CNN in PyTorch's own layers: two convolutions, each with pooling and a ReLU in place, and the classifier."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        first, second, last = (tensor.shape for name, tensor in model.named_parameters() if name.endswith("weight"))
        self.first = nn.Conv2d(first[1], first[0], first[2], padding=first[2] // 2)
        self.second = nn.Conv2d(second[1], second[0], second[2], padding=second[2] // 2)
        self.last = nn.Linear(last[1], last[0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu_(nn.functional.max_pool2d(self.first(images), 2))
        hidden = torch.relu_(nn.functional.max_pool2d(self.second(hidden), 2))
        outputs: torch.Tensor = self.last(hidden.flatten(1))
        return outputs


@pytest.mark.parametrize("name", METHODS)
def test_bytes_are_those_of_a_real_round(name: str) -> None:
    built = federation(name, CNN, keep="0.4:0.5,1:0.5" if name == "inclusivefl" else 0.4)
    rounds, _ = run(built)
    members = [member for member in rounds[1].members if member.client.keep == 0.4]
    method = method_of(name)
    method.levels = built.cell.levels
    server = method.setup(built.initial_model(), built.task)
    taken = taken_by(method, server, built.task, 0.4, CostMeter(built.task))
    assert members
    for member in members:
        assert taken.bytes == member.down_bytes + member.up_bytes
        assert taken.parameters == member.cost.parameters
        assert taken.macs == member.cost.train_macs


def test_frozen_layers_have_no_gradient_and_keep_nothing() -> None:
    task = small_task(CNN)
    method = method_of("inclusivefl")
    method.levels = (0.3, 1.0)
    server = method.setup(initial(task), task)
    weak, full = (taken_by(method, server, task, keep, CostMeter(task)) for keep in (0.3, 1.0))
    (selection,) = selections_of(method, server, cohort_of(0.3))
    trained = sum(tensor.numel() for tensor in method.extract(server, selection).parameters() if tensor.requires_grad)
    held = sum(tensor.numel() for tensor in server.model.parameters())
    assert trained < held
    assert weak.memory < full.memory - 8 * (held - trained)  # and the activations of what is frozen


def test_counting_does_not_touch_the_next_count() -> None:
    """A method may change the server's memory when it selects: what is counted second is as if counted alone."""
    scale = scale_of()
    together, alone = counted_of("prism", scale), counted_of("prism", scale)
    first = [together.at(keep) for keep in (0.2, 0.7, 0.2)]
    assert first[0] == first[2] == alone.at(0.2)
    assert isinstance(first[0], Taken)
    keeps = (0.1, 0.4, 0.9)
    for less, more in itertools.pairwise(together.at(keep) for keep in keeps):
        assert all(less.of(quantity) <= more.of(quantity) for quantity in UNITS)


def test_a_server_is_left_for_the_run() -> None:
    task = small_task(CNN)
    model = initial(task)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    taken_by(method_of("fedavg"), Server(model), task, 1.0, CostMeter(task))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.named_parameters())


@pytest.mark.parametrize("method", ["prism", "fedhm"])
def test_factors_trained_in_turn_stay_within_the_budget_in_every_round(method: str) -> None:
    task = small_task(CNN)
    taken = {}
    for train in ("u", "v", "alternate"):
        built = method_of(method, train=train)
        taken[train] = taken_by(built, built.setup(initial(task), task), task, 0.4, CostMeter(task))
    for quantity in UNITS:
        assert taken["alternate"].of(quantity) == max(taken[side].of(quantity) for side in "uv")


def test_a_few_bytes_of_ones_own_are_no_reason_for_a_smaller_model() -> None:
    scale = scale_of()
    counted = counted_of("heterofl", scale)
    assert counted.at(1.0).memory > scale.full.memory
    assert fits(counted, scale, read_budget("memory=1")).keep == 1.0


def test_a_method_whose_costs_may_fall_is_counted_at_every_keep_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 50
    monkeypatch.setattr(fitting, "STEPS", steps)
    scale = scale_of()
    counted = Counted(lambda: method_of("flanc", basis_fraction=0.2), scale)
    amounts = [counted.at(step / steps).memory for step in range(1, steps + 1)]
    assert sorted(amounts) != amounts
    for share in (0.1, 0.23, 0.4, 0.6):
        inside = [step for step, amount in enumerate(amounts, 1) if amount <= share * scale.full.memory]
        assert fits(counted, scale, read_budget(f"memory={share}")).keep == (max(inside) / steps if inside else None)


def test_all_exits_of_a_client_are_counted() -> None:
    """ScaleFL predicts with the last exit and trains all; DepthFL's prediction is their mean."""
    task, method = small_task(CNN), method_of("scalefl")
    method.levels = (1.0,)
    server = method.setup(initial(task), task)
    (selection,) = selections_of(method, server, cohort_of(1.0))
    model = method.extract(server, selection)
    assert isinstance(model, MultiExit) and len(model.heads) > 1 and not model.ensemble
    last = cost_of(model, task)
    model.ensemble = True
    assert cost_of(model, task) == last
    with model.each_head(), torch.device("meta"):
        outputs = model.to("meta")(task.example(1, "meta"))
    assert all(output.grad_fn is not None for output in outputs.unbind())
