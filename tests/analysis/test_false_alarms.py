"""Simulated results: with no true difference alarms are as rare as stated, with a known one power is as computed."""

from __future__ import annotations

import gc
import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from many_cells import grid
from scipy import stats

from bench.analysis.across import cliques, friedman, wilcoxon_pairs
from bench.analysis.bayes import probabilities
from bench.analysis.block import Block
from bench.analysis.comparisons import comparisons, within_family
from bench.analysis.power import power_of
from bench.analysis.resampling import bootstrap, percentiles
from bench.analysis.sign_flip import sign_flip

LEVEL, STD = 0.05, 0.02


def most(runs: int, rate: float = LEVEL) -> float:
    """Return the share of alarms that a procedure of this rate exceeds in one of ten thousand simulations."""
    return float(stats.binom.isf(1e-4, runs, rate)) / runs


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without the garbage collection in each call of multipletests: it is most of a simulation's time."""
    monkeypatch.setattr(gc, "collect", lambda *generation: 0)


def families(accs: npt.NDArray[np.float64]) -> list[pd.DataFrame]:
    """Return the comparisons of accuracies (families x labels x seeds), each setting judged as a family of its own."""
    rows = comparisons(grid(accs))[["setting", "difference", "std", "pairs", "p_t"]]
    return [within_family(of_family) for _, of_family in rows.groupby("setting", sort=False)]


def test_a_family_of_equal_methods_has_an_alarm_at_most_in_one_of_twenty() -> None:
    rng, runs = np.random.default_rng(0), 120
    shared = rng.normal(0.5, 0.05, (runs, 1, 5))  # what a seed does to all methods
    found = families(shared + rng.normal(0, STD, (runs, 4, 5)))
    alarms = np.mean([of_family["verdict"].isin(["better", "worse"]).any() for of_family in found])
    outside = np.mean([(of_family["adjusted_low"] * of_family["adjusted_high"] > 0).any() for of_family in found])
    unadjusted = np.mean([(of_family["p_t"] <= LEVEL).any() for of_family in found])
    print(
        f"family-wise alarms of {runs}: Holm {alarms:.1%}, intervals {outside:.1%}, without adjustment {unadjusted:.1%}"
    )
    assert 0 < alarms <= most(runs) and outside <= alarms
    assert unadjusted > most(runs)  # the simulation would find a procedure that does not adjust


def test_a_known_difference_is_found_as_often_as_computed() -> None:
    rng, runs, seeds, difference = np.random.default_rng(1), 400, 6, 0.04
    accs = rng.normal(0.5, STD, (runs, 2, seeds)) + np.array([difference, 0.0])[None, :, None]
    rows = comparisons(grid(accs))
    expected = float(power_of(STD * math.sqrt(2), seeds, difference))
    alone = ((rows["p_t"] <= LEVEL) & (rows["difference"] > 0)).mean()  # Holm's p-value in a family of one
    assert alone == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / runs))
    # Holm is at least as powerful as the Bonferroni level for which the detectable difference is computed.
    runs = 80
    three = rng.normal(0.5, STD, (runs, 3, seeds)) + np.array([2 * difference, 0.0, -2 * difference])[None, :, None]
    found = np.mean([of_family["verdict"].iloc[0] == "better" for of_family in families(three)])
    least = float(power_of(STD * math.sqrt(2), seeds, 2 * difference, LEVEL / 3))
    assert found >= least - 4 * math.sqrt(least * (1 - least) / runs)


def test_the_sign_flip_test_needs_no_normal_differences() -> None:
    rng, runs = np.random.default_rng(2), 1500
    heavy = rng.standard_t(1.5, (runs, 6))
    alarms = np.mean([sign_flip(list(row)) <= LEVEL for row in heavy])
    assert 0 < alarms <= most(runs)


def test_ranks_of_equal_methods_are_told_apart_at_most_in_one_of_twenty() -> None:
    rng, runs = np.random.default_rng(3), 30
    accs = rng.normal(0.5, STD, (runs, 10, 3, 1))
    tests, pairs, bars = [], [], []
    for one in accs:
        p, ratio = friedman(stats.rankdata(-one[:, :, 0], axis=1))
        table = wilcoxon_pairs(block(one.transpose(0, 2, 1), 1))
        tests.append((p <= LEVEL, ratio <= LEVEL))
        pairs.append(bool((table["p_holm"] <= LEVEL).any()))
        bars.append(cliques(["a", "b", "c"], table, p) != [("a", "b", "c")])
    ranks = stats.rankdata(rng.random((500, 10, 4)), axis=2)
    many = np.mean([[p <= LEVEL for p in friedman(one)] for one in ranks], axis=0)
    print(f"Friedman {many[0]:.1%}, Iman-Davenport {many[1]:.1%}, Wilcoxon-Holm {np.mean(pairs):.1%}")
    assert 0 < many[0] <= most(len(ranks)) and 0 < many[1] <= most(len(ranks))
    assert max(*np.mean(tests, axis=0), np.mean(pairs), np.mean(bars)) <= most(runs)
    assert np.mean(bars) <= np.mean(pairs)  # the diagram waits for Friedman's test


def test_the_bayesian_test_is_seldom_sure_of_a_difference_that_is_not_there() -> None:
    rng, runs, settings = np.random.default_rng(4), 400, 10
    weights = np.random.RandomState(0).dirichlet([0.5, *[1.0] * settings], 2000)
    chances = np.array([probabilities(rng.normal(0, STD, settings), 0.005, weights) for _ in range(runs)])
    sure = (chances[:, [0, 2]] > 0.95).mean(axis=0)
    print(f"P(better) > 0.95 in {sure[0]:.1%}, P(worse) > 0.95 in {sure[1]:.1%}")
    assert (sure <= most(runs)).all()
    clear = np.array([probabilities(rng.normal(0.03, STD, settings), 0.005, weights)[0] for _ in range(100)])
    assert (clear > 0.95).mean() > 0.8


def test_intervals_of_win_rates_draw_tasks_first() -> None:
    # Which of two equal methods a task favours is drawn for the task: its settings go together.
    rng, runs, tasks, settings, seeds = np.random.default_rng(5), 60, 10, 5, 2
    favoured = np.repeat(rng.normal(0, 0.05, (runs, tasks, 1, 2)), settings, axis=1)
    accs = 0.5 + favoured + rng.normal(0, STD, (runs, tasks * settings, seeds, 2))
    alarms = {
        words: np.mean([_alarm(one, of_task) for one in accs])
        for words, of_task in (("tasks first", settings), ("settings alone", 1))
    }
    print(f"intervals that leave one half out: {alarms}")
    assert alarms["tasks first"] <= most(runs, 0.08)  # percentile intervals of ten tasks are somewhat too narrow
    assert alarms["settings alone"] > most(runs, 0.08)


def _alarm(accs: npt.NDArray[np.float64], settings_of_a_task: int) -> bool:
    low, high = percentiles(bootstrap(block(accs, settings_of_a_task), 200)[:, 0, 1])
    return bool(low > 0.5 or high < 0.5)


def block(accs: npt.NDArray[np.float64], settings_of_a_task: int) -> Block:
    """Return accuracies (settings x seeds x labels) as a block, so many settings to a task."""
    names = tuple(map(str, range(len(accs))))
    tasks = tuple(str(number // settings_of_a_task) for number in range(len(accs)))
    labels = tuple("abcdef"[: accs.shape[2]])
    return Block(labels, names, names, tasks, (False,) * len(labels), accs)
