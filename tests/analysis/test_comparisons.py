"""Method against method, judged as one family: against SciPy, statsmodels and hand-made cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from many_cells import grid, joined, series
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bench.analysis.comparisons import comparisons, within_family
from bench.errors import BenchError

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def test_each_number_of_a_row_is_scipys() -> None:
    accs = np.random.default_rng(0).normal(0.5, 0.05, (2, 3, 6))
    table = comparisons(grid(accs))
    assert len(table) == 2 * 3
    raw = []
    for row in table.to_dict("records"):
        setting = accs[int(row["alpha"]) - 1]
        own, other = setting["abc".index(row["label"])], setting["abc".index(row["other"])]
        test = stats.ttest_rel(own, other)
        wide = test.confidence_interval(1 - 0.05 / 6)
        plain = test.confidence_interval(0.95)
        assert [row["low"], row["high"]] == pytest.approx([plain.low, plain.high])
        assert [row["adjusted_low"], row["adjusted_high"]] == pytest.approx([wide.low, wide.high])
        assert [row["p_t"], row["difference"]] == pytest.approx([test.pvalue, np.mean(own - other)])
        flips = [np.mean(np.array(signs) * (own - other)) for signs in itertools.product((1, -1), repeat=6)]
        assert row["p"] == pytest.approx(np.mean(np.abs(flips) >= abs(np.mean(own - other)) - 1e-12))
        assert row["p_least"] == 2 / 2**6 and row["pairs"] == 6 and row["family"] == 6
        raw.append(test.pvalue)
    assert table["p_holm"].tolist() == pytest.approx(multipletests(raw, method="holm")[1].tolist())


def test_the_verdict_is_holms() -> None:
    step = np.array([-0.01, 0.0, 0.01, 0.0])
    cells = joined(
        series("a", 0.5 + step), series("b", [0.5] * 4), series("c", 0.9 + 2 * step), series("d", 0.5 + step[::-1])
    )
    table = comparisons(cells).set_index(["label", "other"])
    assert table["verdict"].to_dict() == {
        ("a", "b"): "not told apart",
        ("a", "c"): "worse",
        ("a", "d"): "not told apart",
        ("b", "c"): "worse",
        ("b", "d"): "not told apart",
        ("c", "d"): "better",
    }
    assert (table["verdict"].isin(["better", "worse"]) == (table["p_holm"] <= 0.05)).all()


def test_a_selection_is_judged_as_the_family_that_it_is() -> None:
    accs = np.random.default_rng(3).normal(0.5, 0.01, (1, 6, 5)) + 0.012 * np.arange(6)[None, :, None]
    table = comparisons(grid(accs))
    one = within_family(table[table["label"] == "a"].iloc[[1]])
    before = table[table["label"] == "a"].iloc[1]
    assert one["family"].tolist() == [1] and one["p_holm"].tolist() == pytest.approx([before["p_t"]])
    assert one["adjusted_low"].tolist() == pytest.approx([before["low"]])
    assert one["detectable"].iloc[0] < before["detectable"]


def test_a_reference_is_met_by_all_others() -> None:
    cells = joined(
        series("fedavg (lr=0.1)", [0.6, 0.7], keep=1.0), series("prism", [0.5, 0.5]), series("heterofl", [0.4, 0.6])
    )
    table = comparisons(cells, reference="fedavg")
    assert table["label"].tolist() == ["heterofl", "prism"] and set(table["other"]) == {"fedavg (lr=0.1)"}
    assert table["difference"].tolist() == pytest.approx([-0.15, -0.15])
    with pytest.raises(BenchError, match=r"reference 'prsim' is no label of these results; .*did you mean 'prism'"):
        comparisons(cells, reference="prsim")
    two = joined(series("fedavg", [0.6]), series("prism (kappa=3)", [0.5]), series("prism (kappa=4)", [0.4]))
    with pytest.raises(BenchError, match=r"reference 'prism' .*allowed: 'prism \(kappa=3\)', 'prism \(kappa=4\)'"):
        comparisons(two, reference="prism")


def test_full_models_meet_each_other_once_and_all_others_at_each_keep_ratio() -> None:
    cells = joined(
        series("fedavg", [0.6, 0.7], keep=1.0),
        series("fedlama", [0.6, 0.6], keep=1.0),
        series("prism", [0.5, 0.5]),
        series("prism", [0.5, 0.4], keep=0.4),
    )
    table = comparisons(cells)
    assert sorted(zip(table["label"], table["other"], table["setting"], strict=True)) == [
        ("fedavg", "fedlama", "cnn-femnist, natural"),
        ("fedavg", "prism", "cnn-femnist, natural, keep 0.2"),
        ("fedavg", "prism", "cnn-femnist, natural, keep 0.4"),
        ("fedlama", "prism", "cnn-femnist, natural, keep 0.2"),
        ("fedlama", "prism", "cnn-femnist, natural, keep 0.4"),
    ]


def test_seeds_that_only_one_has_and_pairs_without_any_are_counted() -> None:
    cells = joined(series("a", [0.5, 0.6, 0.7]), series("b", {1: 0.5, 2: 0.5, 3: 0.5}), series("c", {7: 0.1, 8: 0.2}))
    table = comparisons(cells).set_index(["label", "other"])
    assert table["pairs"].to_dict() == {("a", "b"): 2, ("a", "c"): 0, ("b", "c"): 0}
    assert table.loc[("a", "b"), "difference"] == pytest.approx(0.15)
    none = table.loc[("a", "c")]
    assert (none["seeds"], none["other_seeds"], none["verdict"]) == (3, 2, "cannot be said")
    assert math.isnan(none["difference"]) and math.isnan(none["detectable"])


def test_one_seed_says_nothing_and_is_in_no_family() -> None:
    table = comparisons(joined(series("a", [0.5]), series("b", [0.4]), series("c", [0.1])))
    assert set(table["verdict"]) == {"cannot be said"} and table["difference"].tolist() == pytest.approx(
        [0.1, 0.4, 0.3]
    )
    assert table[["low", "adjusted_low", "p_t", "p_holm", "std", "detectable"]].isna().all(axis=None)
    assert table["p"].tolist() == table["p_least"].tolist() == [1.0] * 3


def test_identical_results_are_not_told_apart_and_a_difference_without_spread_cannot_be_judged() -> None:
    same = [0.5, 0.6, 0.55]
    table = comparisons(joined(series("a", same), series("b", same), series("c", [acc + 0.1 for acc in same])))
    found = table.set_index(["label", "other"])
    assert found["verdict"].to_dict() == {
        ("a", "b"): "not told apart",
        ("a", "c"): "cannot be said",
        ("b", "c"): "cannot be said",
    }
    assert found.loc[("a", "b"), "p_t"] == found.loc[("a", "b"), "p"] == 1.0 and found["detectable"].isna().all()
    assert set(table["family"]) == {1}


def test_a_method_that_diverges_everywhere_is_compared_as_a_guess_or_not_at_all() -> None:
    cells = joined(series("a", [None, None, None]), series("b", [0.5, 0.6, 0.55]))
    [guess] = comparisons(cells).to_dict("records")
    assert guess["acc"] == pytest.approx(0.1) and guess["verdict"] == "worse" and guess["diverged"] == 3
    [missing] = comparisons(cells, diverged="missing").to_dict("records")
    assert (missing["verdict"], missing["pairs"], missing["diverged"]) == ("cannot be said", 0, 3)
    both = comparisons(joined(series("a", [None] * 3), series("b", [None] * 3)))
    assert both["verdict"].tolist() == ["not told apart"]


def test_nothing_to_compare_is_an_empty_table() -> None:
    alone = comparisons(joined(series("a", [0.5, 0.6])))
    assert alone.empty and {"setting", "p_holm", "verdict", "detectable"} <= set(alone)
    assert comparisons(joined(series("a", [0.5]), series("b", [0.5], keep=0.4))).empty


def test_words_may_be_categories_or_texts_and_rows_in_any_order() -> None:
    cells = grid(np.random.default_rng(1).normal(0.5, 0.02, (3, 3, 3)))
    shuffled = cells.astype({"label": str, "status": object, "task": str}).sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(comparisons(shuffled), comparisons(cells))
