"""What a sweep will take, asked for on the command line, and what it is made of."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny import COMMON, CommandLine, cell_of, write

from bench.config.cells import read_sweep
from bench.estimate import short_runs
from bench.estimate.short_runs import Where, known, measured
from bench.estimate.shortened import STEPS, shortened
from bench.estimate.workload import Workloads
from bench.federation.federation import Federation
from bench.launch import inline, local
from bench.launch import sweep as sweeps
from bench.launch.events import Ended, Event
from bench.store.cells import Store

TWO = COMMON + "batch_size = 4\n" + '[[cells]]\nmethod = ["orthdrop", "nefl"]\nkeep = 0.5\nseed = [0, 1, 2]\n'


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run cells here, since processes take seconds to start, and keep what they took where no other test looks."""
    monkeypatch.setattr(local, "hire", inline.hire)
    monkeypatch.setattr(short_runs, "_folder", lambda: tmp_path / "estimates")


@pytest.mark.parametrize(
    "training",
    [
        {"batch_size": 16},
        {"batch_size": 16, "drop_last": True, "local_epochs": 3},
        {"batch_size": 8, "validation": 0.25},
        {"evaluate_every": 4, "rounds": 10},
    ],
    ids=str,
)
def test_the_work_of_a_cell_is_what_its_federation_has_to_do(training: dict[str, Any]) -> None:
    cell = cell_of(partition="lda", alpha=0.5, training=training)
    work, federation = Workloads().of(cell), Federation.build(cell)
    recipe, steps = federation.task.recipe, []
    for number in range(recipe.clients):
        held = len(federation.partition.client(number))
        batches = [min(recipe.batch_size, held - start) for start in range(0, held, recipe.batch_size)]
        steps.append(recipe.local_epochs * sum(batch == recipe.batch_size or not recipe.drop_last for batch in batches))
    assert work.steps == fmean(steps) and work.trained == len(federation.training_samples)
    assert work.tested == len(federation.evaluated_samples)
    evaluated = {number for number in range(1, recipe.rounds + 1) if number % recipe.evaluate_every == 0}
    last = set(range(max(1, recipe.rounds - 2), recipe.rounds + 1))
    assert work.evaluations == 1 + len(evaluated | last)


def test_what_changes_no_shape_is_the_same_short_run() -> None:
    cell = cell_of(partition="lda", alpha=0.5)
    same = shortened(cell, 30)
    for other in (
        replace(cell, seed=7),
        replace(cell, alpha=0.1),
        replace(cell, training={**cell.training, "rounds": 9}),
    ):
        assert shortened(other, 40).identity == same.identity
    for other in (replace(cell, keep=0.2), replace(cell, diagnostics="errors"), replace(cell, method="prism")):
        assert shortened(other, 30).identity != same.identity
    assert shortened(cell, 2).training["samples_per_client"] < same.training["samples_per_client"]
    assert same.training["samples_per_client"] == STEPS * 32 and same.data == "stand-in"


def test_short_runs_are_kept_until_the_code_changes(tmp_path: Path) -> None:
    where, short = Where((), "cpu", 1), shortened(cell_of(training={"batch_size": 4}), 1)
    heard: list[Event] = []
    assert known([short], where) == {}
    found = measured([short], where, heard.append)
    assert [event.status for event in heard if isinstance(event, Ended)] == ["done"]
    assert known([short], where) == found and known([short], Where((), "cpu", 2)) == {}
    (file,) = (tmp_path / "estimates").iterdir()
    whole = json.loads(file.read_text())
    for wrong in ("{ torn", json.dumps({**whole, "start": "x"}), json.dumps({**whole, "step": math.inf}), "[]"):
        write(file, wrong)
        assert known([short], where) == {}


def test_a_sweep_is_estimated_then_run_and_then_there_is_nothing_left(command: CommandLine) -> None:
    file = write(Path("two.toml"), TWO)
    before = command("sweep", file, "--dry-run").out
    said = command("estimate", file, "--jobs", 2)
    assert said.code == 0 and said.out.count("started") == 2  # each kind once, whatever the number of its seeds
    assert "skipped: nefl scales residual networks" in said.out
    assert "this sweep: 6 cells, " in said.out and " core-hours, about " in said.out and "no estimate" not in said.out
    assert "started" not in command("estimate", file, "--jobs", 2).out
    assert "would run" in before and "this sweep: 6 cells, " in command("sweep", file, "--dry-run", "--jobs", 2).out
    assert not Path("results").exists()
    first = [cell for cell in read_sweep(file).cells if cell.seed == 0]
    sweeps.run(first, Store(Path("results/two")), plugins=(), device="cpu", jobs=1, on_event=lambda event: None)
    after = command("estimate", file, "--jobs", 2).out
    assert "this sweep: 4 cells left of 6, " in after and "finished" in after and "itself" in after
    sent = pq.read_table(next(Path("results/two/cells").glob("*orthdrop*")) / "rounds.parquet").to_pandas()
    megabytes = 2 * (sent["down_bytes"] + sent["up_bytes"]).sum() / 1e6  # two seeds; the other cells will be skipped
    assert f"{megabytes:.3g} MB to and from clients" in after
    assert "cells are done" not in after


def test_what_cannot_be_estimated_says_why(command: CommandLine) -> None:
    write(Path("odd.py"), UNFINISHED)
    file = write(Path("odd.toml"), f"plugins = ['odd.py']\n{COMMON}[[cells]]\nmethod = 'odd'\n")
    said = command("estimate", file, "--jobs", 1)
    assert said.code == 0 and "cnn-femnist, odd (1 cell): failed: " in said.out and "it is not finished yet" in said.out
    assert "no estimate for 1" in said.out
    real = write(Path("real.toml"), f"{COMMON}[[cells]]\nmethod = 'fedavg'\ndata = 'real'\n")
    assert "bench data" in command.refused("estimate", real)


UNFINISHED = """
from bench.api import Method


class Odd(Method):
    def select(self, server, cohort, streams):
        raise ValueError("it is not finished yet")

    def extract(self, server, selection):
        raise NotImplementedError

    def aggregate(self, server, updates, streams):
        raise NotImplementedError
"""


@pytest.mark.parametrize(("keep", "cohort"), [("0.2:0.5,1:0.5", 10), ("0.2:0.95,1:0.05", 20), ("0.2:0.99,1:0.01", 30)])
def test_each_capacity_has_a_client_in_a_short_run(keep: str, cohort: int) -> None:
    """Of thirty clients a round all are there where a share needs more."""
    cell = cell_of("heterofl", keep=keep, training={"clients": 60, "cohort": 30})
    assert shortened(cell, 3).training["cohort"] == cohort
