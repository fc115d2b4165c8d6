"""Rounds passed on to other tools are those of the results, and a tool that fails costs none."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny import CommandLine, sweep_of

from bench.cell import Cell
from bench.errors import BenchError
from bench.launch import apart
from bench.launch.apart import Seen
from bench.launch.events import Again, Ended, Lost, Progress, Started, Stopped
from bench.launch.running import Outcome
from bench.listeners.csv_file import CsvFiles
from bench.listeners.hearing import KINDS, Hearing, kinds_in, listener

ROWS: list[dict[str, Any]] = [
    {"round": 0, "test_acc": 0.1, "train_loss": None, "up_bytes": 0},
    {"round": 1, "test_acc": None, "train_loss": 2.5, "up_bytes": 800},
    {"round": 2, "test_acc": 0.3, "train_loss": 2.0, "up_bytes": 800},
]
CELL = Cell("cnn-femnist", "prism", 0.2)


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def told(kind: str, folder: Path) -> Path:
    """Tell a listener of a cell's rounds and end, and return the folder of its log."""
    heard = listener(kind, folder)
    for row in ROWS:
        heard.round(CELL, row)
    heard.ended(CELL, "done", "")
    heard.close()
    return folder / "log" / kind


def test_a_csv_file_has_a_line_a_round(tmp_path: Path) -> None:
    lines = lines_of(told("csv", tmp_path) / f"{CELL.folder}.csv")
    assert lines == [{name: "" if value is None else str(value) for name, value in row.items()} for row in ROWS]


def test_a_round_that_is_run_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    path = told("csv", tmp_path) / f"{CELL.folder}.csv"
    CsvFiles(tmp_path).round(CELL, ROWS[1] | {"train_loss": 2.4})  # another process, from the checkpoint behind round 0
    assert [(line["round"], line["train_loss"]) for line in lines_of(path)] == [("0", ""), ("1", "2.4")]
    heard = CsvFiles(tmp_path)
    heard.round(CELL, ROWS[2])
    heard.ended(CELL, "stopped", "after round 2")
    heard.round(CELL, ROWS[2] | {"train_loss": 1.5})  # the same process, which goes on from an earlier checkpoint
    assert [(line["round"], line["train_loss"]) for line in lines_of(path)] == [("0", ""), ("1", "2.4"), ("2", "1.5")]


def test_a_file_with_other_columns_is_begun_anew(tmp_path: Path) -> None:
    path = told("csv", tmp_path) / f"{CELL.folder}.csv"
    CsvFiles(tmp_path).round(CELL, {"round": 3, "test_acc": 0.4})
    assert lines_of(path) == [{"round": "3", "test_acc": "0.4"}]


def test_tensorboard_reads_what_was_measured(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(told("tensorboard", tmp_path) / CELL.folder))
    events.Reload()
    scalars = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert scalars["test_acc"] == [(0, pytest.approx(0.1)), (2, pytest.approx(0.3))]
    assert scalars["train_loss"] == [(1, 2.5), (2, 2.0)]
    assert "round" not in scalars


def test_weights_and_biases_keeps_runs_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = told("wandb", tmp_path)
    (run,) = folder.glob(f"wandb/offline-run-*-{CELL.identity}/run-{CELL.identity}.wandb")
    written = run.read_bytes()
    for word in ("test_acc", "train_loss", CELL.folder, '"prism"', "cnn-femnist"):
        assert word.encode() in written, f"{word} is not in the run"


def test_all_kinds_of_a_sweep_hear_what_its_tables_say(tmp_path: Path, command: CommandLine) -> None:
    cells = '[[cells]]\nmethod = "fedavg"\nkeep = 1.0\n'
    file = sweep_of(tmp_path, cells, 'figures = ["accuracy-keep"]\n')
    words = ("sweep", file, "--engine", "inline", "--results", tmp_path / "results", "--log", "csv,tensorboard")
    assert command(*words).code == 0
    folder = tmp_path / "results" / "tiny"
    table = pd.read_parquet(folder / "tables" / "rounds.parquet")
    (path,) = (folder / "log" / "csv").glob("*.csv")
    heard = pd.read_csv(path)
    assert heard["round"].tolist() == table["round"].tolist() == [0, 1, 2]
    for name in ("test_acc", "train_loss", "up_bytes", "train_macs"):
        pd.testing.assert_series_equal(
            heard[name].astype(float), table[name].astype(float), check_names=False, check_index=False
        )
    assert list((folder / "log" / "tensorboard" / path.stem).iterdir())


def test_run_has_a_log_too(tmp_path: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_apart(order: Any, on_round: Callable[[Seen], None], on_note: Any) -> Outcome:
        for row in ROWS:
            on_round(Seen(row["round"], 2, None, None, None, 0, 1.0, "data", "data", 9, False, row))
        return Outcome("done", "", [], "", "data")

    monkeypatch.setattr(apart, "run_apart", run_apart)
    words = ("run", "--task", "cnn-femnist", "--method", "fedavg", "--results", tmp_path, "--log", "csv")
    assert command(*words).code == 0
    (path,) = (tmp_path / "runs" / "log" / "csv").glob("*.csv")
    assert [line["round"] for line in lines_of(path)] == ["0", "1", "2"]


class Recording:
    """A listener that remembers, and raises where it is told to."""

    def __init__(self, raises: str = "") -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.raises = raises

    def round(self, cell: Cell, row: Any) -> None:
        self._hear("round", cell.folder, row["round"])

    def ended(self, cell: Cell, status: str, reason: str) -> None:
        self._hear("ended", status, reason)

    def close(self) -> None:
        self._hear("close")

    def _hear(self, what: str, *words: Any) -> None:
        self.heard.append((what, *words))
        if what == self.raises:
            raise OSError(28, "No space left on device")


def test_one_that_fails_is_left_out_and_the_others_hear_on() -> None:
    broken, whole, said = Recording("round"), Recording(), list[str]()
    with Hearing([CELL], {"broken": broken, "whole": whole}, said.append) as hearing:
        for row in ROWS[:2]:
            hearing.hear(Progress(CELL.folder, row["round"], 2, "", row))
        hearing.hear(Ended(CELL.folder, "done", "", 1.0))
    assert broken.heard == [("round", CELL.folder, 0)]
    assert whole.heard == [("round", CELL.folder, 0), ("round", CELL.folder, 1), ("ended", "done", ""), ("close",)]
    assert said == ["--log broken: it failed and is left out from here on: [Errno 28] No space left on device"]


def test_a_cell_that_goes_on_elsewhere_or_later_has_ended_here() -> None:
    recording = Recording()
    hearing = Hearing([CELL], {"it": recording}, print)
    for event in (Started(CELL.folder), Stopped(CELL.folder, "after round 1"), Lost(CELL.folder)):
        hearing.hear(event)
    hearing.hear(Again(CELL.folder, "out of memory"))
    reasons = ["after round 1", "taken over by another process", "out of memory"]
    assert recording.heard == [("ended", "stopped", reason) for reason in reasons]


def test_wrong_names_are_refused_before_anything_is_run(tmp_path: Path, command: CommandLine) -> None:
    assert kinds_in(["csv, wandb", "csv"]) == ["csv", "wandb"]
    file = sweep_of(tmp_path)
    said = command.refused("sweep", file, "--results", tmp_path / "results", "--log", "tensorbord", "--dry-run")
    assert "'tensorbord'" in said
    assert "did you mean 'tensorboard'?" in said


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delitem(sys.modules, "bench.listeners.wandb", raising=False)
    with pytest.raises(BenchError, match="--log wandb: 'wandb' is not installed; 'pip install wandb' adds it"):
        listener("wandb", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_cannot_be_made_is_one_sentence(kind: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    with pytest.raises(BenchError, match=f"--log {kind}: .*log cannot be written"):
        listener(kind, tmp_path)
