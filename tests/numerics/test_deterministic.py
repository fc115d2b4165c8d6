"""Runs that repeat to the bit: what is switched on, where it is written down, and that they do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CommandLine, cell_of
from trained import ON_GPU

from bench.launch.running import Outcome, run_cell
from bench.numerics import runtime
from bench.store.cells import Store


def test_determinism_reaches_processes_that_are_prepared_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv(runtime.CUBLAS_WORKSPACE, raising=False)
    seen = []
    for wanted in (True, False):
        with runtime.deterministic(wanted), runtime.prepared():
            variable = os.environ.get(runtime.CUBLAS_WORKSPACE)
            seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark, variable))
        assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        assert not runtime.is_deterministic() and runtime.CUBLAS_WORKSPACE not in os.environ
    assert seen == [(True, False, ":4096:8"), (False, True, None)]


def deterministic_run(folder: Path, wanted: bool, device: str = "cpu", **values: Any) -> tuple[Outcome, Any]:
    store, cell = Store(folder), cell_of("prism", keep=0.5, **values)
    with runtime.deterministic(wanted):
        outcome = run_cell(cell, store=store, device=device)
    return outcome, (store.path(cell) / "environment.json").read_text()


def test_the_record_says_it_and_on_the_cpu_nothing_else_changes(tmp_path: Path) -> None:
    one, with_it = deterministic_run(tmp_path / "with", True)
    other, without = deterministic_run(tmp_path / "without", False)
    assert '"deterministic": true' in with_it and '"deterministic": false' in without
    assert [row["test_loss"] for row in one.rounds] == [row["test_loss"] for row in other.rounds]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)


def test_ray_is_refused(bench: CommandLine, tmp_path: Path) -> None:
    from tiny import sweep_of

    said = bench.refused("sweep", sweep_of(tmp_path), "--deterministic", "--engine", "ray")
    assert said.startswith("--deterministic: it does not reach the nodes of a Ray cluster")


@ON_GPU
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_repeats_on_a_gpu_are_identical(precision: str, tmp_path: Path) -> None:
    """Needs a process that has not used cuBLAS yet: run this test alone, or set CUBLAS_WORKSPACE_CONFIG=:4096:8."""
    told = [
        deterministic_run(tmp_path / str(number), True, "cuda", training={"precision": precision})[0]
        for number in range(2)
    ]
    assert told[0].status == "done"
    for name in ("train_loss", "test_loss", "test_acc"):
        assert [row[name] for row in told[0].rounds] == [row[name] for row in told[1].rounds]
