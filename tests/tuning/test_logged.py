"""Rounds of trials sent to other tools by ``tune --log``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from studies import study_file, study_of, work
from tiny import CommandLine, cell_of

from bench.listeners.hearing import Hearing
from bench.tuning.events import Begun, Closed, Completed, Event
from bench.tuning.logged import logged


def test_rounds_and_ends_of_trials_reach_a_listener_beside_the_display(tmp_path: Path) -> None:
    told: list[Any] = []

    class Listener:
        def round(self, cell: Any, row: Any) -> None:
            told.append((cell.folder, row["round"]))

        def ended(self, cell: Any, status: str, reason: str) -> None:
            told.append((cell.folder, status, reason))

        def close(self) -> None:
            told.append("closed")

    shown: list[Event] = []
    cell = cell_of("prism", keep=0.5)
    hearing = Hearing([], {"mine": Listener()}, told.append)
    events = (
        Begun("prism", 0, "kappa 4"),
        Completed("prism", cell, {"round": 1}),
        Closed("prism", cell, "stopped", "pruned"),
    )
    with hearing:
        for event in events:
            logged(shown.append, hearing)(event)
    assert shown == list(events)
    assert told == [(cell.folder, 1), (cell.folder, "stopped", "pruned"), "closed"]


def test_a_trial_says_each_round_of_its_cells_and_how_they_ended(tmp_path: Path) -> None:
    heard = work(study_of(tmp_path), tmp_path / "results", stop_after=1)
    first, *_ = heard.of("Completed")
    rounds = [event.row["round"] for event in heard.of("Completed") if event.cell == first.cell]
    assert rounds == list(range(len(rounds))) and len(rounds) > 1
    assert {"test_acc", "down_bytes"} <= set(first.row)
    (closed,) = [event for event in heard.of("Closed") if event.cell == first.cell]
    assert closed.status == "stopped" and closed.cell.folder == first.cell.folder
    with Hearing.of(["csv"], tmp_path, [], print) as hearing:
        for event in heard.events:
            logged(lambda event: None, hearing)(event)
    with (tmp_path / "log" / "csv" / f"{first.cell.folder}.csv").open() as file:
        assert [int(row["round"]) for row in csv.DictReader(file)] == rounds


def test_an_unknown_log_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(tmp_path)
    said = CommandLine(monkeypatch, capsys).refused("tune", file, "--out", tmp_path / "tuned.toml", "--log", "csb")
    assert "--log 'csb': there is no such log; allowed: 'csv', 'tensorboard', 'wandb'; did you mean 'csv'?" in said
