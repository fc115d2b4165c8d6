"""Differences within seeds, against SciPy's own tests and numbers worked out one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.analysis.paired import seed_differences, versus


def cells(*series: dict[str, Any]) -> pd.DataFrame:
    """Return a table of cells from series with their accuracies by seed; None has diverged."""
    rows = []
    for number, one in enumerate(series):
        about = {
            "task": "cnn-femnist",
            "method": one["label"],
            "keep": 0.2,
            "capacities": "",
            "partition": "natural",
            "alpha": math.nan,
            "data_title": "FEMNIST",
            "stand_in": False,
            "setting": "a",
            "own": False,
            "whole": False,
            **{name: value for name, value in one.items() if name != "accs"},
        }
        for seed, acc in one["accs"].items():
            status = "diverged" if acc is None else "done"
            rows.append({**about, "cell": f"{number}-{seed}", "seed": seed, "status": status, "final_acc": acc})
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(("task", "method", "label", "status"), "category"))


def of(accs: list[float | None], first: int = 0) -> dict[int, float | None]:
    return dict(enumerate(accs, first))


def rows(frame: pd.DataFrame) -> dict[str, dict[Any, Any]]:
    return {str(row["other"]): row for row in versus(frame).to_dict("records")}


def test_the_interval_is_that_of_scipys_paired_test() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(0.6, 0.1, 7), rng.normal(0.55, 0.1, 7)
    frame = cells({"label": "mine", "own": True, "accs": of(list(mine))}, {"label": "prism", "accs": of(list(theirs))})
    row = rows(frame.sample(frac=1, random_state=1))["prism"]
    expected = stats.ttest_rel(mine, theirs).confidence_interval(0.95)
    assert [row["low"], row["high"]] == pytest.approx([expected.low, expected.high])
    assert row["difference"] == pytest.approx(np.mean(mine) - np.mean(theirs))
    assert row["by_seed"] == pytest.approx(tuple(mine - theirs)) and row["pairs"] == 7
    assert (row["verdict"] != "") == (stats.ttest_rel(mine, theirs).pvalue < 0.05)


@pytest.mark.parametrize(
    ("shift", "spread", "word"), [(0.1, 0.01, "ahead"), (-0.1, 0.01, "behind"), (0.1, 0.2, ""), (-0.1, 0.2, "")]
)
def test_a_word_stands_only_where_the_interval_leaves_zero_out(shift: float, spread: float, word: str) -> None:
    theirs = [0.3, 0.5, 0.7]
    mine = [acc + shift + step for acc, step in zip(theirs, (-spread, 0.0, spread), strict=True)]
    frame = cells({"label": "mine", "own": True, "accs": of(mine)}, {"label": "prism", "accs": of(theirs)})
    assert rows(frame)["prism"]["verdict"] == word


def test_only_common_seeds_are_in_a_difference() -> None:
    frame = cells(
        {"label": "mine", "own": True, "accs": of([0.5, 0.6, 0.9])},
        {"label": "prism", "accs": of([0.3, 0.7, 0.1], first=1)},
        {"label": "fjord", "accs": of([0.2], first=2)},
        {"label": "fedhm", "accs": of([0.4, 0.6], first=7)},
    )
    found = rows(frame)
    prism = found["prism"]
    assert (prism["pairs"], prism["common"], prism["seeds"], prism["other_seeds"]) == (2, 2, 3, 3)
    assert prism["by_seed"] == pytest.approx((0.3, 0.2))
    assert [prism["acc"], prism["other_acc"]] == pytest.approx([0.75, 0.5])
    one = found["fjord"]
    assert (one["pairs"], one["verdict"]) == (1, "") and one["difference"] == pytest.approx(0.7)
    assert math.isnan(one["low"]) and math.isnan(one["high"])
    none = found["fedhm"]
    assert (none["pairs"], none["common"], none["verdict"]) == (0, 0, "") and math.isnan(none["difference"])
    assert [none["acc"], none["other_acc"]] == pytest.approx([2 / 3, 0.5])


def test_what_diverged_is_counted_and_in_no_difference() -> None:
    frame = cells(
        {"label": "mine", "own": True, "accs": of([None, 0.6, 0.7])},
        {"label": "prism", "accs": of([0.5, 0.5, None])},
        {"label": "fjord", "accs": of([None, None, None])},
    )
    frame.loc[frame["status"] == "diverged", "final_acc"] = 0.99  # whatever stands there
    found = rows(frame)
    assert found["prism"]["by_seed"] == pytest.approx((0.1,))
    assert (found["prism"]["diverged"], found["prism"]["other_diverged"], found["prism"]["common"]) == (1, 1, 3)
    assert found["fjord"]["other_diverged"] == 3 and math.isnan(found["fjord"]["other_acc"])
    assert found["fjord"]["acc"] == pytest.approx(0.65)


def test_a_method_that_diverges_everywhere_has_rows_and_no_numbers() -> None:
    frame = cells({"label": "mine", "own": True, "accs": of([None, None])}, {"label": "prism", "accs": of([0.5, 0.6])})
    [row] = versus(frame).to_dict("records")
    assert (row["pairs"], row["diverged"], row["verdict"], row["by_seed"]) == (0, 2, "", ())
    assert math.isnan(row["acc"]) and row["other_acc"] == pytest.approx(0.55)


def test_pairs_share_the_setting_and_the_keep_ratios_and_full_models_meet_all() -> None:
    frame = cells(
        {"label": "mine", "own": True, "keep": 0.2, "accs": of([0.5])},
        {"label": "mine", "own": True, "keep": 0.4, "accs": of([0.6])},
        {"label": "mine", "own": True, "setting": "b", "accs": of([0.7])},
        {"label": "mine", "own": True, "keep": 0.4, "capacities": "0.2:0.5,0.6:0.5", "accs": of([0.8])},
        {"label": "prism", "keep": 0.4, "accs": of([0.1])},
        {"label": "prism", "keep": 0.4, "capacities": "0.2:0.5,0.6:0.5", "accs": of([0.2])},
        {"label": "fedavg", "keep": 1.0, "whole": True, "accs": of([0.3])},
        {"label": "fjord", "keep": 0.6, "accs": of([0.4])},
    )
    found = {
        (row["setting"], row["keep"], row["capacities"], row["other"], round(row["difference"], 3))
        for row in versus(frame).to_dict("records")
    }
    mixed = "0.2:0.5,0.6:0.5"
    assert found == {
        ("a", 0.2, "", "fedavg", 0.2),
        ("a", 0.4, "", "prism", 0.5),
        ("a", 0.4, "", "fedavg", 0.3),
        ("a", 0.4, mixed, "prism", 0.6),
        ("a", 0.4, mixed, "fedavg", 0.5),
    }


def test_a_full_model_meets_others_at_each_of_their_keep_ratios() -> None:
    frame = cells(
        {"label": "mine", "own": True, "keep": 1.0, "whole": True, "accs": of([0.5])},
        {"label": "prism", "keep": 0.2, "accs": of([0.1])},
        {"label": "prism", "keep": 0.4, "accs": of([0.2])},
    )
    found = [(row["other_keep"], round(row["difference"], 3)) for row in versus(frame).to_dict("records")]
    assert found == [(0.2, 0.4), (0.4, 0.3)]


def test_nothing_in_common_is_an_empty_table() -> None:
    frame = cells({"label": "mine", "own": True, "accs": of([0.5])}, {"label": "prism", "keep": 0.6, "accs": of([0.1])})
    assert versus(frame).empty


def test_differences_of_groups_stand_alone() -> None:
    pairs = pd.DataFrame(
        {"group": [1, 1, 2, 2], "seed": [1, 0, 0, 1], "own": [0.5, 0.2, 0.9, math.nan], "other": [0.1, 0.1, 0.4, 0.3]}
    )
    result = seed_differences(pairs, ["group"])
    assert result["by_seed"].tolist() == [pytest.approx((0.1, 0.4)), pytest.approx((0.5,))]
    assert result["pairs"].tolist() == [2, 1]
    assert result["other"].tolist() == pytest.approx([0.1, 0.4])
