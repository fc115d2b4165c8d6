"""The logic of the performance command; no test asserts a speed."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from helpers import federation
from perf_rows import clients_rows, keep_rows, memory_rows, mixed_rows, plan, round_rows, training_rows
from rich.console import Console
from thinned import every, thinned

from bench import kernels
from bench.cell import Cell
from bench.errors import BenchError
from bench.numerics import processor
from bench.perf import (
    clients,
    command,
    instructions,
    keep,
    keep_figure,
    memory,
    mixed,
    targets,
    training,
    turns,
    whole_round,
)
from bench.perf.contenders import Contender, contenders
from bench.perf.plan import PARTS, plan_of
from bench.perf.workloads import (
    KEEPS,
    PAPER_SAMPLES,
    WORKLOADS,
    clients_cell,
    mixed_cell,
    round_cell,
    training_cell,
)
from bench.plugins.registry import task as task_named
from bench.training.handing_out import Jobs

BARE_1, BARE_2 = Contender("bare loop", 1, 1), Contender("bare loop", 1, 2)
BARE_FACTORED = Contender("bare loop", 1, 2, 0.2)
ASK_ONEDNN = instructions.onednn
ROWS = {
    "training": training_rows,
    "keep": keep_rows,
    "round": round_rows,
    "clients": clients_rows,
    "mixed": mixed_rows,
    "memory": memory_rows,
}


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be a processor that multiplies in bfloat16, and of which oneDNN is not asked in a process of its own."""
    monkeypatch.setattr(processor, "has_bf16", lambda: True)
    monkeypatch.setattr(instructions, "onednn", lambda: "Intel AVX2")


def test_contenders_share_their_yardsticks() -> None:
    of_two = contenders("cpu", 2, ("fp32", "bf16"))
    assert of_two[:4] == [BARE_1, BARE_2, BARE_FACTORED, Contender("harness", 1, 1)]
    assert set(of_two[4:]) == {
        Contender("harness", 2, 1, keep, precision) for keep in (1.0, 0.2) for precision in ("fp32", "bf16")
    }
    assert contenders("cpu", 2, ("bf16",))[:3] == [BARE_1, BARE_2, BARE_FACTORED]
    of_one = contenders("cpu", 1, ("fp32",))
    assert len(of_one) == len(set(of_one)) == 4 and {who.workers for who in of_one} == {1}


def test_on_an_accelerator_the_bare_loop_has_all_precisions() -> None:
    who = contenders("cuda", 1, ("tf32", "bf16"))
    kinds = {(one.kind, one.keep, one.precision) for one in who}
    assert kinds == {
        *(("bare loop", keep, name) for keep in (1.0, 0.2) for name in ("fp32", "tf32", "bf16")),
        *(("harness", keep, name) for keep in (1.0, 0.2) for name in ("tf32", "bf16")),
    }
    assert len(who) == len(kinds) and {one.workers for one in who} == {1}


def test_everything_is_measured_where_nothing_is_named() -> None:
    whole = plan_of("cpu")
    assert (whole.parts, whole.tasks, whole.precisions) == (PARTS, tuple(WORKLOADS), ("fp32", "bf16"))
    assert plan_of("cuda").precisions == ("fp32", "bf16") and plan_of("cuda").workers == 1
    assert (plan_of("cpu").cohort, plan_of("cuda").cohort) == (plan_of("cpu").workers, 20)
    some = plan_of("cuda", parts=["round", "keep", "round"], precisions=["tf32"], tasks=["lstm-imdb"])
    assert (some.parts, some.precisions, some.tasks) == (("keep", "round"), ("tf32",), ("lstm-imdb",))


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"parts": ["trainin"]}, "--part 'trainin' cannot be measured; allowed: .*did you mean 'training'"),
        ({"tasks": ["cnn-femist"]}, "--task 'cnn-femist' .*did you mean 'cnn-femnist'"),
        ({"precisions": ["fp23"]}, "--precision 'fp23' .*did you mean 'fp32'"),
        ({"precisions": ["tf32"]}, "--precision 'tf32' cannot be measured on cpu; allowed: 'fp32', 'bf16'"),
        ({"samples": 501}, "--samples 501 is not possible; allowed: 1 to the paper's 500"),
        ({"samples": 0}, "--samples 0"),
    ],
)
def test_a_wrong_name_is_one_sentence(named: dict[str, Any], words: str) -> None:
    with pytest.raises(BenchError, match=words) as refused:
        plan_of("cpu", **named)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("task", WORKLOADS)
def test_a_workload_is_the_papers_model(task: str) -> None:
    cell = training_cell(task, cohort=6, keep=0.2, precision="bf16")
    built = task_named(task).build(cell)
    paper = built.Params()
    different = {name for name, value in vars(built.params).items() if value != getattr(paper, name)}
    assert different <= {"length"}
    assert ("tokens" in WORKLOADS[task].note) == bool(different)
    assert built.recipe.cohort == built.recipe.clients == 6
    assert (cell.method, cell.keep, built.recipe.precision) == ("prism", 0.2, "bf16")
    assert training_cell(task, cohort=6).method == "fedavg"


def test_the_round_is_the_papers_unless_scaled_down() -> None:
    task = task_named("resnet18-cifar10")
    ours, paper = task.build(round_cell(PAPER_SAMPLES, "bf16")).recipe, task.kind.tiers["paper"]
    same = {"precision", "standin_train", "standin_test", "evaluate_every"}
    assert replace(ours, **{name: getattr(paper, name) for name in same}) == paper
    assert (ours.standin_test, ours.evaluate_every, ours.precision) == (10_000, 1, "bf16")
    assert task.build(round_cell(7, "fp32")).recipe.samples_per_client == 7


def test_clients_differ_in_number_alone() -> None:
    few, many = (clients_cell(number, 20, "fp32") for number in (100, 100_000))
    assert replace(few, training={**few.training, "clients": 100_000}) == many


def test_training_rows_hold_medians_and_ratios() -> None:
    rows = {(row["contender"], row["processes"], row["threads_per_process"], row["keep"], row["precision"]): row
            for row in training_rows()}  # fmt: skip
    seconds = {key: row["seconds"] for key, row in rows.items()}
    assert sorted(seconds.values()) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    bare, factored = rows["bare loop", 1, 2, 1.0, "fp32"], rows["bare loop", 1, 2, 0.2, "fp32"]
    assert bare["time_ratio_to_bare"] == factored["time_ratio_to_bare"] == 1
    assert (bare["seconds_min"], bare["seconds_max"], bare["repetitions"]) == (1.5, 2.5, 3)
    assert factored["speedup_over_full"] == pytest.approx(2 / 3)
    full, small = rows["harness", 2, 1, 1.0, "bf16"], rows["harness", 2, 1, 0.2, "bf16"]
    assert full["time_ratio_to_bare"] == pytest.approx(full["seconds"] / 2)
    assert small["time_ratio_to_bare"] == pytest.approx(small["seconds"] / 3)
    assert small["speedup_over_full"] == pytest.approx(full["seconds"] / small["seconds"])
    assert (full["speedup_over_full"], full["speedup_target"], full["time_ratio_target"]) == (None, None, 0.50)
    assert (small["time_ratio_target"], small["speedup_target"]) == (None, 2.8)
    alone = rows["harness", 1, 1, 1.0, "fp32"]
    assert alone["time_ratio_to_bare"] == pytest.approx(2.0) and alone["time_ratio_target"] is None
    workload = WORKLOADS["resnet18-cifar10"]
    passes = 2 * workload.samples * workload.epochs
    assert full["samples_per_s"] == pytest.approx(passes / full["seconds"])


def test_there_are_no_targets_on_an_accelerator() -> None:
    timings = {who: [1.0] for who in contenders("cuda", 1, ("fp32", "bf16"))}
    rows = training.rows_of("resnet18-cifar10", plan(device="cuda", workers=1), timings)
    assert {row["time_ratio_target"] for row in rows} == {row["speedup_target"] for row in rows} == {None}
    assert training.verdicts(rows) == []


def test_where_bf16_is_emulated_it_has_no_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    assert training.verdicts(training_rows()) == [
        "resnet18-cifar10, full fp32: time ratio 2.50, target 0.95: not met",
        "resnet18-cifar10, PriSM 0.2 fp32: speed-up 0.71, target 3.50: not met",
    ]


def test_both_kinds_of_processor_have_their_targets() -> None:
    found = [
        [targets.target_of(targets.TIME_RATIOS, task, precision, native) for task in WORKLOADS]
        for native in (True, False)
        for precision in ("fp32", "bf16")
    ]
    fp32, bf16 = [0.70, 0.95, 0.70, 1.0, 1.0], [0.42, 0.50, 0.42, None, None]
    assert found == [fp32, bf16, fp32, [None] * 5]


def test_rows_say_with_which_instructions_they_were_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    row = training_rows()[0]
    assert row["isa_torch"] == torch.backends.cpu.get_cpu_capability()
    assert (ASK_ONEDNN() is None) != torch.backends.mkldnn.is_available()
    assert row["kernels"] == kernels.described()
    assert instructions.said("onednn_verbose,v1,info,cpu,isa:Intel AVX2\nother") == "Intel AVX2"
    assert instructions.said("nothing") is None
    monkeypatch.setattr(instructions, "ASK", "raise SystemExit(1)")
    assert ASK_ONEDNN() is None


def test_training_verdicts_compare_with_each_target() -> None:
    """The harness takes 5 s in fp32 and 6 s in bf16, the bare loop 2 s; sub-models take 7 and 8 s."""
    assert training.verdicts(training_rows()) == [
        "resnet18-cifar10, full fp32: time ratio 2.50, target 0.95: not met",
        "resnet18-cifar10, full bf16: time ratio 3.00, target 0.50: not met",
        "resnet18-cifar10, PriSM 0.2 fp32: speed-up 0.71, target 3.50: not met",
        "resnet18-cifar10, PriSM 0.2 bf16: speed-up 0.75, target 2.80: not met",
    ]
    fast = {**training_rows()[-1], "speedup_over_full": 2.8}
    assert training.verdicts([fast]) == ["resnet18-cifar10, PriSM 0.2 bf16: speed-up 2.80, target 2.80: met"]


def test_keep_rows_hold_ratios_to_the_full_model_of_their_precision() -> None:
    rows = keep_rows()
    assert len(rows) == 2 * (1 + len(KEEPS) * len(keep.METHODS))
    (row,) = [row for row in rows if (row["method"], row["keep"], row["precision"]) == ("prism", 0.4, "bf16")]
    assert row["time_ratio_to_full"] == pytest.approx(1.7 / 4.2)
    assert row["macs_ratio"] == pytest.approx(0.16)
    assert (row["seconds_min"], row["seconds_max"]) == pytest.approx((1.68, 1.8))


def test_round_rows_sum_up() -> None:
    rows = {row["phase"]: row for row in round_rows() if row["precision"] == "fp32"}
    assert set(rows) == {*whole_round.PHASES, "server", "round"}
    server = 1.0 + 0.5 + 2.0 + 0.25 + 0.05 + 0.2
    assert rows["other"]["seconds"] == pytest.approx(0.2)
    assert rows["server"]["seconds"] == pytest.approx(server)
    assert rows["server"]["share"] == pytest.approx(server / (20 + server + 4))
    assert rows["evaluate"]["share"] == pytest.approx(4 / (20 + server + 4))
    assert rows["evaluate"]["share_of_mean_round"] == pytest.approx(0.2 / (20 + server + 0.2))
    assert rows["train"]["share_of_mean_round"] == pytest.approx(20 / (20 + server + 0.2))
    assert rows["round"]["share"] == rows["round"]["share_of_mean_round"] == 1
    assert (rows["train"]["seconds_min"], rows["train"]["seconds_max"]) == pytest.approx((18, 24))
    assert {phase: row["share_target"] for phase, row in rows.items() if row["share_target"]} == {
        "server": 0.05,
        "evaluate": 0.03,
    }


def test_a_round_scaled_down_has_the_papers_shares() -> None:
    whole, small = round_rows(), round_rows(50)
    for row, scaled in zip(whole, small, strict=True):
        assert scaled["seconds_at_paper"] == pytest.approx(row["seconds"])
        assert scaled["share"] == pytest.approx(row["share"])
    assert small[0]["phase"] == "train" and small[0]["seconds"] == pytest.approx(2.0)


def test_round_verdicts_speak_of_both_rounds() -> None:
    server, rest = 4.0, 20 + 4.0
    assert whole_round.verdicts(round_rows())[:4] == [
        f"fp32, evaluate: share of an evaluated round {4 / (rest + 4):.3f}, target 0.030: not met",
        f"fp32, evaluate: share of the mean round {0.2 / (rest + 0.2):.3f}, target 0.030: met",
        f"fp32, server: share of an evaluated round {server / (rest + 4):.3f}, target 0.050: not met",
        f"fp32, server: share of the mean round {server / (rest + 0.2):.3f}, target 0.050: not met",
    ]


def test_clients_rows_compare_with_20_of_100() -> None:
    rows = {(row["clients"], row["cohort"]): row for row in clients_rows() if row["precision"] == "fp32"}
    assert set(rows) == {(10**power, 20) for power in (2, 3, 4, 5)} | {(100, cohort) for cohort in (5, 10, 20, 40)}
    usual = 2.0 + 1e-4
    assert rows[100, 20]["seconds"] == pytest.approx(usual) and rows[100, 20]["time_ratio_to_usual"] == 1
    assert rows[100_000, 20]["time_ratio_to_usual"] == pytest.approx(2.1 / usual)
    assert rows[100_000, 20]["memory_ratio_to_usual"] == pytest.approx(3_100_000 / 3_000_100)
    assert rows[100, 5]["time_ratio_per_client"] == pytest.approx((0.5 + 1e-4) / 5 / (usual / 20))
    lines = [line for line in clients.verdicts(clients_rows()) if line.startswith("fp32")]
    assert len(lines) == 3 * 2 + 1 and all(line.endswith(": met") for line in lines)
    assert lines[-1] == "fp32, 40 of 100 clients: time ratio per client 1.00, target 1.10: met"


def test_mixed_rows_compare_each_cohort_with_itself() -> None:
    in_order, longest = (row for row in mixed_rows() if row["precision"] == "fp32")
    assert (in_order["time_ratio"], in_order["time_ratio_expected"], in_order["time_ratio_target"]) == (1, 1, None)
    assert (longest["time_ratio"], longest["time_ratio_expected"], longest["seconds"]) == (0.75, 0.8, 6)
    assert mixed.verdicts(mixed_rows())[0] == "fp32, longest first: time ratio 0.75, target 1.00: met"


def test_a_mixed_cohort_is_handed_out_in_both_orders() -> None:
    training_ = {"clients": 10, "cohort": 7}
    built = mixed.MixedHarness(federation("heterofl", "cnn-femnist", keep="a-b-c-d-e", training=training_), 1)
    cohort = built.cohort(2)
    numbers = [client.number for client in cohort.clients]
    assert [job.client for job in built.jobs(cohort)] == numbers and not isinstance(built.jobs(cohort), Jobs)
    assert built.seconds_in(mixed.LONGEST, 2) > 0
    jobs = built.jobs(cohort)
    assert isinstance(jobs, Jobs) and [job.client for job in jobs] == numbers
    keeps = [cohort.clients[place].keep for place in jobs.longest_first()]
    assert keeps == sorted(keeps, reverse=True) and len(set(keeps)) > 1
    work = built.work(cohort)
    assert built.expected_ratio(2, 1) == 1
    best = min(max(sum(w for w, side in zip(work, sides, strict=True) if side),
                   sum(w for w, side in zip(work, sides, strict=True) if not side))
               for sides in itertools.product((True, False), repeat=7))  # fmt: skip
    assert best <= mixed.taken(sorted(work, reverse=True), 2) <= 7 / 6 * best  # Graham's bound for two workers
    assert mixed.taken([4, 1, 1, 1, 1], 2) == 4 and mixed.taken([4, 1, 1, 1, 1], 2, queue=True) == 5
    assert mixed.taken([1, 1, 1, 4], 2, queue=True) == 5
    cell: Cell = mixed_cell("fp32")
    assert sorted({keep for keep, _ in cell.capacities}) == [0.0625, 0.125, 0.25, 0.5, 1.0]


def test_those_who_are_compared_take_turns_after_a_warm_up() -> None:
    calls: list[tuple[str, int]] = []

    def turn(who: str) -> Any:
        return lambda number: calls.append((who, number)) or float(number)

    given = turns.take_turns({"a": turn("a"), "b": turn("b")}, 3, lambda line: None)
    assert calls == [(who, number) for number in (1, 2, 3, 4) for who in "ab"]
    assert given == {"a": [2.0, 3.0, 4.0], "b": [2.0, 3.0, 4.0]}
    assert turns.spread_of([3.0, 1.0, 8.0]) == {"seconds": 3.0, "seconds_min": 1.0, "seconds_max": 8.0}


@pytest.mark.parametrize("part", thinned(PARTS, every(2)))
def test_a_part_is_written_drawn_and_printed(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    made = replace(command.PARTS[part], measure=lambda plan, say: asked.append(plan) or ROWS[part]())
    monkeypatch.setitem(command.PARTS, part, made)
    screen, chosen = io.StringIO(), plan(parts=(part,))
    command.measure(chosen, tmp_path / "perf", Console(file=screen, width=80))
    table = pq.read_table(tmp_path / "perf" / f"{part}.parquet")
    assert table.schema.equals(made.columns) and len(table) == len(ROWS[part]()) and asked == [chosen]
    assert set(table.column_names) == set(ROWS[part]()[0])
    figures = {f"{part}.png", f"{part}.pdf"} if part in ("keep", "clients") else set()
    assert {path.name for path in (tmp_path / "perf").iterdir()} == {f"{part}.parquet", *figures}
    printed = screen.getvalue()
    assert "stand-in data" in " ".join(printed.split()) and "…" not in printed
    assert all(line in printed for line in made.verdicts(ROWS[part]()))


def test_figures_speak_of_stand_in_data_and_show_the_range() -> None:
    figure = keep_figure.draw(keep_rows())
    words = " ".join(text.get_text() for text in figure.texts)
    assert "stand-in data" in words and "range of 3 repetitions" in " ".join(words.split())
    panel = figure.axes[0]
    assert panel.get_xlabel() == "keep ratio" and "%" in panel.get_ylabel()
    bars = [path for collection in panel.collections for path in collection.get_paths()]
    (first, *_), expected = [path.vertices[:, 1] for path in bars], [100 * 0.42 / 4.2, 100 * 0.6 / 4.2]
    assert sorted(first) == pytest.approx(expected)


def test_an_unwritable_folder_is_one_sentence_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    never = replace(command.PARTS["keep"], measure=lambda plan, say: pytest.fail("it was measured"))
    monkeypatch.setitem(command.PARTS, "keep", never)
    # In the other, which is there, not even the superuser can make a file.
    for folder in (blocked, *filter(Path.is_dir, [Path("/proc/self/task")])):
        with pytest.raises(BenchError, match=f"^{folder}: results cannot be written here: "):
            command.measure(plan(parts=("keep",)), folder, Console(file=io.StringIO()))


def test_the_tables_of_earlier_parts_are_kept_when_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(plan: Any, say: Any) -> list[dict[str, Any]]:
        raise KeyboardInterrupt

    first = replace(command.PARTS["training"], measure=lambda plan, say: training_rows())
    monkeypatch.setitem(command.PARTS, "training", first)
    monkeypatch.setitem(command.PARTS, "keep", replace(command.PARTS["keep"], measure=interrupted))
    with pytest.raises(KeyboardInterrupt):
        command.measure(plan(parts=("training", "keep")), tmp_path, Console(file=io.StringIO()))
    assert [path.name for path in tmp_path.iterdir()] == ["training.parquet"]


def test_memory_verdicts_name_what_differs_from_its_count() -> None:
    assert memory.verdicts(memory_rows()) == [
        "cnn-femnist, prism, fp32: kept is 1.20 of what is counted",
        "cnn-femnist, prism, fp32: peak is 1.80 of what is counted",
    ]
