"""NeFL: how sub-models are scaled, what each has for itself, and how the rest comes back."""

from __future__ import annotations

import itertools
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
from torch.nn import functional

from bench.api import Server, Skip, Streams
from bench.models.stepped import Stepped, SteppedBlock
from bench.tasks.base import Task

LEVELS = (0.2, 0.6, 1.0)


def small(architecture: str = "resnet18", **parameters: Any) -> tuple[Any, Server, Task]:
    task, method = small_task(RESNET, architecture=architecture), method_of("nefl", **parameters)
    method.levels = LEVELS
    return method, method.setup(initial(task), task), task


def is_own(name: str) -> bool:
    return name.endswith(".step") or "norm" in name


@pytest.mark.parametrize(
    ("scaling", "keep", "blocks", "width"),
    [
        ("both", 0.2, 1, 0.2**0.25),
        ("both", 0.6, 2, 0.6**0.25),
        ("width", 0.2, 3, math.sqrt(0.2)),
        ("depth", 0.2, 1, 1.0),
        ("depth", 0.6, 2, 1.0),
        ("both", 1.0, 3, 1.0),
    ],
)
def test_width_and_depth_take_the_same_share(scaling: str, keep: float, blocks: int, width: float) -> None:
    method, server, _ = small("resnet20", scaling=scaling)
    part = method.part(server, keep)
    assert [len(stage) for stage in part.net.stages] == [blocks] * 3
    full = values_of(server.model)
    assert part.channels() == {group: math.ceil(width * size) for group, size in server.model.channels().items()}
    for name, tensor in part.named_parameters():
        assert torch.equal(tensor, full[name][tuple(slice(length) for length in tensor.shape)])


def test_parameters_and_operations_never_fall_where_the_keep_ratio_rises() -> None:
    for architecture in ("resnet18", "resnet20"):
        method, server, _ = small(architecture)
        sizes = [
            (
                method.blocks(keep),
                sum(method.counts(keep).values()),
                sum(t.numel() for t in method.part(server, keep).parameters()),
            )
            for keep in np.linspace(0.05, 1, 20)
        ]
        assert all(a <= b for one, other in itertools.pairwise(sizes) for a, b in zip(one, other, strict=True))


def test_a_block_is_a_step_of_the_size_that_is_learned() -> None:
    _, server, _ = small()
    block = server.model.net.stages[1][0]
    assert isinstance(block, SteppedBlock)
    block.step.data.fill_(0.7)
    t = values_of(block)
    inputs = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def norm(hidden: torch.Tensor, name: str) -> torch.Tensor:
        return functional.batch_norm(hidden, None, None, t[f"{name}.weight"], t[f"{name}.bias"], training=True)

    hidden = functional.relu(norm(functional.conv2d(inputs, t["conv1.weight"], stride=2, padding=1), "norm1"))
    branch = norm(functional.conv2d(hidden, t["conv2.weight"], padding=1), "norm2")
    shortcut = norm(functional.conv2d(inputs, t["project.weight"], stride=2), "project_norm")
    expected = functional.relu(shortcut + 0.7 * branch)
    torch.testing.assert_close(block(inputs), expected, rtol=1e-4, atol=1e-5)
    block(inputs).square().sum().backward()
    assert block.step.grad is not None and float(block.step.grad) != 0


@pytest.mark.parametrize("inconsistent", ["steps+norms", "steps", "none"])
def test_consistent_entries_are_means_over_holders_and_others_over_the_sub_models_clients(inconsistent: str) -> None:
    method, server, _ = small(inconsistent=inconsistent)
    before = values_of(server.model)
    parts = {keep: values_of(method.part(server, keep)) for keep in LEVELS}
    keeps = (0.2, 1.0, 0.2, 0.6)
    selections = selections_of(method, server, cohort_of(*keeps))
    updates = [update_of(method, server, selection, 0.1) for selection in selections]
    server = method.aggregate(server, updates, STREAMS)
    after = values_of(server.model)
    own = {"steps+norms": is_own, "steps": lambda name: name.endswith(".step"), "none": lambda name: False}[
        inconsistent
    ]
    looked_at = ("net.stages.0.0.conv1.weight", "net.stages.0.1.conv2.weight", "net.stages.0.0.norm1.weight",
                 "net.stages.0.0.step", "net.classifier.bias")  # fmt: skip
    for name in looked_at:
        if own(name):
            for keep in LEVELS:
                group = [
                    update.parameters[name].numpy() for update, of in zip(updates, keeps, strict=True) if of == keep
                ]
                own_now = values_of(method.part(server, keep)).get(name)
                if own_now is not None:
                    assert_close(own_now, np.mean(group, 0) if group else parts[keep][name].numpy())
            assert_close(after[name], updates[1].parameters[name].numpy())
        else:
            held = [update.parameters[name] for update in updates if name in update.parameters]
            blocks = [(values, tuple(range(length) for length in values.shape)) for values in held]
            assert_close(after[name], entry_means(before[name], blocks, [1.0] * len(blocks)))


def test_a_sub_model_without_clients_keeps_its_norms_while_others_move() -> None:
    method, server, _ = small()
    before = {keep: values_of(method.part(server, keep)) for keep in LEVELS}
    selections = selections_of(method, server, cohort_of(0.6, 1.0))
    server = method.aggregate(server, [update_of(method, server, one, 0.1) for one in selections], STREAMS)
    after = {keep: values_of(method.part(server, keep)) for keep in LEVELS}
    for name, value in before[0.2].items():
        assert torch.equal(after[0.2][name], value) == is_own(name), name
    assert not any(torch.equal(after[0.6][name], value) for name, value in before[0.6].items())


def test_without_steps_a_full_client_is_fedavgs() -> None:
    training = {"rounds": 1, "samples_per_client": 16, "standin_test": 20}
    _, expected = run(federation("fedavg", RESNET, parameters={"weights": "uniform"}, training=training))
    _, after = run(federation("nefl", RESNET, keep=1.0, parameters={"steps": "none"}, training=training))
    assert_equal({name.removeprefix("net."): value for name, value in after.items()}, expected)


def test_in_width_alone_and_with_nothing_of_its_own_it_is_plain_heterofl() -> None:
    """At the square root of the keep ratio: that share of the channels leaves the keep ratio's share of the weights."""
    training = {"rounds": 1, "clients": 4, "cohort": 4, "samples_per_client": 16, "standin_test": 20}
    plain = {"scaler": False, "masked_loss": False, "label_rows": False, "statistics": "batch"}
    settings = {"scaling": "width", "steps": "none", "inconsistent": "none"}
    rounds, expected = run(federation("heterofl", RESNET, keep="0.5:0.5,1:0.5", parameters=plain, training=training))
    mine, after = run(federation("nefl", RESNET, keep="0.25:0.5,1:0.5", parameters=settings, training=training))
    assert [m.cost.parameters for m in mine[1].members] == [m.cost.parameters for m in rounds[1].members]
    assert_equal({name.removeprefix("net."): value for name, value in after.items()}, expected)


def test_clients_may_draw_the_sub_models_of_near_levels() -> None:
    method, server, _ = small(flexibility=1)
    drawn: dict[float, set[float]] = {keep: set() for keep in LEVELS}
    for number in range(1, 30):
        cohort = cohort_of(*LEVELS, round_number=number)
        for selection in method.select(server, cohort, Streams(3, "selection", number)):
            drawn[selection.client.keep].add(float(selection.draws["keep"]))
    assert method.extract(server, selection).blocks == method.blocks(float(selection.draws["keep"]))
    assert drawn == {0.2: {0.2, 0.6}, 0.6: set(LEVELS), 1.0: {0.6, 1.0}}


def test_mixed_capacities_are_evaluated_at_each_level_and_two_workers_agree() -> None:
    settings = {
        "keep": "0.3:0.5,1:0.5",
        "training": {"rounds": 1, "clients": 4, "cohort": 4, "samples_per_client": 16, "standin_test": 20},
    }
    rounds, _ = run(federation("nefl", RESNET, **settings))
    assert [level.keep for level in rounds[1].levels] == [0.3, 1.0]
    assert rounds[1].levels[1].score == rounds[1].score
    assert run_sent(federation("nefl", RESNET, **settings))[0] == numbers(rounds)


def test_what_no_client_has_held_is_not_evaluated() -> None:
    method, server, task = small()
    assert method.full_model(server) is server.model
    (selection,) = selections_of(method, server, cohort_of(0.6))
    server = method.aggregate(server, [update_of(method, server, selection, 0.1)], STREAMS)
    evaluated = method.full_model(server)
    assert isinstance(evaluated, Stepped) and evaluated.channels() == method.counts(0.6)
    assert evaluated(batch_of(task, 2)).shape == (2, 10)


def test_models_without_residual_blocks_are_skipped() -> None:
    for name, kind in ((CNN, "CNN"), (LSTM, "SentimentLSTM")):
        with pytest.raises(Skip, match=f"scales residual networks and transformers in depth, and a {kind} is neither"):
            method_of("nefl").setup(initial(small_task(name)), small_task(name))
