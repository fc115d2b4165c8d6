"""InclusiveFL (EmbracingFL): where models are cut, what clients train, and how the server takes it together."""

from __future__ import annotations

from pathlib import Path
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
    run,
    run_sent,
    run_with,
    selections_of,
    small_task,
    update_of,
    values_of,
)
from torch import Tensor, nn

from bench.api import Method, Server, Skip
from bench.cell import Cell
from bench.config.cells import read_sweep
from bench.conformance import Status, Subject, run_check
from bench.cost.cost import Cost, cost_of
from bench.plugins import registry
from bench.simulation.simulator import Simulation
from bench.tasks.base import Task
from bench.training.engine import InlineEngine
from bench.training.local import Job, train_client

ROOT = Path(__file__).resolve().parents[2]
MIXED = "0.16:0.5,1:0.5"
STEM_AND_STAGE = ("stem", "stages.0")


def paper(name: str, levels: tuple[float, ...] = (0.16, 0.42, 1.0), **model: Any) -> tuple[Any, Server, Task]:
    cell = Cell(name, "inclusivefl", tier="paper", model=model)
    task, method = registry.task(name).build(cell), registry.method("inclusivefl").build(cell)
    method.levels = levels
    return method, method.setup(initial(task), task), task


def small(name: str, **parameters: Any) -> tuple[Any, Server, Task]:
    task, method = small_task(name), method_of("inclusivefl", **parameters)
    return method, method.setup(initial(task), task), task


def submodel_of(method: Method, server: Server, keep: float) -> nn.Module:
    (selection,) = selections_of(method, server, cohort_of(keep))
    return method.extract(server, selection)


def _share(cost: Cost, full: Cost, batch: int) -> float:
    part, whole = (of.trained_parameters + batch * of.activations for of in (cost, full))
    return part / whole


def trained_names(submodel: nn.Module) -> set[str]:
    return {name for name, tensor in submodel.named_parameters() if tensor.requires_grad}


@pytest.mark.parametrize(
    ("keep", "blocks", "parameters", "activations"),
    [(1.0, None, 272_762, 6_947_136), (0.42, 3, 257_994, 2_752_832), (0.16, 6, 206_346, 917_824)],
)
def test_resnet20_is_cut_as_published(keep: float, blocks: int | None, parameters: int, activations: int) -> None:
    method, server, task = paper(RESNET, architecture="resnet20")
    submodel = submodel_of(method, server, keep)
    removed = () if blocks is None else ("stem", *(f"stages.{block // 3}.{block % 3}." for block in range(blocks)))
    everything = set(values_of(server.model))
    assert trained_names(submodel) == {name for name in everything if not name.startswith(removed)}
    cost = cost_of(submodel, task)
    assert (cost.trained_parameters, 32 * cost.activations) == (parameters, activations)
    assert cost.parameters == 272_762 and cost.down_bytes == 4 * 272_762
    # One hundredth less does not fit any more.
    if keep < 1:
        assert len(trained_names(submodel_of(method, server, keep - 0.01))) < len(trained_names(submodel))


@pytest.mark.parametrize("batch", [32, 3])
@pytest.mark.parametrize("name", TASKS)
def test_a_client_trains_the_longest_output_side_that_fits(name: str, batch: int) -> None:
    method, server, task = small(name, capacity_batch=batch)
    parts, full, needed = method.parts, cost_of(server.model, task), []
    for frozen in range(len(parts)):
        model = initial(task)
        for parameter, tensor in model.named_parameters():
            tensor.requires_grad_(not any(parameter.startswith(prefix) for part in parts[:frozen] for prefix in part))
        needed.append(round(_share(cost_of(model, task), full, batch), 2))
    assert needed[0] == 1 and needed == sorted(needed, reverse=True)
    for keep in (0.01, 0.16, 0.42, 0.5, 0.9, 0.99, 1.0):
        fitting = [frozen for frozen, value in enumerate(needed) if value <= keep]
        expected = min(fitting) if fitting else len(parts) - 1
        assert method.frozen_parts(keep) == expected
        prefixes = tuple(prefix for part in parts[expected:] for prefix in part)
        submodel = submodel_of(method, server, keep)
        assert trained_names(submodel) == {
            parameter for parameter in values_of(server.model) if parameter.startswith(prefixes)
        }
        assert any(parameter.startswith("classifier") for parameter in trained_names(submodel))


def test_the_clients_of_the_shipped_sweeps_are_cut_as_published() -> None:
    """A narrower model and shorter batches leave the cuts of ResNet-20 where the slides have them."""
    for file in ("mixed-capacity.toml", "mixed-capacity-paper.toml"):
        cells = [cell for cell in read_sweep(ROOT / "sweeps" / file).cells if cell.method == "inclusivefl"]
        for cell in {(str(cell.model), str(cell.training)): cell for cell in cells}.values():
            task = registry.task(cell.task).build(cell)
            method: Any = registry.method(cell.method).build(cell)
            method.setup(initial(task), task)
            assert [method.frozen_parts(keep) for keep in (1.0, 0.42, 0.16)] == [0, 4, 7]


@pytest.mark.parametrize("weights", ["uniform", "samples"])
@pytest.mark.parametrize("name", TASKS)
def test_each_parameter_is_the_mean_over_those_who_trained_it(name: str, weights: str) -> None:
    method, server, _ = small(name, weights=weights)
    before, keeps = values_of(server.model), (0.01, 1.0, 0.6, 1.0)
    selections = selections_of(method, server, cohort_of(*keeps))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    holders = set()
    for parameter, base in before.items():
        total, weight = np.zeros(base.shape), 0
        for place, update in enumerate(updates):
            if parameter in update.parameters:
                share = 10 * (place + 1) if weights == "samples" else 1
                total += share * update.parameters[parameter].double().numpy()
                weight += share
        assert_close(after[parameter], total / weight)
        holders.add(sum(parameter in update.parameters for update in updates))
    assert holders == {2, 3, 4}


def test_what_nobody_trained_stays() -> None:
    method, server, _ = small(RESNET)
    before = values_of(server.model)
    selections = selections_of(method, server, cohort_of(0.3, 0.3))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    assert not any(name.startswith(STEM_AND_STAGE) for update in updates for name in update.parameters)
    after = values_of(method.aggregate(server, updates, STREAMS).model)
    for name, value in before.items():
        assert torch.equal(after[name], value) == (name not in updates[0].parameters)
    covered = method.coverage(server, selections[0])
    assert len(covered["stages.0.0.conv1.weight"][0]) == 0 and covered["stages.0.0.conv1.weight"][1] == 4
    assert torch.equal(covered["stages.3.1.conv2.weight"][0], torch.arange(32))


@pytest.mark.parametrize("name", TASKS)
def test_training_leaves_the_frozen_side_as_it_was_to_the_bit(name: str) -> None:
    built = federation("inclusivefl", name, keep=MIXED)
    server = built.method.setup(built.initial_model(), built.task)
    (selection,) = selections_of(built.method, server, cohort_of(0.16))
    submodel, before = built.method.extract(server, selection), values_of(server.model)
    trained = train_client(Job(0, 1, submodel), built)
    after = values_of(submodel)
    assert 0 < len(trained.parameters) < len(before)
    for parameter, value in before.items():
        assert torch.equal(after[parameter], value) == (parameter not in trained.parameters)
        tensor = submodel.get_parameter(parameter)
        assert tensor.requires_grad == (parameter in trained.parameters)


@pytest.mark.parametrize("name", TASKS)
def test_with_full_clients_alone_it_is_fedavg(name: str) -> None:
    reference, expected = run(federation("fedavg", name, parameters={"weights": "uniform"}))
    rounds, after = run(federation("inclusivefl", name, keep=1.0))
    assert_equal(after, expected)
    assert [this.score for this in rounds] == [this.score for this in reference]
    assert [this.up_bytes for this in rounds] == [this.up_bytes for this in reference]


def test_without_a_strong_client_it_is_skipped() -> None:
    built = federation("inclusivefl", CNN, keep=0.42)
    with pytest.raises(Skip, match=r"no client trains the full model \(the largest keep ratio is 0.42\)"):
        list(Simulation(built, InlineEngine(built)).rounds())
    with pytest.raises(Skip, match="Linear"):
        method_of("inclusivefl").setup(nn.Linear(2, 2), small_task(CNN))


def test_a_weak_client_receives_everything_and_sends_what_it_trained() -> None:
    built = federation("inclusivefl", CNN, keep=MIXED, training={"rounds": 3, "clients": 6, "cohort": 4})
    everything, classifier = 4 * 233_086, 4 * (62 * 3136 + 62)
    rounds, _ = run(built)
    members = [member for this in rounds for member in this.members]
    assert {member.client.keep for member in members} == {0.16, 1.0}
    for member in members:
        assert member.down_bytes == everything
        assert member.up_bytes == (everything if member.client.keep == 1 else classifier)


def test_two_workers_give_the_same_bits_as_this_process() -> None:
    cells = [federation("inclusivefl", CNN, keep="0.3:0.5,1:0.5") for _ in range(2)]
    inline, parallel = run_with(cells[0], 1), run_sent(cells[1])
    assert inline[0] == parallel[0]
    assert_equal(inline[1], parallel[1])


@pytest.mark.parametrize(
    ("frozen", "status"), [((2, 2, 0), Status.ok), ((2, 1, 0), Status.ok), ((2, 0, 0), Status.failed)]
)
def test_near_keep_ratios_may_be_the_same_cut_but_not_the_full_model(
    frozen: tuple[int, int, int], status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = registry.method("inclusivefl").kind
    cuts = dict(zip((0.25, 0.5, 1.0), frozen, strict=True))
    monkeypatch.setattr(kind, "frozen_parts", lambda method, keep: cuts[keep])
    assert run_check("costs grow with keep", Subject("inclusivefl", CNN)).status is status


def saved_bytes(task: Task, submodel: nn.Module) -> int:
    """Return the bytes that a step keeps for its backward pass, weights left out."""
    kept: dict[int, Tensor] = {}

    def noted(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    weights = {tensor.untyped_storage().data_ptr() for tensor in submodel.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(noted, lambda tensor: tensor):
        outputs = submodel.train()(batch_of(task, 32))
    loss = task.loss(outputs, torch.arange(32) % 2)
    loss.backward()
    for tensor in submodel.parameters():
        assert (tensor.grad is not None) == tensor.requires_grad
    return sum(tensor.untyped_storage().nbytes() for where, tensor in kept.items() if where not in weights)


def test_a_weak_clients_step_keeps_the_share_of_memory_that_its_capacity_says() -> None:
    method, server, task = paper(RESNET, architecture="resnet20")
    strong, moderate, weak = (saved_bytes(task, submodel_of(method, server, keep)) for keep in (1.0, 0.42, 0.16))
    assert moderate / strong == pytest.approx(0.42, abs=0.03)
    assert weak / strong == pytest.approx(0.16, abs=0.03)


def test_nothing_is_kept_for_lstm_layers_that_are_frozen() -> None:
    """Each layer is an operation of its own on the CPU, so that autograd leaves the frozen one out."""
    method, server, task = small(LSTM)
    kept = {}
    for frozen in range(4):
        method.frozen_parts = lambda keep, frozen=frozen: frozen
        kept[frozen] = saved_bytes(task, submodel_of(method, server, 0.5))
    first, second = kept[1] - kept[2], kept[2] - kept[3]
    assert first > 0 and second > 0
    # What both layers keep differs by their inputs alone, 6 and 8 numbers a step.
    assert first == pytest.approx(second, rel=0.2)


def test_capacities_count_by_two_digits_as_published() -> None:
    """0.4249 counts as 0.42, which a client of 0.42 affords, and 0.4251 as 0.43, which it does not."""
    method, _, _ = small(RESNET)
    method.capacities = [1.0, 0.4251, 0.4249, 0.1649, 0.1]
    assert [method.frozen_parts(keep) for keep in (1.0, 0.43, 0.42, 0.16)] == [0, 1, 2, 3]
