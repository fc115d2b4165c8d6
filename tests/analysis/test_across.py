"""Ranks, win rates and the hierarchical bootstrap, against SciPy, enumeration and scikit-posthocs."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from many_cells import grid, joined, series
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bench.analysis.across import cliques, friedman, mean_ranks, rank_pairs, wilcoxon, win_rates
from bench.analysis.block import Block, block_of, complete
from bench.analysis.resampling import bootstrap, observed, percentiles

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def block(values: npt.NDArray[np.float64], tasks: list[str] | None = None) -> Block:
    """Return a block of accuracies of the shape settings x seeds x labels."""
    names = tuple(f"setting {number}" for number in range(len(values)))
    labels = tuple("abcdefgh"[: values.shape[2]])
    return Block(labels, names, names, tuple(tasks or ["task"] * len(values)), (False,) * len(labels), values)


def test_ranks_and_friedmans_tests_are_scipys_and_the_printed_formula() -> None:
    accs = np.random.default_rng(0).normal(0.5, 0.05, (7, 4, 3)) + 0.02 * np.arange(4)[None, :, None]
    table = mean_ranks(grid(accs, [0, 0, 0, 1, 1, 2, 2]), draws=50).set_index("label")
    means = accs.mean(axis=2)
    ranks = stats.rankdata(-means, axis=1).mean(axis=0)
    assert table["rank"].to_dict() == pytest.approx(dict(zip("abcd", ranks, strict=True)))
    assert table["rank"].is_monotonic_increasing and set(table["settings"]) == {7} and set(table["tasks"]) == {3}
    chi2, p = stats.friedmanchisquare(*means.T)
    assert table["p_friedman"].tolist() == pytest.approx([p] * 4)
    by_hand = 12 * 7 / (4 * 5) * float((ranks**2).sum() - 4 * 5**2 / 4)
    assert chi2 == pytest.approx(by_hand)
    ratio = 6 * by_hand / (7 * 3 - by_hand)
    assert table["p_iman_davenport"].tolist() == pytest.approx([stats.f.sf(ratio, 3, 18)] * 4)


def test_the_pairs_are_scipys_wilcoxon_tests_with_holm() -> None:
    accs = np.random.default_rng(1).normal(0.5, 0.05, (9, 4, 2)) + 0.04 * np.arange(4)[None, :, None]
    accs[:, 1] = accs[:, 0]  # level in every setting
    table = rank_pairs(grid(accs))
    means = accs.mean(axis=2)
    expected = [
        1.0 if (own, other) == (0, 1) else stats.wilcoxon(means[:, own], means[:, other]).pvalue
        for own, other in itertools.combinations(range(4), 2)
    ]
    assert table["p"].tolist() == pytest.approx(expected)
    assert table["p_holm"].tolist() == pytest.approx(multipletests(expected, method="holm")[1].tolist())
    assert set(table["p_least"]) == {2 / 2**9} and table["p"].min() >= 2 / 2**9


@pytest.mark.parametrize("differences", [
    [0.1, 0.1, -0.2, 0.3, 0.2], [0.0, 0.1, 0.1, -0.1, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5, -0.6, 0.7], [0.1, -0.1], [0.3],
])  # fmt: skip
def test_wilcoxons_test_with_ties_and_zeros_is_scipys(differences: list[float]) -> None:
    assert wilcoxon(np.array([*differences, math.nan])) == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_wilcoxons_test_of_many_settings_is_scipys() -> None:
    differences = np.random.default_rng(6).normal(0.01, 0.02, 20)
    assert wilcoxon(differences) == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert wilcoxon(np.zeros(4)) == 1.0


def test_a_full_model_counts_once_in_a_place_however_many_keep_ratios_it_stands_beside() -> None:
    """A second keep ratio whose results repeat the first adds nothing to the tests."""
    rng = np.random.default_rng(3)
    names = ("fedavg", "fedlama", "heterofl", "prism")
    accs = {task: dict(zip(names, rng.normal(0.5, 0.1, (4, 3)).tolist(), strict=True)) for task in "stuvwx"}

    def cells(*keeps: float) -> pd.DataFrame:
        return joined(*(
            series(name, seeds, keep=keep, task=task)
            for task, of_task in accs.items()
            for name, seeds in of_task.items()
            for keep in ([1.0] if name in ("fedavg", "fedlama") else keeps)
        ))  # fmt: skip

    once, twice = (mean_ranks(cells(*keeps), draws=10) for keeps in ((0.2,), (0.2, 0.4)))
    means = np.array([[np.mean(of_task[name]) for name in names] for of_task in accs.values()])
    p = stats.friedmanchisquare(*means.T).pvalue
    assert set(twice["settings"]) == {12} and set(twice["blocks"]) == {6} and set(once["blocks"]) == {6}
    assert [once["p_friedman"][0], twice["p_friedman"][0]] == pytest.approx([p, p])
    full = rank_pairs(cells(0.2, 0.4)).set_index(["label", "other"]).loc[("fedavg", "fedlama")]
    assert full["settings"] == 6 and full["p_least"] == 2 / 2**6
    assert full["p"] == pytest.approx(stats.wilcoxon(means[:, 0], means[:, 1]).pvalue)
    others = rank_pairs(cells(0.2, 0.4)).set_index(["label", "other"])
    assert others["settings"].drop(("fedavg", "fedlama")).eq(12).all()


def test_without_a_full_model_each_setting_is_a_row_of_friedmans_test() -> None:
    accs = np.random.default_rng(4).normal(0.5, 0.1, (4, 3))
    cells = joined(*(
        series(name, [float(accs[number, place])], keep=keep)
        for number, keep in enumerate((0.2, 0.4, 0.6, 0.8))
        for place, name in enumerate(("heterofl", "orthdrop", "prism"))
    ))  # fmt: skip
    table = mean_ranks(cells, draws=10)
    assert set(table["blocks"]) == {4} and table["p_friedman"][0] == pytest.approx(
        stats.friedmanchisquare(*accs.T).pvalue
    )


def test_two_full_models_in_one_place_have_no_test() -> None:
    cells = joined(
        *(series(name, [acc], keep=1.0) for name, acc in (("fedavg", 0.9), ("fedlama", 0.8))),
        *(series("prism", [0.5 + keep / 10], keep=keep) for keep in (0.2, 0.4, 0.6)),
    )
    table = rank_pairs(cells).set_index(["label", "other"])
    assert table.loc[("fedavg", "fedlama"), ["p", "p_holm", "p_least"]].isna().all()
    assert table["p"].drop(("fedavg", "fedlama")).notna().all()
    assert mean_ranks(cells, draws=10)["p_friedman"].isna().all()


def test_bars_join_neighbours_none_of_which_are_told_apart() -> None:
    pairs = pd.DataFrame(
        [(one, two, 0.01 if (one, two) in {("a", "c"), ("a", "d"), ("b", "e")} else 0.5)
         for one, two in itertools.combinations("abcde", 2)],
        columns=["label", "other", "p_holm"],
    )  # fmt: skip
    assert cliques(list("abcde"), pairs, 0.01) == [("a", "b"), ("b", "c", "d"), ("c", "d", "e")]
    assert cliques(list("abcde"), pairs, 0.2) == [tuple("abcde")]  # Friedman's test rejects nothing
    assert cliques(list("ac"), pairs, math.nan) == [] and cliques(["a"], pairs, math.nan) == []
    apart = {("a", "c"), ("a", "d"), ("b", "e")}
    runs = ["abcde"[start:end] for start, end in itertools.combinations(range(6), 2) if end - start > 1]
    runs = [run for run in runs if not apart & set(itertools.combinations(run, 2))]
    longest = [run for run in runs if not any(run != other and run in other for other in runs)]
    assert sorted(map("".join, cliques(list("abcde"), pairs, 0.01))) == sorted(longest)


def test_bars_are_the_cliques_of_scikit_posthocs_where_those_are_runs() -> None:
    from scikit_posthocs._plotting import _find_maximal_cliques

    means = np.repeat(np.linspace(0.3, 0.6, 6)[None, :], 14, axis=0)
    means = means + np.random.default_rng(2).normal(0, 0.07, means.shape)
    table = mean_ranks(grid(means[:, :, None]), draws=10)
    found = {bar: set(table.loc[[bar in bars for bars in table["cliques"]], "label"]) for bar in range(6)}
    pairs = rank_pairs(grid(means[:, :, None]))
    ordered = list(table["label"])
    alike = pd.DataFrame(1, ordered, ordered)
    for row in pairs[pairs["p_holm"] <= 0.05].to_dict("records"):
        alike.loc[row["label"], row["other"]] = alike.loc[row["other"], row["label"]] = 0
    expected = [set(bar) for bar in _find_maximal_cliques(alike) if len(bar) > 1]
    assert len(expected) > 1 and sorted(map(sorted, expected)) == sorted(sorted(bar) for bar in found.values() if bar)


def test_what_is_missing_leaves_the_ranks_and_stays_in_the_table() -> None:
    everywhere = [
        series(label, [acc, acc + 0.01], task=task)
        for task in ("one", "two", "three")
        for label, acc in (("a", 0.5), ("b", 0.4), ("c", 0.3))
    ]
    cells = joined(*everywhere, series("d", [0.9, 0.9], task="one"), series("a", [0.1], task="four"))
    table = mean_ranks(cells, draws=20).set_index("label")
    assert table["rank"].iloc[:3].tolist() == [1, 2, 3] and set(table["settings"].iloc[:3]) == {3}
    left = table.loc["d"]
    assert math.isnan(left["rank"]) and not left["compared"] and left["settings"] == 1 and left["cliques"] == ()
    assert set(rank_pairs(cells)["label"]) == {"a", "b"} and "d" in set(win_rates(cells, draws=10)["label"])


def test_a_complete_block_has_the_seeds_that_all_have() -> None:
    cells = joined(series("a", [0.5, 0.6, 0.1]), series("b", {1: 0.3, 2: 0.4, 3: 0.9}), series("c", {1: 0.2, 2: 0.2}))
    part = complete(block_of(cells))
    assert part.means[0].tolist() == pytest.approx([0.35, 0.35, 0.2])
    ranks = mean_ranks(cells, draws=10)
    assert ranks["rank"].tolist() == [1.5, 1.5, 3] and ranks["seeds"].tolist() == [2, 2, 2]
    none = joined(series("a", [0.5]), series("b", {1: 0.5}))
    assert complete(block_of(none)).settings == () and mean_ranks(none, draws=10)["rank"].isna().all()


def test_win_rates_count_settings_by_the_means_over_common_seeds() -> None:
    cells = joined(
        series("a", [0.5, 0.6, 0.0]), series("b", [0.4, 0.65]),  # a ahead on the common seeds, not on its own
        series("a", [0.5], keep=0.4), series("b", [0.5], keep=0.4),
        series("a", [0.5], task="two"), series("b", [0.7], task="two"),
        series("a", [0.7], keep=0.4, task="two"), series("b", [0.5], keep=0.4, task="two"),
        series("c", [0.9], task="two"),
    )  # fmt: skip
    table = win_rates(cells, draws=100).set_index(["label", "other"])
    row = table.loc[("a", "b")]
    assert (row["wins"], row["ties"], row["losses"], row["settings"], row["tasks"]) == (2, 1, 1, 4, 2)
    assert row["rate"] == 2.5 / 4 and table.loc[("b", "a"), "rate"] == 1 - 2.5 / 4
    assert row["low"] <= row["rate"] <= row["high"]
    assert table.loc[("b", "a"), ["low", "high"]].tolist() == pytest.approx([1 - row["high"], 1 - row["low"]])
    assert table.loc[("c", "a"), "settings"] == 1 and len(table) == 6


def test_two_full_models_win_and_lose_once_in_each_place() -> None:
    cells = joined(
        series("fedavg", [0.9], keep=1.0),
        series("fedlama", [0.8], keep=1.0),
        *(series("prism", [0.5], keep=keep) for keep in (0.2, 0.4, 0.6)),
    )
    table = win_rates(cells, draws=50).set_index(["label", "other"])
    assert table["settings"].to_dict() == {
        pair: 1 if "prism" not in pair else 3 for pair in itertools.permutations(("fedavg", "fedlama", "prism"), 2)
    }
    assert mean_ranks(cells, draws=10)["rank"].tolist() == [1, 2, 3]


def test_the_bootstrap_has_the_distribution_that_enumeration_gives() -> None:
    # Two tasks of two and one settings, two seeds, of which label a wins and loses.
    values = np.array([[[0.5, 0.4], [0.3, 0.45]], [[0.6, 0.5], [0.4, 0.5]], [[0.2, 0.6], [0.7, 0.5]]])
    of_task = {"one": [0, 1], "two": [2]}
    chances: Counter[float] = Counter()
    for tasks in itertools.product(of_task, repeat=2):
        slots = [of_task[task] for task in tasks for _ in of_task[task]]
        for settings in itertools.product(*slots):
            for seeds in itertools.product(itertools.product((0, 1), repeat=2), repeat=len(settings)):
                means = [
                    values[setting][list(drawn)].mean(axis=0) for setting, drawn in zip(settings, seeds, strict=True)
                ]
                share = np.mean(
                    [1.0 if own > other + 1e-9 else 0.5 if own > other - 1e-9 else 0.0 for own, other in means]
                )
                chances[round(float(share), 9)] += 1 / 4 / math.prod(map(len, slots)) / 4 ** len(settings)
    draws = 20_000
    found = Counter(np.round(bootstrap(block(values, ["one", "one", "two"]), draws)[:, 0, 1], 9).tolist())
    assert sum(chances.values()) == pytest.approx(1) and set(found) <= set(chances)
    for share, chance in chances.items():
        assert found[share] / draws == pytest.approx(chance, abs=5 * math.sqrt(chance / draws))


def test_seeds_are_drawn_for_all_labels_together() -> None:
    seeds = np.random.default_rng(3).normal(0, 0.2, (4, 6, 1))  # what a seed does to all is much larger
    values = 0.5 + seeds + np.array([0.01, 0.0, -0.01])
    drawn = bootstrap(block(values), 300)
    assert (drawn[:, 0, 1] == 1).all() and (drawn[:, 2, 1] == 0).all()
    table = mean_ranks(grid(values.transpose(0, 2, 1)), draws=300)
    assert table[["rank", "low", "high"]].to_numpy().tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]


def test_tasks_are_drawn_first() -> None:
    # Label a wins all of one task's ten settings and loses all of the other's: two observations, not twenty.
    sign = np.repeat([1.0, -1.0], 10)[:, None, None]
    values = 0.5 + np.concatenate([0.1 * sign, -0.1 * sign], axis=2)
    low, high = percentiles(bootstrap(block(values, ["one"] * 10 + ["two"] * 10), 2000)[:, 0, 1])
    assert (low, high) == (0.0, 1.0)
    low, high = percentiles(bootstrap(block(values), 2000)[:, 0, 1])
    assert 0.2 < low < 0.35 and 0.65 < high < 0.8


def test_draws_repeat_and_leave_the_global_state_alone() -> None:
    values = np.random.default_rng(4).normal(0.5, 0.1, (5, 3, 3))
    state = np.random.get_state()[1].tolist()
    first = bootstrap(block(values), 100)
    assert (first == bootstrap(block(values), 100)).all() and not (first == bootstrap(block(values), 100, 1)).all()
    assert np.random.get_state()[1].tolist() == state


def test_ranks_of_the_draws_are_ranks() -> None:
    values = np.random.default_rng(5).normal(0.5, 0.1, (1, 1, 5))
    ranks = 5 + 0.5 - bootstrap(block(values), 3).sum(axis=2)
    assert ranks.tolist() == [stats.rankdata(-values[0, 0]).tolist()] * 3
    assert np.isnan(observed(block(np.full((1, 1, 2), np.nan)))).all()


@pytest.mark.parametrize(
    "cells",
    [
        joined(series("a", [0.5])),
        joined(series("a", [0.5]), series("b", [0.4])),
        joined(series("a", [0.5, 0.5]), series("b", [0.5, 0.5]), series("c", [0.5, 0.5])),
        joined(series("a", [None, None]), series("b", [None, None]), series("c", [0.5, 0.5])),
        joined(series("a", [None]), series("b", [None])).drop(columns=["classes", "last_acc"]),
        joined(series("a", [math.nan]), series("b", [math.inf])).assign(status="done"),
        grid(np.full((4, 3, 2), 0.25)),
        joined(series("a", [0.5])).iloc[:0],
    ],
    ids=["one label", "one seed", "identical", "diverged", "without numbers", "no numbers", "level", "empty"],
)
def test_where_nothing_can_be_said_no_number_says_it(cells: pd.DataFrame) -> None:
    ranks, rates, pairs = mean_ranks(cells, draws=20), win_rates(cells, draws=20), rank_pairs(cells)
    assert not (ranks["p_friedman"] < 0.05).any() and not (pairs["p_holm"] < 0.05).any()
    assert rates["rate"].between(0, 1).all() and rates.notna().all(axis=None)
    assert ranks.loc[ranks["compared"], "rank"].notna().all()
    assert set(ranks["label"]) == set(cells["label"])


def test_friedman_needs_three_labels_and_two_settings() -> None:
    assert all(math.isnan(p) for p in (*friedman(np.array([[1.0, 2.0]] * 5)), *friedman(np.array([[1.0, 2.0, 3.0]]))))
    assert friedman(np.full((4, 3), 2.0)) == (1.0, 1.0)
    perfect = friedman(np.array([[1.0, 2.0, 3.0]] * 6))
    assert perfect[0] == pytest.approx(stats.chi2.sf(12, 2)) and perfect[1] == 0.0
