"""Sweeps in real processes: what is run, what survives, and the tables that come out."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tiny import TRAINING, cell_of, plugin, read, sweep_of

from bench import revisions
from bench.config.cells import Sweep, read_sweep
from bench.data.standin import load_standin
from bench.errors import BenchError
from bench.federation.federation import Federation
from bench.federation.skew import skew_of
from bench.launch.events import Ended, Event
from bench.launch.running import run_cell
from bench.launch.standing import standing
from bench.launch.sweep import counts, only, records, run, to_run, write_tables
from bench.launch.tables import series_labels
from bench.store import schema
from bench.store.cells import Record, Store

FINISHED = '[[cells]]\nmethod = ["fedavg", "orthdrop"]\nkeep = [0.2, 0.5]\nseed = [0, 1]\n'


class Ran(NamedTuple):
    """A sweep of plugins that end in every possible way."""

    sweep: Sweep
    store: Store
    plugins: tuple[Path, ...]
    ended: Counter[str]
    events: list[Event]

    def record(self, method: str) -> Record:
        found = records(self.sweep, self.store, self.plugins)
        return next(record for record in found if record.cell.method == method)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("ran")
    mark = folder / "killme"
    plugins = (
        plugin(folder, "good"),
        plugin(folder, "killed", select=f"open({str(mark)!r}, 'w').write(str(__import__('os').getpid())); "
                                        "__import__('time').sleep(600)"),
        plugin(folder, "raising", aggregate="if streams.round_number == 3: raise KeyError('[/] odd [words]')"),
        plugin(folder, "miscounting", select="return []"),
        plugin(folder, "modelless", extract="return 'no module'"),
        plugin(folder, "exploding", extract="return torch.nn.utils.parametrize and nan(copy_of(server.model))"),
        plugin(folder, "undefined", select="raise Skip('never defined')"),
    )  # fmt: skip
    with (folder / "exploding.py").open("a") as file:
        file.write("\n\ndef nan(model):\n    next(model.parameters()).data.fill_(float('nan'))\n    return model\n")
    methods = ", ".join(f'"{path.stem}"' for path in plugins)
    text = f'[[cells]]\nmethod = [{methods}, "orthdrop"]\n[cells.training]\nrounds = 3\n'
    sweep = read_sweep(sweep_of(folder, text), plugins)
    store = Store(folder / "results")
    events: list[Event] = []

    def kill() -> None:
        while not mark.exists() or not mark.read_text():
            time.sleep(0.02)
        os.kill(int(mark.read_text()), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    ended = run(list(sweep.cells), store, plugins=plugins, device="cpu", jobs=2, on_event=events.append)
    return Ran(sweep, store, plugins, ended, events)


def test_every_cell_ends_in_its_own_way(ran: Ran) -> None:
    assert ran.ended == {"done": 2, "failed": 4, "diverged": 1, "skipped": 1}
    assert counts(records(ran.sweep, ran.store, ran.plugins)) == dict(ran.ended)
    ended = [event for event in ran.events if isinstance(event, Ended)]
    assert sorted(event.cell for event in ended) == sorted(cell.folder for cell in ran.sweep.cells)


@pytest.mark.parametrize(
    ("method", "state", "words"),
    [
        ("raising", "failed", ["round 3", "KeyError", "[/] odd [words]"]),
        ("miscounting", "failed", ["'miscounting'", "0 selections for 2 clients", "one for each"]),
        ("modelless", "failed", ["round 1"]),
        ("killed", "failed", ["SIGKILL"]),
        ("exploding", "diverged", ["round 1", "client", "nan"]),
        ("undefined", "skipped", ["never defined"]),
    ],
)
def test_the_reason_is_one_line_that_names_it(ran: Ran, method: str, state: str, words: list[str]) -> None:
    record = ran.record(method)
    assert record.state == state and "\n" not in record.reason
    assert [word for word in words if word not in record.reason] == [], record.reason


def test_the_log_of_a_failed_cell_has_the_traceback_and_the_rounds_before(ran: Ran) -> None:
    record = ran.record("raising")
    log = (ran.store.path(record.cell) / "log.txt").read_text()
    assert "Traceback (most recent call last)" in log and "raising.py" in log
    assert "round 2/3" in log and "round 3/3" not in log
    assert len(ran.store.read(record.cell, "rounds")) == 3


def test_what_runs_again(ran: Ran) -> None:
    again = {cell.method for cell in to_run(records(ran.sweep, ran.store, ran.plugins))}
    assert again == {"raising", "miscounting", "modelless", "killed"}


def test_processes_give_the_numbers_of_this_process(ran: Ran) -> None:
    for method in ("good", "orthdrop"):
        cell = ran.record(method).cell
        stored = ran.store.read(cell, "rounds").to_pylist()
        for row, other in zip(stored, run_cell(cell, plugins=ran.plugins).rounds, strict=True):
            timeless = {name for name in row if not name.endswith("_s") and name != "peak_memory_bytes"}
            assert {name: row[name] for name in timeless} == {name: other[name] for name in timeless}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Store]:
    folder = tmp_path_factory.mktemp("finished")
    sweep, store = read(folder, FINISHED), Store(folder / "results")
    for cell in sweep.cells:
        run_cell(cell, store=store)
    return sweep, store


def test_a_finished_sweep_has_nothing_to_run(finished: tuple[Sweep, Store]) -> None:
    sweep, store = finished
    assert counts(records(sweep, store)) == {"done": 6} and to_run(records(sweep, store)) == []


def test_a_raised_revision_makes_it_stale(finished: tuple[Sweep, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, store = finished
    monkeypatch.setattr(revisions, "HARNESS", 2)
    known = records(sweep, store)
    assert counts(known) == {"stale": 6}
    assert to_run(known, "rerun") == list(sweep.cells) and to_run(known, "keep") == []
    # Results of another revision are not mixed in silently.
    assert len(write_tables(sweep, store, known)["cells"]) == 0


def test_tables_have_exactly_the_schema_and_repeat_to_the_byte(finished: tuple[Sweep, Store]) -> None:
    sweep, store = finished
    wanted = {"cells": schema.CELLS, "rounds": schema.ALL_TABLES["rounds"], "ranks": schema.ALL_TABLES["ranks"]}
    tables = write_tables(sweep, store, records(sweep, store))
    files = {name: store.folder / "tables" / f"{name}.parquet" for name in wanted}
    first = {name: path.read_bytes() for name, path in files.items()}
    write_tables(sweep, store, records(sweep, store))
    assert {name: path.read_bytes() for name, path in files.items()} == first
    for name, columns in wanted.items():
        assert tables[name].schema.equals(columns)
        nulls = [field.name for field in columns if not field.nullable and tables[name].column(field.name).null_count]
        assert nulls == []
    assert len(tables["cells"]) == 6 and len(tables["rounds"]) == 6 * 3
    for row in tables["cells"].to_pylist():
        accs = [
            this["test_acc"]
            for this in tables["rounds"].to_pylist()
            if this["cell"] == row["cell"] and this["round"] and this["test_acc"] is not None
        ]
        assert row["oracle_acc"] == max(accs)
        assert row["final_acc"] == (pytest.approx(sum(accs[-3:]) / len(accs[-3:])) if row["status"] == "done" else None)
    assert set(tables["rounds"].column("cell").to_pylist()) == {cell.folder for cell in sweep.cells}
    assert tables["rounds"].schema.metadata[b"schema_version"] == str(schema.VERSION).encode()


MIXED = """
    [[cells]]
    method = "orthdrop"
    keep = [0.25, "0.25:0.5,0.75:0.5", 0.5]
    [[cells]]
    method = "fedavg"
    partition = ["lda", "lda-prior"]
    alpha = 0.5
    [cells.training]
    rounds = 1
"""


def test_columns_of_capacities_and_of_both_conventions_of_alpha(tmp_path: Path) -> None:
    sweep, store = read(tmp_path, MIXED), Store(tmp_path / "results")
    for cell in sweep.cells:
        run_cell(cell, store=store)
    rows = write_tables(sweep, store, records(sweep, store))["cells"].to_pylist()
    mixed = [(row["keep"], row["capacities"], row["label"]) for row in rows if row["method"] == "orthdrop"]
    profile = "0.25:0.5,0.75:0.5"
    assert mixed == [(0.25, "", "orthdrop"), (0.5, profile, f"orthdrop, keep {profile}"), (0.5, "", "orthdrop")]
    alphas = {row["partition"]: (row["alpha"], row["alpha_per_class"], row["alpha_of_prior"]) for row in rows}
    classes = len(np.unique(load_standin("femnist", TRAINING["standin_train"], TRAINING["standin_test"]).train.labels))
    assert alphas == {
        "natural": (None, None, None),
        "lda": (0.5, 0.5, 0.5 * classes),
        "lda-prior": (0.5, 0.5 / classes, 0.5),
    }
    for row, cell in zip(rows, sweep.cells, strict=True):
        built = Federation.build(cell)
        skew = skew_of(built.partition, np.asarray(built.dataset.train.labels))
        assert (row["classes_per_client"], row["divergence_bits"]) == (skew.classes_per_client, skew.divergence_bits)
        assert row["local_training"] == ("penalty, decay_free" if row["method"] == "orthdrop" else "")


def test_cells_that_did_not_record_their_skew_are_read(tmp_path: Path) -> None:
    sweep, store = read(tmp_path, MIXED), Store(tmp_path / "results")
    run_cell(sweep.cells[0], store=store)
    found = records(sweep, store)
    assert found[0].facts["classes_per_client"] > 0
    older = {
        name: fact
        for name, fact in found[0].facts.items()
        if name not in ("classes_per_client", "divergence_bits", "local_training")
    }
    row = write_tables(sweep, store, [replace(found[0], facts=older), *found[1:]])["cells"].to_pylist()[0]
    assert row["classes_per_client"] is row["divergence_bits"] is row["local_training"] is None


def test_only(finished: tuple[Sweep, Store]) -> None:
    sweep = finished[0]
    assert {cell.method for cell in only(sweep, "method=fedavg").cells} == {"fedavg"}
    assert [cell.keep for cell in only(sweep, "keep = 0.50").cells] == [0.5, 0.5]
    assert {cell.seed for cell in only(only(sweep, "seed=1"), "method=orthdrop").cells} == {1}


@pytest.mark.parametrize("moving", ["dynamic", "dealt"])
def test_only_by_names_of_profiles_and_by_whether_they_are_drawn_anew(tmp_path: Path, moving: str) -> None:
    grid = f"""
        [[cells]]
        method = "orthdrop"
        keep = [0.25, "b:0.5,a:0.5"]
        capacity = ["fixed", "{moving}"]
    """
    sweep = read(tmp_path, grid)
    profile = "0.5:0.5,1:0.5"
    found = {
        condition: [cell.profile for cell in only(sweep, condition).cells]
        for condition in ("keep=c", "keep=a-b", f"keep={profile}", f"keep=a-b {moving}", f"keep={profile} {moving}",
                          f"capacity={moving}", "capacity=fixed")
    }  # fmt: skip
    both, again = [profile, f"{profile} {moving}"], [f"{profile} {moving}"]
    assert list(found.values()) == [[""], both, both, again, again, again, ["", profile]]
    assert sorted(series_labels(sweep.cells).values()) == [
        "orthdrop", f"orthdrop, keep {profile}", f"orthdrop, keep {profile} {moving}"
    ]  # fmt: skip
    with pytest.raises(BenchError, match=f"did you mean '{moving}'"):
        only(sweep, f"capacity={moving[:-2]}{moving[-1]}")


def test_columns_of_dynamic_capacities(tmp_path: Path) -> None:
    sweep = read(tmp_path, '[[cells]]\nmethod = "orthdrop"\nkeep = "b-c"\ncapacity = "dynamic"\n')
    store = Store(tmp_path / "results")
    run_cell(sweep.cells[0], store=store)
    known = records(sweep, store)
    tables = write_tables(sweep, store, known)
    (row,) = tables["cells"].to_pylist()
    profile = "0.25:0.5,0.5:0.5 dynamic"
    assert (row["keep"], row["capacities"], row["label"]) == (0.375, profile, f"orthdrop, keep {profile}")
    assert row["status"] == "done" and set(tables["rounds"]["capacities"].to_pylist()) == {profile}
    assert known[0].state == "done" and standing(known, store, ()).counts == {"done": 1}


def test_only_tells_mixed_keep_ratios_from_their_mean(tmp_path: Path) -> None:
    sweep = read(tmp_path, MIXED)
    assert [cell.capacities for cell in only(sweep, "keep=0.5").cells] == [()]
    (mixed,) = only(sweep, "keep=0.25:0.5,0.75:0.5").cells
    assert mixed.profile == "0.25:0.5,0.75:0.5"
    with pytest.raises(BenchError, match=r"'0\.25:0\.5,0\.75:0\.5'"):
        only(sweep, "keep=0.25:0.6,0.75:0.4")


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("method", ["name=value"]),
        ("=fedavg", ["name=value", "'method'"]),
        ("metod=fedavg", ["did you mean 'method'"]),
        ("method=fedavgg", ["no cell", "did you mean 'fedavg'"]),
        ("keep=0.3", ["no cell", "'0.2', '0.5', '1'"]),
        ("keep=nan", ["no cell"]),
        ("alpha=1", ["no cell", "'None'"]),
    ],
)
def test_only_that_is_wrong(finished: tuple[Sweep, Store], condition: str, words: list[str]) -> None:
    with pytest.raises(BenchError) as refused:
        only(finished[0], condition)
    said = str(refused.value)
    assert said.startswith(f"--only {condition!r}") and [word for word in words if word not in said] == [], said


def test_cells_that_differ_never_share_a_label() -> None:
    cells = [
        cell_of("prism"),
        cell_of("prism", parameters={"kappa": 1}),
        cell_of("prism", training={"lr": 0.3}),
        cell_of("prism", training={"lr": 0.7}),
        cell_of("prism", model={"variant": "released"}),
        cell_of("prism", keep="0.25:0.5,0.75:0.5"),
        cell_of("prism", keep="0.25:0.5,0.5:0.5", diagnostics="all"),
        cell_of("prism", diagnostics="all"),
        cell_of("orthdrop"),
    ]
    labels = series_labels(cells)
    assert len(set(labels.values())) == len(cells)
    assert labels[cells[-1].identity] == "orthdrop"
    assert labels[cells[0].identity] == "prism" and labels[cells[-2].identity] == "prism (diagnostics=all)"
    assert labels[cells[-4].identity] == "prism, keep 0.25:0.5,0.75:0.5"
    # The axes of a figure are not part of a label.
    other_seed = replace(cells[0], seed=4, keep=0.3)
    assert series_labels([cells[0], other_seed])[other_seed.identity] == "prism"
    of_paper = cell_of("prism", tier="paper", data="stand-in")
    assert list(series_labels([cells[0], of_paper]).values()) == ["prism (tier=quick)", "prism (tier=paper)"]
