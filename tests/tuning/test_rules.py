"""The rules of tuning, one by one: what a trial is given, what it is worth, and which one is the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from studies import study_of

from bench.tuning.objective import cell_accuracy, evaluated
from bench.tuning.plots import readable
from bench.tuning.pruning import Judge, MedianSettings
from bench.tuning.sampler import PerTrialSampler
from bench.tuning.storage import open_storage, open_study
from bench.tuning.tables import best_of

COMPLETE, PRUNED = TrialState.COMPLETE, TrialState.PRUNED
PRISM = "[methods.prism]\nlr = { low = 0.01, high = 0.5 }\n"


def test_each_trial_draws_from_a_stream_of_its_own(tmp_path: Path) -> None:
    """Of random trials, which depend on no others, no two are alike, and a trial is the same in each process."""
    study = study_of(tmp_path, PRISM)
    (search,) = study.searches
    frozen = [optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING) for _ in range(3)]
    opened = optuna.create_study()

    def suggested(number: int) -> dict[str, Any]:
        frozen[number].number = number
        sampler = PerTrialSampler(replace(study.sampler, n_startup_trials=10), search)
        return sampler.sample_relative(opened, frozen[number], sampler.space)

    assert suggested(1) == suggested(1)
    for name in suggested(1):
        assert suggested(1)[name] != suggested(2)[name]


def test_trial_0_has_the_papers_values_and_the_others_four_digits(tmp_path: Path) -> None:
    study = study_of(tmp_path, PRISM)
    (search,) = study.searches
    sampler, opened = PerTrialSampler(replace(study.sampler, n_startup_trials=10), search), optuna.create_study()
    trials = [optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING) for _ in range(4)]
    for number, trial in enumerate(trials):
        trial.number = number
    values = [sampler.sample_relative(opened, trial, sampler.space) for trial in trials]
    assert values[0] == search.paper
    suggested = [value for some in values[1:] for value in some.values()]
    assert all(float(f"{value:.4g}") == value for value in suggested)
    assert any(float(f"{value:.3g}") != value for value in suggested)


def test_a_trial_is_worth_its_last_evaluations() -> None:
    """The initial model does not count, nor do rounds without an evaluation; a cell that diverged is worth nothing."""
    accuracies = {0: 0.9, 1: 0.5, 2: None, 3: 0.1, 4: 0.3}
    rounds = [{"round": number, "validation_acc": accuracy} for number, accuracy in accuracies.items()]
    assert evaluated(rounds) == [(1, 0.5), (3, 0.1), (4, 0.3)]
    assert cell_accuracy(rounds, "done", 2) == pytest.approx(0.2)
    assert cell_accuracy(rounds, "done", 9) == pytest.approx(0.3)
    assert cell_accuracy(rounds, "diverged", 2) == cell_accuracy(rounds[:1], "done", 2) == 0.0


def test_the_best_trial_is_complete_and_the_earliest_of_equals() -> None:
    values = [(0.2, COMPLETE), (0.7, COMPLETE), (0.7, COMPLETE), (0.9, PRUNED)]
    trials = [optuna.trial.create_trial(value=value, state=state) for value, state in values]
    for number, trial in enumerate(trials):
        trial.number = number
    best = best_of(trials)
    assert best is not None and best.number == 1
    assert best_of(trials[3:]) is None


def test_a_higher_accuracy_is_better_everywhere(tmp_path: Path) -> None:
    """For Optuna's sampler and plots, for its pruners, and for what is chosen in the end."""
    study = study_of(tmp_path, PRISM)
    (search,) = study.searches
    opened = open_study(study, search, open_storage(None, tmp_path), ())
    assert opened.direction == readable(opened, [], search).direction == optuna.study.StudyDirection.MAXIMIZE
    trials = [optuna.trial.create_trial(value=value) for value in (0.2, 0.7, 0.5)]
    best = best_of(trials)
    assert best is not None and best.value == 0.7
    for accuracy, ends in ((0.1, True), (0.9, False)):
        watched = optuna.create_study(direction="maximize")
        watched.add_trial(optuna.trial.create_trial(value=0.5, intermediate_values={1: 0.5}))
        judge = Judge(watched, watched.ask(), MedianSettings(n_startup_trials=1), steps=4)
        assert judge.prunes(1, accuracy) == ends
