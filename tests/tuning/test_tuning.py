"""Trials: what they are worth, that an interruption changes nothing, and that finished cells are never run again."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow.parquet as pq
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import MedianPruner
from sqlalchemy.exc import OperationalError
from studies import ROUNDS, SEARCHED, Heard, named, rows, study_of, trials, work
from tiny import write

from bench.errors import StorageError
from bench.launch.running import run_cell
from bench.store.checkpoint import Checkpoint
from bench.tuning import trial as trial_module
from bench.tuning.storage import JOURNAL
from bench.tuning.study_file import Study
from bench.tuning.work import Assignment, Worker, cell_store

PRISM = "[methods.prism]\nlr = { low = 0.01, high = 0.5 }\n"
HYPERBAND = '[sampler]\nn_startup_trials = 2\n[pruner]\nkind = "hyperband"\nmin_resource = 2\n'


@pytest.fixture(
    scope="module", params=[SEARCHED, pytest.param(HYPERBAND, marks=pytest.mark.slow)], ids=["median", "hyperband"]
)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """A study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    study = study_of(folder, PRISM, rest=request.param)
    work(study, folder)
    return study, folder


def test_a_trial_is_worth_the_mean_over_seeds_of_the_last_validation_accuracies(whole: tuple[Study, Path]) -> None:
    study, folder = whole
    found = rows(study, folder)
    assert len(found) == study.budget.trials
    complete = [row for row in found if row["state"] == "complete"]
    assert complete
    for row in complete:
        means = []
        for cell in row["cells"]:
            table = pq.read_table(folder / "study" / "cells" / cell / "rounds.parquet").to_pydict()
            assert set(table["test_acc"]) == {None}
            pairs = zip(table["round"], table["validation_acc"], strict=True)
            accuracies = [acc for number, acc in pairs if number > ROUNDS - 3]
            means.append(statistics.fmean(accuracies))
        assert len(means) == len(study.seeds)
        assert row["validation_acc"] == pytest.approx(statistics.fmean(means), abs=1e-15)
        assert row["rounds"] == ROUNDS * len(study.seeds)
    best = max(complete, key=lambda row: (row["validation_acc"], -row["trial"]))
    assert [row["trial"] for row in found if row["is_best"]] == [best["trial"]]


def test_trial_0_has_the_papers_values_and_is_the_papers_cell(whole: tuple[Study, Path]) -> None:
    study, folder = whole
    first = rows(study, folder)[0]
    assert (first["param_kappa"], first["param_frobenius_decay"], first["param_lr"]) == (2.0, 5e-4, 0.1)
    facts = json.loads((folder / "study" / "cells" / first["cells"][0] / "cell.json").read_text())
    assert "parameters" not in facts["cell"]  # the method as it is


def test_suggested_values_lie_in_their_ranges_with_four_digits(whole: tuple[Study, Path]) -> None:
    study, folder = whole
    ranges = {"kappa": (0, 6), "frobenius_decay": (1e-5, 1e-2), "lr": (0.01, 0.5)}
    for row in rows(study, folder):
        for name, (low, high) in ranges.items():
            value = row[f"param_{name}"]
            assert low <= value <= high and float(f"{value:.4g}") == value
    assert len({row["param_kappa"] for row in rows(study, folder)}) == study.budget.trials


@pytest.mark.parametrize("reports", [5, *(pytest.param(reports, marks=pytest.mark.slow) for reports in (1, 3))])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(
    whole: tuple[Study, Path], tmp_path: Path, reports: int
) -> None:
    """It is stopped again and again, each time after a few reports, in new processes' stead in new workers."""
    study, folder = whole
    stops = 0
    while True:
        heard = work(study, tmp_path, stop_after=reports)
        if not heard.poll() and not heard.of("Note"):
            break
        stops += any("is left" in note.line for note in heard.of("Note"))
        assert stops < 100
    assert stops
    assert rows(study, tmp_path) == rows(study, folder)


def test_a_study_without_its_storage_replays_without_training(
    whole: tuple[Study, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = whole
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / JOURNAL).unlink()

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a cell was run")

    monkeypatch.setattr(trial_module, "run_cell", run)
    work(study, tmp_path)
    replayed = rows(study, tmp_path)
    assert replayed == rows(study, folder)
    assert {row["state"] for row in replayed} >= {"complete", "pruned"}, "the study prunes, so that this is tested"


def test_pruned_trials_leave_their_cell_where_it_was(whole: tuple[Study, Path]) -> None:
    study, folder = whole
    store = cell_store(folder)
    pruned = [row for row in rows(study, folder) if row["state"] == "pruned"]
    assert pruned
    for row in pruned:
        assert row["validation_acc"] is None
        seed, last = divmod(row["pruned_at"] - 1, ROUNDS)
        assert row["rounds"] == row["pruned_at"] and len(row["cells"]) == seed + 1
        if last + 1 < ROUNDS:
            checkpoint = Checkpoint(store.unfinished / row["cells"][-1] / "checkpoint.pt", {})
            saved = checkpoint.load()
            assert saved is not None and saved[0]["round"] == last + 1


@pytest.mark.parametrize("whole", [SEARCHED], ids=["median"], indirect=True)
def test_the_median_pruner_ends_the_trials_that_optuna_would(whole: tuple[Study, Path]) -> None:
    """Against Optuna's pruner on the reported values, trial by trial and step by step."""
    own = named(trials(*whole), "prism")
    again = optuna.create_study(direction="maximize", pruner=MedianPruner(2, 0, 1, n_min_trials=1))
    for trial in own:
        fresh = again.ask()
        ended = None
        for step, accuracy in sorted(trial.intermediate_values.items()):
            assert ended is None, "it went on after it should have ended"
            fresh.report(accuracy, step)
            if fresh.should_prune() and step < 2 * ROUNDS:
                ended = step
        assert ended == trial.user_attrs["pruned_at"]
        if ended is None:
            again.tell(fresh, trial.value)
        else:
            again.tell(fresh, state=optuna.trial.TrialState.PRUNED)


EXPLODES = """
from bench.parameters import parameter
from dataclasses import dataclass
from methods.fedavg import FedAvg, FedAvgParams

@dataclass(frozen=True)
class Params(FedAvgParams):
    factor: float = parameter(1.0, low=-10.0, high=10.0, search=(-5.0, 5.0))

class Fragile(FedAvg):
    name = "fragile"
    Params = Params

    def aggregate(self, server, updates, streams):
        server = super().aggregate(server, updates, streams)
        if self.params.factor < 0:
            {what}
        return server
"""


def outcomes(tmp_path: Path, what: str) -> list[dict[str, Any]]:
    plugin = write(tmp_path / "fragile.py", EXPLODES.format(what=what))
    from studies import HEAD, study_file

    from bench.tuning.study_file import read_study
    from bench.tuning.tables import trials_table

    head = HEAD.replace("[0, 1]", "[0]")
    study = read_study(study_file(tmp_path, "[methods.fragile]\n", head, '[pruner]\nkind = "none"\n'), (plugin,))
    Worker(Heard(), Assignment(study, 0, tmp_path, None, (plugin,), "cpu")).work()  # type: ignore[arg-type]
    from bench.tuning.results import trials_of

    return trials_table(study, trials_of(study, tmp_path, None, (plugin,)), (plugin,)).to_pylist()


def test_a_diverged_cell_is_worth_nothing_and_counts(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "next(server.model.parameters()).data.fill_(float('nan'))")
    assert [row["state"] for row in found] == ["complete"] * 6
    diverged = [row for row in found if row["param_factor"] < 0]
    assert 0 < len(diverged) < 6
    for row in diverged:
        assert row["validation_acc"] == 0.0 and "diverged" in row["reason"] and not row["is_best"]


def test_a_crashed_cell_fails_its_trial_with_the_reason_and_counts_with_its_rounds(tmp_path: Path) -> None:
    found = outcomes(tmp_path, "raise RuntimeError('out of luck')")
    assert len(found) == 6
    failed = [row for row in found if row["state"] == "failed"]
    assert failed
    for row in failed:
        assert len(row["cells"]) == 1 and row["trial_s"] > 0
    for row in found:
        assert row["state"] == ("failed" if row["param_factor"] < 0 else "complete")
        assert ("out of luck" in row["reason"]) == (row["param_factor"] < 0)


def test_values_that_do_not_go_together_fail_their_trial_alone(tmp_path: Path) -> None:
    head = "trials = 8\nvalidation = 0.2\nseeds = [0]\nreport_seeds = [7]\n"
    study = study_of(tmp_path, "[methods.prism]\nsampling = {}\n", head, '[pruner]\nkind = "none"\n')
    heard = work(study, tmp_path)
    found = rows(study, tmp_path)
    refused = [row for row in found if row["state"] == "failed"]
    assert 0 < len(refused) < len(found) == 8
    for row in refused:
        assert row["reason"].startswith(f"{study.searches[0].name}, parameters") and row["cells"] == []
    assert {row["state"] for row in found} == {"complete", "failed"}
    assert [event.number for event in heard.of("Done")] == list(range(8))


NO_DISK = [StorageInternalError("no disk"), OperationalError("INSERT", {}, Exception("no disk")), OSError("no disk")]
TAKEN = UpdateFinishedTrialError("taken over")


@pytest.mark.parametrize("error", [*NO_DISK, TAKEN], ids=lambda error: type(error).__name__)
def test_a_hiccup_of_the_storage_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The command ends with one sentence, but for a trial that another process has ended: that one is left."""
    study = study_of(tmp_path, PRISM, "trials = 1\nseeds = [0]\nreport_seeds = [7]\n")
    report, calls = optuna.Trial.report, iter(range(1000))

    def hiccup(trial: optuna.Trial, value: float, step: int) -> None:
        if next(calls) == 2:
            raise error
        report(trial, value, step)

    monkeypatch.setattr(optuna.Trial, "report", hiccup)
    if error is not TAKEN:
        with pytest.raises(StorageError, match=r"the trials cannot be read or written: .*no disk"):
            work(study, tmp_path)
        assert [row["state"] for row in rows(study, tmp_path)] == ["running"]
    heard = work(study, tmp_path)
    assert any("is left: another process" in note.line for note in heard.of("Note")) == (error is TAKEN)
    (row,) = rows(study, tmp_path)
    assert (row["state"], row["rounds"], row["reason"]) == ("complete", ROUNDS, "")


def test_what_is_left_out_means_the_papers_value(tmp_path: Path) -> None:
    """Explicit values of trial 0 give the numbers of the method without any."""
    study = study_of(tmp_path, PRISM)
    search = study.searches[0]
    bare = search.cell(search.paper, 3)
    explicit = search.cell({**search.paper, "lr": 0.1 * (1 + 1e-12)}, 3)
    assert not bare.parameters and set(explicit.parameters) == {"kappa", "frobenius_decay"}
    first, second = run_cell(bare), run_cell(explicit)
    accuracies = [
        [row["test_loss"] for row in outcome.rounds if row["test_loss"] is not None] for outcome in (first, second)
    ]
    assert np.allclose(*accuracies, rtol=1e-5)
