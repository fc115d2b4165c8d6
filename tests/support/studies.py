"""Tiny studies for the tests of tuning, worked on in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
from tiny import CNN, write

from bench.tuning.results import trials_of
from bench.tuning.study_file import Study, read_study
from bench.tuning.tables import Trials, trials_table
from bench.tuning.work import Assignment, Worker

ROUNDS = 4
HEAD = """
trials = 6
validation = 0.2
seeds = [0, 1]
report_seeds = [7, 8]
"""
COMMON = f"""
[common]
task = "{CNN}"
keep = 0.3
[common.training]
rounds = {ROUNDS}
clients = 4
cohort = 2
samples_per_client = 40
local_epochs = 1
standin_train = 400
standin_test = 60
"""
METHODS = """
[methods.prism]
lr = { low = 0.01, high = 0.5 }
[methods.orthdrop]
"""
SEARCHED = """
[sampler]
n_startup_trials = 2
[pruner]
n_startup_trials = 2
"""


class Heard:
    """Stands for the parent of a worker: hears its events, and says stop after so many reports or when it waits."""

    def __init__(self, stop_after: float = float("inf")) -> None:
        self.events: list[Any] = []
        self.stop_after = stop_after

    def send(self, event: Any) -> None:
        """Hear an event."""
        self.events.append(event)

    def poll(self) -> bool:
        """Return whether to stop."""
        waits = any("waits for" in note.line for note in self.of("Note"))
        return waits or len(self.of("Reached")) >= self.stop_after

    def of(self, kind: str) -> list[Any]:
        """Return the events of a kind."""
        return [event for event in self.events if type(event).__name__ == kind]


def study_file(
    folder: Path,
    methods: str = METHODS,
    head: str = HEAD,
    rest: str = SEARCHED,
    name: str = "study",
    common: str = COMMON,
) -> Path:
    """Write a tiny study file."""
    return write(folder / f"{name}.toml", head + common + methods + rest)


def study_of(folder: Path, methods: str = METHODS, head: str = HEAD, rest: str = SEARCHED) -> Study:
    return read_study(study_file(folder, methods, head, rest))


def work(
    study: Study, folder: Path, index: int = 0, *, storage: str | None = None, stop_after: float = float("inf")
) -> Heard:
    """Work on one search of a study in this process."""
    heard = Heard(stop_after)
    Worker(heard, Assignment(study, index, folder, storage, (), "cpu")).work()  # type: ignore[arg-type]
    return heard


def trials(study: Study, folder: Path, storage: str | None = None) -> Trials:
    return trials_of(study, folder, storage, ())


def rows(study: Study, folder: Path, storage: str | None = None) -> list[dict[str, Any]]:
    """Return the table of trials without the columns of time."""
    return without_time(trials_table(study, trials(study, folder, storage)).to_pylist())


def stored_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the table of trials that a command has written."""
    return without_time(pq.read_table(folder / "tables" / "trials.parquet").to_pylist())


def without_time(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if not name.endswith("_s")} for row in found]


def named(opened: Trials, label: str) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of a method."""
    return next(own for search, own in opened if search.label == label)
