"""What the engine for GPUs may not record it trains step by step, with the same numbers and a reason."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from trained import assert_trained_alike, build, jobs_of

from bench.api import Selection, Server
from bench.federation.federation import Federation
from bench.training import captured, replica
from bench.training.captured import CapturedEngine
from bench.training.lanes import Lane, Step
from bench.training.local import train_client


def hooked(submodel: nn.Module) -> None:
    submodel.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0.5,))


def weighed(submodel: nn.Module) -> None:
    submodel.weighing = torch.ones(3)


def partially(submodel: nn.Module) -> None:
    submodel.activation = functools.partial(torch.relu)


def shadowed(submodel: nn.Module) -> None:
    forward = submodel.forward
    submodel.forward = lambda images: forward(images) * 0.5  # type: ignore[method-assign]


def noted(submodel: nn.Module) -> None:
    next(submodel.parameters()).note = 3  # type: ignore[attr-defined]


def pulled(submodel: nn.Module) -> None:
    next(submodel.parameters()).register_hook(lambda gradient: gradient * 0.5)


class Counting(nn.Module):
    """A model that halves its outputs after three passes: what it does depends on more than its tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.passes = model, 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        return self.model(images) * (0.5 if self.passes > 3 else 1.0)


class Restless(nn.Module):
    """A model that puts another tensor in a buffer's place."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("scale", torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        self.scale = self.scale * 0.9
        return self.model(images) * self.scale


def changed(how: Callable[[nn.Module], nn.Module | None], **values: Any) -> Federation:
    """Return a federation whose sub-models are changed once they are extracted."""
    built = build("fedavg", **values)
    extract = built.method.extract

    def other(server: Server, selection: Selection) -> nn.Module:
        submodel = extract(server, selection)
        return how(submodel) or submodel

    built.method.extract = other  # type: ignore[method-assign]
    return built


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (hooked, "a CNN has hooks"),
        (weighed, "CNN.weighing holds a Tensor"),
        (partially, "CNN.activation holds a partial"),
        (shadowed, "CNN.forward holds a function"),
        (noted, "'weight' is more than a plain tensor"),
        (pulled, "'weight' is more than a plain tensor"),
        (Counting, "a step changes more than the values of its tensors"),
        (Restless, "a step changes more than the values of its tensors"),
    ],
)
def test_what_cannot_be_recorded_is_trained_step_by_step(
    how: Callable[[nn.Module], nn.Module | None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    built = changed(how)
    engine = CapturedEngine(built, clients_at_once=1)
    with caplog.at_level(logging.WARNING):
        for ours, job in zip(engine.train(jobs_of(built, 2)), jobs_of(built, 2), strict=True):
            assert_trained_alike(ours, train_client(job, built))
    assert engine.refused == {reason: 2}
    assert [record.getMessage() for record in caplog.records] == [
        f"clients are trained step by step, not by CUDA graphs: {reason}"
    ]


class Watchful(Lane):
    """A lane that notices, as a GPU does, when a value is read while the step is recorded or shall not wait."""

    def __init__(self, breaks: bool = False) -> None:
        self.watching, self.breaks, self.recorded = False, breaks, 0

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        self.watching = True
        try:
            yield
        finally:
            self.watching = False

    def record(self, step: Step) -> Step:
        self.recorded += 1
        if self.breaks:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        return step


def test_a_hook_that_waits_for_the_device_is_trained_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Watchful()
    monkeypatch.setattr(captured, "lane_on", lambda device: lane)
    built = build("prism")

    def adjust(submodel: nn.Module) -> None:
        if lane.watching:
            raise RuntimeError("called a synchronizing CUDA operation")

    built.method.adjust_gradients = adjust  # type: ignore[method-assign]
    engine = CapturedEngine(built)
    for ours, job in zip(engine.train(jobs_of(built, 2)), jobs_of(built, 2), strict=True):
        assert_trained_alike(ours, train_client(job, built))
    assert engine.refused == {"called a synchronizing CUDA operation": 2} and lane.recorded == 0


def test_nothing_more_is_recorded_once_a_recording_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Watchful(breaks=True)
    monkeypatch.setattr(captured, "lane_on", lambda device: lane)
    built = build("prism", capacities="0.2:0.5,0.6:0.5")
    engine = CapturedEngine(built)
    for ours, job in zip(engine.train(jobs_of(built, 2)), jobs_of(built, 2), strict=True):
        assert_trained_alike(ours, train_client(job, built))
    assert engine.refused == {"operation not permitted when stream is capturing": 2} and lane.recorded == 1


def test_a_hook_that_counts_its_steps_is_trained_step_by_step() -> None:
    built, plain = build("prism"), build("prism")
    for one in (built, plain):
        one.method.steps = 0  # type: ignore[attr-defined]
        adjust = functools.partial(slower_and_slower, one.method)
        one.method.adjust_gradients = adjust  # type: ignore[method-assign]
    engine = CapturedEngine(built)
    (ours,) = engine.train(jobs_of(built))
    assert_trained_alike(ours, train_client(jobs_of(plain)[0], plain))
    assert engine.refused == {"a step changes more than the values of its tensors": 1}


def slower_and_slower(method: Any, submodel: nn.Module) -> None:
    method.steps += 1
    for tensor in submodel.parameters():
        assert tensor.grad is not None
        tensor.grad /= method.steps


def test_a_setting_of_the_method_that_changes_is_another_kind() -> None:
    """A method may not do so (its hooks see setup alone in worker processes), but the numbers follow if it does."""
    built = build("prism", capacities=1.0)
    engine = CapturedEngine(built, clients_at_once=1)
    for decay in (0.0, 0.5, 0.0):
        jobs, others = jobs_of(built), jobs_of(built)
        built.method.frobenius_decay = decay  # type: ignore[attr-defined]
        (ours,) = engine.train(jobs)
        assert_trained_alike(ours, train_client(others[0], built))
    assert len(engine._replicas) == 2 and engine.refused == {}


def test_a_hook_that_fails_fails_as_in_plain_training() -> None:
    built = build("prism")

    def adjust(submodel: nn.Module) -> None:
        raise ValueError("this is wrong")

    built.method.adjust_gradients = adjust  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="this is wrong"):
        list(CapturedEngine(built).train(jobs_of(built)))


def test_too_little_memory_is_not_taken_for_something_else() -> None:
    built = build("prism")

    def adjust(submodel: nn.Module) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    built.method.adjust_gradients = adjust  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        list(CapturedEngine(built).train(jobs_of(built)))


def test_the_kinds_that_have_replicas_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "KINDS", 1)
    built = build("prism", capacities="0.2:0.5,0.6:0.5", training={"clients": 6, "cohort": 6})
    engine = CapturedEngine(built, clients_at_once=2)
    jobs = jobs_of(built, 6)
    kinds = [replica.kind_of(job, built) for job in jobs]
    for ours, job in zip(engine.train(jobs), jobs_of(built, 6), strict=True):
        assert_trained_alike(ours, train_client(job, built))
    assert len(set(kinds)) == 2 and list(engine._replicas) == [kinds[0]]
    assert engine.refused == {"there are more than 1 kinds of sub-models": sum(kind != kinds[0] for kind in kinds)}
