"""InclusiveFL of KDD 2022: groups by depth, what they share, and the momentum that passes from deeper ones."""

from __future__ import annotations

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
from torch import nn

from bench.api import Server, Skip, Update
from bench.models.multi_exit import MultiExit
from bench.tasks.base import Task

FIRST, SECOND = "stages.0.0.", "stages.0.1."
"""Blocks of ResNet-18 whose tensors have the same shapes."""


def small(name: str, **parameters: Any) -> tuple[Any, Server, Task]:
    task, method = small_task(name), method_of("inclusive_kdd", **parameters)
    return method, method.setup(initial(task), task), task


def three_groups(**parameters: Any) -> tuple[Any, Server, tuple[float, float, float]]:
    """Return a method for ResNet-18 whose clients have one block, two, or all, and their keep ratios."""
    method, server, _ = small(RESNET, **parameters)
    keeps = (0.01, round(method.capacities[1], 2), 1.0)
    assert [method.number_of(keep) for keep in keeps] == [0, 1, 7]
    method.levels = keeps
    return method, server, keeps


@pytest.mark.parametrize("name", TASKS)
def test_a_client_holds_the_first_blocks_and_a_classifier_behind_them(name: str) -> None:
    method, server, task = small(name)
    for place, size in enumerate(method.sizes):
        part = method.part(server, size)
        assert isinstance(part, MultiExit) and list(part.heads) == [str(place)]
        assert part(batch_of(task, 3)).shape == server.model(batch_of(task, 3)).shape
        full = values_of(server.model)
        for parameter, tensor in part.named_parameters():
            if parameter.startswith("net."):
                assert torch.equal(tensor, full[parameter.removeprefix("net.")])
    assert torch.equal(
        method.part(server, method.sizes[-1]).eval()(inputs := batch_of(task, 3)), server.model.eval()(inputs)
    )


class ByHand:
    """The rule written down with dictionaries of arrays, for groups of ResNet-18's first block, first two, and all."""

    def __init__(self, server: Server, beta: float) -> None:
        self.beta, self.shared = beta, {n: v.double().numpy() for n, v in values_of(server.model).items()}
        self.own: dict[int, dict[str, np.ndarray]] = {
            place: {
                name.partition("/")[2].partition("/")[2]: value.double().numpy()
                for name, value in server.memory.items()
                if name.startswith(f"own/{place}/")
            }
            for place in (0, 1)
        }
        self.momentum: dict[str, np.ndarray] = {}

    def model_of(self, place: int, names: list[str]) -> dict[str, np.ndarray]:
        found = {}
        for name in names:
            plain = name.replace("heads.7.linear.", "classifier.").removeprefix("net.")
            found[name] = self.own.get(place, {}).get(name, self.shared.get(plain, np.zeros(0)))
        return found

    def round(self, updates: list[Update], places: list[int]) -> None:
        sums: dict[str, np.ndarray] = {name: np.zeros_like(value) for name, value in self.shared.items()}
        counts, following = dict.fromkeys(self.shared, 0), {}
        for place, last in ((0, FIRST), (1, SECOND), (7, None)):
            group = [update for update, of in zip(updates, places, strict=True) if of == place]
            if not group:
                continue
            weights = [update.selection.client.samples for update in group]
            before = self.model_of(place, list(group[0].parameters))
            step = {
                name: np.average([update.parameters[name].double().numpy() for update in group], 0, weights) - value
                for name, value in before.items()
            }
            if place == 0:
                for name in before:
                    if name.startswith(f"net.{FIRST}"):
                        learned = self.momentum.get(name.replace(FIRST, SECOND), 0.0)
                        step[name] = (1 - self.beta) * step[name] + self.beta * learned
            if place == 1:
                following = {name: of for name, of in step.items() if name.startswith(f"net.{SECOND}")}
            for name, of in step.items():
                if last and (name.startswith((f"net.{last}", "heads."))):
                    self.own[place][name] = before[name] + of
                else:
                    plain = name.replace("heads.7.linear.", "classifier.").removeprefix("net.")
                    sums[plain] += len(group) * (before[name] + of)
                    counts[plain] += len(group)
        self.momentum = following
        self.shared |= {name: sums[name] / count for name, count in counts.items() if count}


@pytest.mark.parametrize("beta", [0.2, 0.0])
def test_three_rounds_are_those_of_the_rule(beta: float) -> None:
    """The second group is absent in the second round, so that the first learns nothing of it in the third."""
    method, server, keeps = three_groups(beta=beta)
    expected = ByHand(server, beta)
    for number, cohort in enumerate(((0, 1, 2, 0), (0, 2, 2), (1, 0, 0))):
        selections = selections_of(method, server, cohort_of(*(keeps[group] for group in cohort)))
        updates = [update_of(method, server, selection, 0.1, seed=number) for selection in selections]
        expected.round(updates, [(0, 1, 7)[group] for group in cohort])
        server = method.aggregate(server, updates, STREAMS)
        for name, value in values_of(server.model).items():
            assert_close(value, expected.shared[name])
        for place in (0, 1):
            part = dict(method.part(server, method.sizes[place]).named_parameters())
            for name, value in expected.model_of(place, list(part)).items():
                assert_close(part[name].detach(), value)


def test_momentum_passes_between_tensors_of_one_shape_alone() -> None:
    method, _, _ = three_groups()
    assert {name.partition(FIRST)[2] for name in method._corresponding(0, 1)} == {
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "norm1", "norm2") for kind in ("weight", "bias")
    } - {"conv1.bias", "conv2.bias"}
    assert method._corresponding(1, 7) == {}
    lstm, _, _ = small(LSTM)
    assert {name[-5:] for name in lstm._corresponding(0, 1)} == {"hh_l0", "ih_l0"}
    assert "net.lstm.weight_ih_l0" not in lstm._corresponding(0, 1)


def test_with_full_clients_alone_it_is_fedavg() -> None:
    reference, expected = run(federation("fedavg", CNN))
    rounds, after = run(federation("inclusive_kdd", CNN, keep=1.0))
    for parameter, value in expected.items():
        torch.testing.assert_close(after[parameter], value, rtol=1e-4, atol=1e-6)
    assert [this.up_bytes for this in rounds] == [this.up_bytes for this in reference]


def test_mixed_capacities_are_evaluated_at_each_level_and_two_workers_agree() -> None:
    settings = {
        "keep": "0.3:0.5,1:0.5",
        "training": {"rounds": 1, "clients": 4, "cohort": 4, "samples_per_client": 16, "standin_test": 20},
    }
    rounds, _ = run(federation("inclusive_kdd", CNN, **settings))
    small_one, whole = rounds[1].levels
    assert whole.score == rounds[1].score and small_one.cost.parameters < whole.cost.parameters == 233_086
    assert {member.up_bytes for member in rounds[1].members} == {
        4 * level.cost.parameters for level in rounds[1].levels
    }
    assert run_sent(federation("inclusive_kdd", CNN, **settings))[0] == numbers(rounds)


def test_what_no_client_has_held_is_not_evaluated() -> None:
    method, server, keeps = three_groups()
    assert method.full_model(server) is server.model
    (selection,) = selections_of(method, server, cohort_of(keeps[1]))
    server = method.aggregate(server, [update_of(method, server, selection, 0.1)], STREAMS)
    evaluated = method.full_model(server)
    assert isinstance(evaluated, MultiExit) and evaluated.places == (1,)
    assert_equal(values_of(evaluated), values_of(method.part(server, method.sizes[1])))


def test_a_model_that_cannot_end_early_is_skipped() -> None:
    with pytest.raises(Skip, match="needs a model that can end early, and a Linear does not say where"):
        method_of("inclusive_kdd").setup(nn.Linear(2, 2), small_task(RESNET))
