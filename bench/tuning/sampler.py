"""Which values a trial tries: those of the papers first, then what a Tree-structured Parzen Estimator suggests."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from bench.parameters import parameter
from bench.seeding import key_of
from bench.tuning.dimension import Dimension
from bench.tuning.space import Search

DIGITS = 4
"""Significant digits of suggested numbers, so that a tuned value can be read and typed."""


@dataclass(frozen=True)
class SamplerSettings:
    """Options of Optuna's TPESampler, none left to its defaults."""

    seed: int = parameter(0, "seed of the suggestions", low=0)
    n_startup_trials: int = parameter(8, "first trials, drawn at random but for trial 0", low=1)
    n_ei_candidates: int = parameter(24, "candidates of which the one of largest expected improvement is tried", low=1)
    multivariate: bool = parameter(True, "parameters are suggested together, or each for itself")
    group: bool = parameter(False, "with multivariate: parameters that never occur together are modelled apart")
    constant_liar: bool = parameter(True, "trials that run count as bad ones, so that joint workers look elsewhere")

    def __post_init__(self) -> None:
        """Refuse what Optuna refuses.

        Raises:
            ValueError: in one sentence.
        """
        if self.group and not self.multivariate:
            raise ValueError("group = true needs multivariate = true")


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna has it."""
    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    low, high = dimension.bounds
    if dimension.whole:
        return IntDistribution(int(low), int(high), log=dimension.log)
    return FloatDistribution(low, high, log=dimension.log)


class PerTrialSampler(BaseSampler):
    """TPE whose random numbers are a function of the trial's number.

    What a trial is given depends on the finished trials before it and on nothing else: not on what this process
    suggested earlier. A study that was interrupted goes on as if it had not been.

    Args:
        settings: options of the sampler.
        search: what is searched; trial 0 has its papers' values.
    """

    def __init__(self, settings: SamplerSettings, search: Search) -> None:
        self.settings, self.search = settings, search
        self.space = {dimension.name: distribution_of(dimension) for dimension in search.space}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: all values of a trial are chosen at once."""
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the values of a trial."""
        if trial.number == 0:
            return self.search.paper
        tpe = self._tpe(trial.number)
        joint = tpe.infer_relative_search_space(study, trial)
        values = tpe.sample_relative(study, trial, joint)
        return {
            dimension.name: _readable(
                dimension,
                values[dimension.name]
                if dimension.name in values
                else tpe.sample_independent(study, trial, dimension.name, self.space[dimension.name]),
            )
            for dimension in self.search.space
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never needed: :meth:`sample_relative` gives all values."""
        raise AssertionError(f"{param_name} is not searched")

    def _tpe(self, number: int) -> TPESampler:
        key = key_of(self.settings.seed, f"tune/{self.search.task}/{self.search.label}", number)
        options: Mapping[str, Any] = vars(self.settings) | {"seed": key % 2**32}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(**options)


def _readable(dimension: Dimension, value: Any) -> Any:
    """Return a suggested number with ``DIGITS`` significant digits, within its range."""
    if dimension.choices or dimension.whole:
        return value
    low, high = dimension.bounds
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)
