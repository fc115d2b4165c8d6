"""Streams and graphs, where there is a GPU: the numbers of plain training, and no harm where a step waits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from trained import CASES, ON_GPU, build, jobs_of

from bench import runtime
from bench.captured import CapturedEngine
from bench.federation import Federation
from bench.training import Job, train_client


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
