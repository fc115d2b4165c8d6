"""The logic of the performance command; no test asserts a speed."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from bench import perf
from bench.config import make_cell
from bench.errors import BenchError
from bench.federation import Federation
from bench.perf.bare import BareLoop
from bench.perf.contenders import Contender, Runner, contenders
from bench.perf.harness import Harness
from bench.perf.machine import Load, foreign_seconds
from bench.perf.report import SCHEMA, rows_of
from bench.perf.workloads import WORKLOADS, cell_of, chosen
from bench.registry import task as task_named
from bench.runtime import prepared

BARE_1, BARE_2 = Contender("bare loop", 1, 1), Contender("bare loop", 1, 2)
HARNESS_1, HARNESS_2 = Contender("harness", 1, 1), Contender("harness", 2, 1)
SMALL = {
    "clients": 3,
    "cohort": 2,
    "samples_per_client": 40,
    "batch_size": 16,
    "local_epochs": 2,
    "standin_train": 400,
    "standin_test": 10,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path_factory.getbasetemp() / "perf-data"))
    with prepared():
        yield


def small_federation(task: str, **model: object) -> Federation:
    values = {"task": task, "method": "fedavg", "tier": "paper", "data": "stand-in", "partition": "iid"}
    return Federation.build(make_cell({**values, "training": SMALL, "model": model}, "test"))


@pytest.mark.parametrize(("task", "model"), [("cnn-femnist", {}), ("lstm-imdb", {"hidden": 8, "length": 12})])
def test_the_bare_loop_and_the_harness_train_the_same_models(task: str, model: dict[str, object]) -> None:
    federation = small_federation(task, **model)
    bare, harness = BareLoop(federation, threads=1), Harness(federation, workers=1)
    initial = dict(harness.server.model.named_parameters())
    trained = list(harness.engine.train(harness.jobs(3)))
    for ours, theirs in zip(trained, bare.trained(3), strict=True):
        for name, tensor in theirs.named_parameters():
            torch.testing.assert_close(ours.parameters[name], tensor.detach(), rtol=1e-3, atol=1e-5)
        assert any(not torch.equal(ours.parameters[name], tensor) for name, tensor in initial.items())


def test_both_count_every_sample_of_every_epoch() -> None:
    federation = small_federation("resnet18-cifar10", width=2)
    expected = 2 * 40 * 2
    assert BareLoop(federation, threads=1).train(1) == expected
    assert Harness(federation, workers=1).train(1) == expected


def test_the_bare_loop_gets_the_threads_it_asks_for() -> None:
    BareLoop(small_federation("lstm-imdb", hidden=2, length=5), threads=2)
    assert torch.get_num_threads() == 2


def test_contenders_take_turns_with_their_counterparts() -> None:
    assert contenders("cpu", 2) == [BARE_1, BARE_2, HARNESS_1, HARNESS_2]
    assert contenders("cpu", 1) == [BARE_1, HARNESS_1]
    assert contenders("cuda", 8) == [BARE_1, HARNESS_1]


def test_tasks_are_chosen_by_name() -> None:
    assert chosen([]) == list(WORKLOADS)
    assert chosen(["lstm-imdb", "cnn-femnist", "lstm-imdb"]) == ["lstm-imdb", "cnn-femnist"]
    with pytest.raises(BenchError, match="did you mean 'cnn-femnist'"):
        chosen(["cnn-femist"])


@pytest.mark.parametrize("task", WORKLOADS)
def test_a_workload_is_the_papers_model(task: str) -> None:
    cell = cell_of(task, cores=3)
    built = task_named(task).build(cell)
    paper = built.Params()
    different = {name for name, value in vars(built.params).items() if value != getattr(paper, name)}
    assert different <= {"length"}
    assert ("tokens" in WORKLOADS[task].note) == bool(different)
    assert built.recipe.cohort == built.recipe.clients == 6


def test_rows_hold_medians_and_ratios() -> None:
    rates = {BARE_1: [90.0, 100.0, 130.0], BARE_2: [150.0, 160.0, 10.0], HARNESS_2: [240.0, 200.0, 210.0]}
    rows = {
        (row["contender"], row["processes"], row["threads_per_process"]): row for row in rows_of("lstm-imdb", rates)
    }
    harness = rows["harness", 2, 1]
    assert (harness["samples_per_s"], harness["samples_per_s_min"], harness["samples_per_s_max"]) == (210, 200, 240)
    assert harness["ratio_to_bare_one_thread"] == pytest.approx(2.1)
    assert harness["ratio_to_bare_all_threads"] == pytest.approx(1.4)
    assert rows["bare loop", 1, 2]["ratio_to_bare_one_thread"] == pytest.approx(1.5)


def test_without_a_bare_loop_of_several_threads_there_is_no_ratio_to_it() -> None:
    rows = rows_of("lstm-imdb", {BARE_1: [100.0], HARNESS_1: [95.0]})
    assert [row["ratio_to_bare_all_threads"] for row in rows] == [None, None]
    assert rows[1]["ratio_to_bare_one_thread"] == pytest.approx(0.95)


def test_foreign_time_leaves_out_this_process_and_its_descendants(tmp_path: Path) -> None:
    own = os.getpid()
    (tmp_path / "stat").write_text("cpu  1000 200 300 9999 8888 40 50 60 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    for number, parent, ticks in [
        (own, 1, (10, 20, 30, 40)),
        (own + 1, own, (1, 2, 0, 0)),
        (own + 2, own + 1, (5,) * 4),
    ]:
        write_process(tmp_path, number, parent, ticks)
    write_process(tmp_path, own + 3, 1, (500, 0, 0, 0))
    used = 1000 + 200 + 300 + 40 + 50 + 60
    assert foreign_seconds(tmp_path) == pytest.approx((used - 100 - 3 - 20) / os.sysconf("SC_CLK_TCK"))


def write_process(proc: Path, number: int, parent: int, ticks: tuple[int, ...]) -> None:
    """Write a process as the kernel shows it: the 2nd field is its name, the 14th to 17th its ticks."""
    (proc / str(number)).mkdir()
    times = " ".join(map(str, ticks))
    (proc / str(number) / "stat").write_text(f"{number} (a (nasty) name) S {parent} 1 1 0 -1 0 0 0 0 0 {times} 20 0\n")


def test_foreign_time_is_unknown_without_proc(tmp_path: Path) -> None:
    assert foreign_seconds(tmp_path / "none") is None


def test_a_warning_names_what_kept_the_machine_busy() -> None:
    assert Load(0.2, 2.0, 0.01).warning(cores=2) == ""
    assert "load average was 1.30 before" in Load(1.3, 2.0, 0.01).warning(cores=2)
    assert "others took 20% of the CPU time" in Load(0.1, 2.0, 0.2).warning(cores=2)
    assert "does not tell" in Load(None, None, None).warning(cores=2)


class Scripted:
    """A runner whose rates are known; it writes down when it was asked."""

    calls: list[tuple[Contender, int]] = []

    def __init__(self, contender: Contender, cell: object, device: str) -> None:
        self.contender = contender

    def samples_per_s(self, round_number: int) -> float:
        self.calls.append((self.contender, round_number))
        speed = 2.0 if self.contender.kind == "harness" else 1.0
        return 1e6 if round_number == 1 else speed * self.contender.processes * round_number

    def close(self) -> None:
        self.calls.append((self.contender, -1))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    monkeypatch.setattr(perf, "Runner", Scripted)
    monkeypatch.setattr(perf, "cores", lambda: 2)
    monkeypatch.setattr(Scripted, "calls", [])
    return Scripted


def test_measure_warms_up_takes_turns_and_writes_the_table(tmp_path: Path, scripted: type[Scripted]) -> None:
    everyone = [BARE_1, BARE_2, HARNESS_1, HARNESS_2]
    screen = io.StringIO()
    printed = perf.measure("cpu", 3, ["cnn-femnist"], tmp_path / "perf", Console(file=screen))
    turns = [(who, number) for number in (1, 2, 3, 4) for who in everyone]
    assert scripted.calls == turns + [(who, -1) for who in reversed(everyone)]
    table = pq.read_table(tmp_path / "perf" / "perf.parquet")
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert [row["samples_per_s"] for row in rows] == [3, 3, 6, 12]
    assert [row["ratio_to_bare_one_thread"] for row in rows] == [1, 1, 2, 4]
    assert {row["repetitions"] for row in rows} == {3}
    assert printed.row_count == 4
    Console(file=screen, width=200).print(printed)
    assert "paper's size" in screen.getvalue()
    assert "4.00" in screen.getvalue()


def test_an_unwritable_folder_is_one_sentence_before_anything_is_timed(
    tmp_path: Path, scripted: type[Scripted]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(BenchError, match="cannot be written"):
        perf.measure("cpu", 1, ["lstm-imdb"], blocked, Console(file=io.StringIO()))
    assert scripted.calls == []


@pytest.mark.slow
@pytest.mark.parametrize("contender", [BARE_2, HARNESS_2])
def test_a_runner_trains_in_its_own_process_and_ends(contender: Contender) -> None:
    threads = torch.get_num_threads()
    runner = Runner(contender, small_federation("lstm-imdb", hidden=2, length=5).cell, "cpu")
    assert runner.samples_per_s(1) > 0
    runner.close()
    assert torch.get_num_threads() == threads
