"""Which trials end early: Optuna's pruners, asked in a way that an interruption cannot change the answer."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import optuna
from optuna import Study, Trial
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner

from bench.parameters import parameter
from bench.tuning.guard import storage_guarded

RUNGS = "rungs"
"""The attribute of a trial that holds what Hyperband keeps of it."""


@dataclass(frozen=True)
class MedianSettings:
    """Options of Optuna's MedianPruner: a trial ends that is worse than the median of the earlier ones."""

    kind: ClassVar[str] = "median"
    n_startup_trials: int = parameter(5, "complete trials before any is pruned", low=0)
    n_warmup_steps: int = parameter(0, "rounds of each trial in which it is not pruned", low=0)
    interval_steps: int = parameter(1, "rounds between two decisions", low=1)
    n_min_trials: int = parameter(1, "trials that must have reached the round", low=1)

    def pruner(self, steps: int) -> BasePruner:
        """Return the pruner of trials of so many steps."""
        return MedianPruner(
            self.n_startup_trials, self.n_warmup_steps, self.interval_steps, n_min_trials=self.n_min_trials
        )


@dataclass(frozen=True)
class HyperbandSettings:
    """Options of Optuna's HyperbandPruner: the best share of each bracket of trials goes on."""

    kind: ClassVar[str] = "hyperband"
    min_resource: int | None = parameter(None, "rounds that each trial has; a ninth of all if not given", low=1)
    reduction_factor: int = parameter(3, "one trial in so many goes on", low=2)
    bootstrap_count: int = parameter(0, "trials that must have reached a rung before any passes it", low=0)

    def pruner(self, steps: int) -> BasePruner:
        """Return the pruner of trials of so many steps."""
        least = max(steps // 9, 1) if self.min_resource is None else min(self.min_resource, steps)
        return HyperbandPruner(least, steps, self.reduction_factor, self.bootstrap_count)


PrunerSettings = MedianSettings | HyperbandSettings
PRUNERS: dict[str, Any] = {kind.kind: kind for kind in (MedianSettings, HyperbandSettings)}


class Judge:
    """Decides whether a trial ends early.

    Hyperband writes down each decision in the study. A process that is killed between that and the end of its trial
    would leave the decision without its effect. Here the pruner sees a copy of the study, with the other trials as they
    are and this one from its beginning; what it writes down is kept with the trial when that has ended.

    Args:
        study: the study, to which the values are reported too.
        trial: one of its trials, fresh or interrupted.
        settings: the pruner's; None: nothing is pruned.
        steps: of a trial that is not pruned.

    Raises:
        StorageError: here as in all methods, the study cannot be read or written.
        LeaseLost: likewise, another process has ended the trial.
    """

    @storage_guarded()
    def __init__(self, study: Study, trial: Trial, settings: PrunerSettings | None, steps: int) -> None:
        self.trial, self.steps = trial, steps
        trials = study.get_trials(deepcopy=True)
        self.reported = set(trials[trial.number].intermediate_values)
        self.view: Trial | None = None
        if settings is None:
            return
        copied = optuna.create_study(
            study_name=study.study_name, direction="maximize", pruner=settings.pruner(steps),
            sampler=optuna.samplers.RandomSampler(0),
        )  # fmt: skip
        for other in trials[: trial.number]:
            copied.add_trial(_with_rungs(other))
        self.view = copied.ask()
        for other in trials[trial.number + 1 :]:
            copied.add_trial(_with_rungs(other))

    @storage_guarded()
    def prunes(self, step: int, accuracy: float) -> bool:
        """Report an accuracy and return whether the trial ends here; never after its last step."""
        if step not in self.reported:
            self.trial.report(accuracy, step)
        if self.view is None:
            return False
        self.view.report(accuracy, step)
        return step < self.steps and self.view.should_prune()

    @storage_guarded()
    def keep(self) -> None:
        """Keep with the trial what the pruner wrote down of it."""
        if self.view is not None:
            written = self.view.study.trials[self.view.number].system_attrs
            rungs = {name: value for name, value in written.items() if name.startswith("completed_rung")}
            if rungs:
                self.trial.set_user_attr(RUNGS, rungs)


def _with_rungs(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    kept = copy.copy(trial)
    kept.system_attrs = {**trial.system_attrs, **trial.user_attrs.get(RUNGS, {})}
    return kept


def options_of(settings: PrunerSettings | None) -> dict[str, Any]:
    """Return a pruner's options as plain values."""
    if settings is None:
        return {"kind": "none"}
    return {"kind": settings.kind, **{field.name: getattr(settings, field.name) for field in fields(settings)}}
