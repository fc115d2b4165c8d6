"""When one sub-model can be trained in another's memory."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from trained import build, jobs_of

from bench.models.factorise import low_rank_layers
from bench.training import replica
from bench.training.local import Job
from bench.training.shape import Incomparable, shape_of


def test_two_clients_of_a_kind_differ_in_values_alone() -> None:
    built = build("prism")
    first, second = jobs_of(built, 2)
    assert replica.kind_of(first, built) == replica.kind_of(second, built)
    assert not torch.equal(first.submodel.conv2.weight_u, second.submodel.conv2.weight_u)  # type: ignore[arg-type]


def stride(model: nn.Module) -> None:
    model.conv1.stride = (2, 2)


def order(model: nn.Module) -> None:
    model.conv1.weight.data = model.conv1.weight.data.to(memory_format=torch.channels_last)


def width(model: nn.Module) -> None:
    model.conv1.bias = nn.Parameter(torch.zeros(1))


def truth(model: nn.Module) -> None:
    model.flag = 1


def frozen(model: nn.Module) -> None:
    model.conv1.bias.requires_grad = False


def missing(model: nn.Module) -> None:
    model.conv1.bias = None


def tied(model: nn.Module) -> None:
    model.conv1.bias = model.conv2.bias


def kind(model: nn.Module) -> None:
    model.conv1.weight = nn.Parameter(model.conv1.weight.detach().double())


@pytest.mark.parametrize("how", [stride, order, width, truth, frozen, missing, tied, kind])
def test_whatever_else_differs_is_another_shape(how: Callable[[nn.Module], None]) -> None:
    model = jobs_of(build("fedavg"))[0].submodel
    model.flag = True  # type: ignore[assignment]
    other = copy.deepcopy(model)
    assert shape_of(other) == shape_of(model)
    how(other)
    assert shape_of(other) != shape_of(model)


def test_what_a_submodel_carries_is_no_part_of_its_shape_but_that_of_a_module_within_is() -> None:
    model = jobs_of(build("fedavg"))[0].submodel
    model.carried = ("conv1.weight",)  # type: ignore[assignment]
    other = copy.deepcopy(model)
    other.carried = {"conv2.weight": torch.zeros(1)}  # type: ignore[assignment]
    assert shape_of(other) == shape_of(model)
    other.conv1.carried = 1  # type: ignore[union-attr]
    changed = copy.deepcopy(other)
    changed.conv1.carried = 2  # type: ignore[union-attr]
    assert len({shape_of(each) for each in (model, other, changed)}) == 3


def test_tensors_that_share_memory_and_gradients_are_incomparable() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight.data = model[0].weight.data  # type: ignore[union-attr]
    with pytest.raises(Incomparable, match="share memory"):
        shape_of(model)
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(Incomparable, match="gradient"):
        shape_of(model)


def test_what_decides_of_training_beside_the_submodel_is_part_of_a_kind() -> None:
    built = build("prism")
    (job,) = jobs_of(built)
    kinds = {replica.kind_of(job, built)}
    kinds.add(replica.kind_of(Job(job.client, 1, job.submodel, reference=True), built))
    built.method.decay_free = lambda submodel: set()  # type: ignore[method-assign]
    kinds.add(replica.kind_of(job, built))
    assert len(kinds) == 3
    assert low_rank_layers(job.submodel)
