"""Streams and graphs, where there is a GPU: the numbers of plain training, and no harm where a step waits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from helpers import RESNET
from torch import nn
from trained import CASES, ON_GPU, build, jobs_of

from bench.api import Update
from bench.federation.federation import Federation
from bench.numerics import runtime
from bench.training.captured import CapturedEngine
from bench.training.local import Job, train_client


@ON_GPU
@pytest.mark.parametrize(("method", "task", "values"), CASES, ids=str)
def test_graphs_give_the_numbers_of_plain_training(method: str, task: str, values: dict[str, Any]) -> None:
    tolerance = 2e-2 if values.get("training", {}).get("precision") == "bf16" else 1e-4
    with runtime.deterministic(), runtime.prepared():
        built, plain = (on_gpu(build(method, task, **values)) for _ in range(2))
        engine = CapturedEngine(built, clients_at_once=2)
        jobs = jobs_of(built, 2) + jobs_of(built, 2)
        for ours, job in zip(engine.train(jobs), jobs_of(plain, 2) * 2, strict=True):
            theirs = train_client(Job(job.client, 1, copy.deepcopy(job.submodel)), plain)
            assert ours.loss == pytest.approx(theirs.loss, rel=tolerance) and ours.passes == theirs.passes
            for name, value in theirs.parameters.items():
                torch.testing.assert_close(ours.parameters[name], value, rtol=tolerance, atol=tolerance)
            assert set(ours.momentum) == set(theirs.momentum)
        engine.close()
    assert engine.refused == {}


def on_gpu(built: Federation) -> Federation:
    built.device = torch.device("cuda")
    return built


@ON_GPU
def test_the_peak_of_a_cell_holds_nothing_of_an_earlier_one() -> None:
    peaks = []
    for samples in (64, 20_000, 64):
        with runtime.prepared():
            built = on_gpu(build("fedavg"))
            engine = CapturedEngine(built, clients_at_once=1)
            torch.zeros(samples, 1 << 12, device="cuda")
            list(engine.train(jobs_of(built)))
            peaks.append(engine.peak_memory_bytes())
            engine.close()
    assert peaks[1] > 20_000 << 14 and peaks[2] < 2 * peaks[0]


@ON_GPU
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_server_multiplies_in_single_precision(precision: str) -> None:
    """A client that learns nothing leaves the server's layers as they are, but for that rounding."""
    built = on_gpu(build("prism", RESNET, training={"precision": precision}))
    server = built.method.setup(built.initial_model(), built.task)
    before = {name: value.detach().clone() for name, value in server.model.named_parameters()}
    selections = built.method.select(server, built.cohort(1), built.streams("selection", 1))
    updates = [Update(one, built.method.upload(built.method.extract(server, one))) for one in selections]
    after = dict(built.method.aggregate(server, updates, built.streams("aggregation", 1)).model.named_parameters())
    for name, value in before.items():
        assert float((after[name].detach() - value).norm() / value.norm().clamp(min=1e-30)) < 2e-6, name


@ON_GPU
def test_a_hook_that_reads_a_value_is_trained_step_by_step_on_a_gpu() -> None:
    built = on_gpu(build("prism"))
    norms: list[float] = []

    def adjust(submodel: nn.Module) -> None:
        norms.append(float(next(submodel.parameters()).norm()))

    built.method.adjust_gradients = adjust  # type: ignore[method-assign]
    engine = CapturedEngine(built)
    for ours, job in zip(engine.train(jobs_of(built, 2)), jobs_of(built, 2), strict=True):
        torch.testing.assert_close(ours.parameters, train_client(job, built).parameters)
    engine.close()
    assert len(engine.refused) == 1 and "synchroniz" in next(iter(engine.refused))
