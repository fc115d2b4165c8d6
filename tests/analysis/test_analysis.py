"""The statistics, against numbers worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from analysis_tables import T_2, T_3, cell, table
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.curves import cell_curves, training_curves
from bench.analysis.interval import mean_and_interval
from bench.analysis.summary import final_accuracy, over_seeds
from bench.analysis.tables import footprint_shares, markdown
from bench.errors import BenchError


def test_headline_is_the_mean_of_the_last_evaluations() -> None:
    rounds = table(cell("a", [0.1, 0.9, None, 0.5, 0.6, 0.7]))
    row = final_accuracy(rounds.sample(frac=1, random_state=0)).iloc[0]
    assert row["final_acc"] == pytest.approx(0.6)
    assert row["oracle_acc"] == 0.9
    assert (row["rounds"], row["evaluations"]) == (5, 3)
    assert (row["total_bytes"], row["total_forward_macs"], row["total_s"]) == (75, 500, 10)
    assert final_accuracy(rounds, last=1)["final_acc"].tolist() == [0.7]


def test_the_initial_model_is_not_in_the_headline() -> None:
    both = final_accuracy(table(cell("a", [0.9, 0.5]), cell("b", [0.1], seed=1)))
    assert both["final_acc"].tolist() == pytest.approx([0.5, math.nan], nan_ok=True)
    assert both["oracle_acc"].tolist() == pytest.approx([0.5, math.nan], nan_ok=True)
    assert both["evaluations"].tolist() == [1, 0]


def test_headline_needs_an_evaluation() -> None:
    with pytest.raises(BenchError, match="last = 0"):
        final_accuracy(table(cell("a", [0.1, 0.5])), last=0)


def test_interval_over_two_and_three_seeds_and_none_over_one() -> None:
    rounds = table(
        cell("a0", [0.0, 0.6]),
        cell("a1", [0.0, 0.8], seed=1),
        *[cell(f"b{seed}", [0.0, acc], label="prism (kappa=4)", seed=seed) for seed, acc in enumerate((0.1, 0.2, 0.6))],
        cell("c0", [0.0, 0.5], method="orthdrop", label="orthdrop"),
    )
    result = over_seeds(final_accuracy(rounds)).set_index("label")
    two, three, one = result.loc["prism"], result.loc["prism (kappa=4)"], result.loc["orthdrop"]
    assert (two["mean"], two["std"]) == (pytest.approx(0.7), pytest.approx(math.sqrt(0.02)))
    assert two["high"] - two["mean"] == pytest.approx(T_2 * math.sqrt(0.02) / math.sqrt(2))
    assert three["std"] == pytest.approx(math.sqrt(0.07))
    assert three["mean"] - three["low"] == pytest.approx(T_3 * math.sqrt(0.07) / math.sqrt(3))
    assert (one["seeds"], one["mean"]) == (1, 0.5)
    assert one[["std", "low", "high"]].isna().all()


def test_diverged_cells_are_counted_and_not_averaged() -> None:
    rounds = table(
        cell("a0", [0.0, 0.6]),
        cell("a1", [0.0, 0.1], seed=1, status="diverged"),
        cell("b0", [0.0, 0.1], keep=0.2, status="diverged"),
    )
    cells = final_accuracy(rounds)
    assert cells["final_acc"].isna().tolist() == [False, True, True]
    for value, mean in (("final_acc", 0.6), ("oracle_acc", 0.6), ("total_s", 2.0)):
        result = over_seeds(cells, value)
        assert result["keep"].tolist() == [0.2, 0.5]
        assert result["mean"].tolist() == pytest.approx([math.nan, mean], nan_ok=True)
        assert result["seeds"].tolist() == [0, 1]
        assert result["diverged"].tolist() == [1, 1]


def test_partitions_are_kept_apart_also_the_natural_one_without_alpha() -> None:
    rounds = table(
        cell("a", [0.0, 0.1]),
        cell("b", [0.0, 0.3], seed=1),
        cell("c", [0.0, 0.5], partition="iid", alpha=math.inf),
        cell("d", [0.0, 0.7], partition="lda", alpha=0.1),
        cell("e", [0.0, 0.9], partition="lda", alpha=1.0),
    )
    result = over_seeds(final_accuracy(rounds))
    means = {(row.partition, str(row.alpha)): row.mean for row in result.itertuples(index=False)}
    expected = {("natural", "nan"): 0.2, ("iid", "inf"): 0.5, ("lda", "0.1"): 0.7, ("lda", "1.0"): 0.9}
    assert means == pytest.approx(expected)


def test_two_cells_that_nothing_tells_apart_are_refused() -> None:
    rounds = table(cell("a", [0.0, 0.1]), cell("b", [0.0, 0.3]))
    for function in (final_accuracy, training_curves):
        with pytest.raises(BenchError, match=r"cells 'a' and 'b' are both 'prism' at keep ratio 0.5 with seed 0"):
            function(rounds)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8))
def test_interval_agrees_with_the_one_sample_t_test(values: list[float]) -> None:
    """The bounds are the means that a two-sided t-test at 5 % just rejects: |t| = t(0.975) there."""
    row = mean_and_interval(pd.DataFrame({"group": "a", "value": values}), ["group"], "value").iloc[0]
    spread = math.sqrt(sum((value - sum(values) / len(values)) ** 2 for value in values) / (len(values) - 1))
    assert row["mean"] == pytest.approx(sum(values) / len(values), abs=1e-9)
    assert row["std"] == pytest.approx(spread, abs=1e-6)
    critical = {2: 12.7062, 3: 4.3027, 4: 3.1824, 5: 2.7764, 6: 2.5706, 7: 2.4469, 8: 2.3646}[len(values)]
    assert row["high"] - row["low"] == pytest.approx(2 * critical * spread / math.sqrt(len(values)), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ("round", [0, 2, 3]),
        ("bytes", [0, 30, 45]),
        ("macs", [0, 200, 300]),
        ("seconds", [0, 4, 6]),
    ],
)
def test_cost_adds_up_over_rounds_without_evaluation(x: str, expected: list[float]) -> None:
    rounds = table(cell("a", [0.1, None, 0.3, 0.4]), cell("b", [0.1, None, 0.5, 0.6], seed=1, status="diverged"))
    curves = cell_curves(rounds.iloc[::-1], x)
    for name in ("a", "b"):
        assert curves.loc[curves["cell"] == name, "x"].tolist() == expected
    assert curves.loc[curves["cell"] == "b", "value"].tolist() == [0.1, 0.5, 0.6]


def test_seconds_are_the_methods_own() -> None:
    rounds = cell("a", [0.1, 0.2, 0.3])
    rounds = table(rounds.assign(round_s=[0.0, 10.0, 7.0], evaluate_s=[3.0, 4.0, 0.0], diagnose_s=[1.0, 5.0, 0.25]))
    assert cell_curves(rounds, "seconds")["x"].tolist() == [0.0, 1.0, 7.75]
    assert final_accuracy(rounds)["total_s"].tolist() == [7.75]


def test_mean_curve_is_aligned_by_round() -> None:
    slow = cell("b", [0.1, 0.4, 0.8], seed=1)
    slow["round_s"] = [0.0, 5.5, 5.5]
    result = training_curves(table(cell("a", [0.1, 0.2, 0.6]), slow), "seconds")
    assert result["round"].tolist() == [0, 1, 2]
    assert result["x"].tolist() == [0, 3, 6]
    assert result["mean"].tolist() == pytest.approx([0.1, 0.3, 0.7])
    assert result["std"].tolist() == pytest.approx([0.0, math.sqrt(0.02), math.sqrt(0.02)])
    assert (result["high"] - result["low"]).tolist() == pytest.approx([0, 2 * T_2 * 0.1, 2 * T_2 * 0.1])


def test_a_round_that_one_seed_lacks_is_left_out_of_the_mean() -> None:
    rounds = table(cell("a", [0.1, 0.2, 0.6]), cell("b", [0.1, None, 0.8], seed=1))
    assert training_curves(rounds)["round"].tolist() == [0, 2]


def test_diverged_cells_are_left_out_of_the_mean_curve() -> None:
    rounds = table(
        cell("a", [0.1, 0.2, 0.6]),
        cell("b", [0.1, 0.0], seed=1, status="diverged"),
        cell("c", [0.1, 0.0], keep=0.2, status="diverged"),
    )
    result = training_curves(rounds)
    assert result["mean"].tolist() == [0.1, 0.2, 0.6]
    assert set(result["diverged"]) == {1}
    assert set(result["keep"]) == {0.5}


def test_unknown_axis_names_the_near_one() -> None:
    with pytest.raises(BenchError, match="did you mean 'seconds'"):
        training_curves(table(cell("a", [0.1, 0.2])), "second")


def test_empty_tables_stay_empty() -> None:
    empty = table(cell("a", [0.1, 0.2])).iloc[:0]
    cells = final_accuracy(empty)
    assert len(cells) == len(over_seeds(cells)) == len(training_curves(empty, "bytes")) == 0
    assert {"final_acc", "oracle_acc", "total_bytes"} <= set(cells.columns)


def test_footprint_shares_follow_both_conventions() -> None:
    """PriSM, Table 1: 9.9 M of 11 M parameters are 90 %; the whole client model also holds 1 M unfactored ones."""
    footprint = pd.DataFrame(
        {
            "task": pd.Categorical(["a", "a", "b", "c", "c"]),
            "method": ["fedavg", "prism", "prism", "fedavg", "prism"],
            "label": ["fedavg", "prism", "prism", "fedavg", "prism"],
            "keep": [1.0, 0.8, 0.8, 1.0, 0.8],
            "parameters": [12e6, 10.9e6, 5.0, 8.0, 6.0],
            "factored_parameters": [11e6, 9.9e6, 4.0, 0.0, 0.0],
            "macs": [1.1e9, 0.88e9, 1.0, 2.0, 1.0],
            "down_bytes": 1.0,
            "full_parameters": [12e6, 12e6, 10.0, 8.0, 8.0],
            "full_macs": [1.1e9, 1.1e9, 4.0, 2.0, 2.0],
        }
    )
    shares = footprint_shares(footprint)
    assert shares["factored_share"].tolist()[:2] == pytest.approx([1.0, 0.9])
    assert shares["factored_share"].isna().tolist() == [False, False, True, True, True]
    assert shares["parameters_share"].tolist() == pytest.approx([1.0, 10.9 / 12, 0.5, 1.0, 0.75])
    assert shares["macs_share"].tolist() == pytest.approx([1.0, 0.8, 0.25, 1.0, 0.5])
    assert shares["ideal_share"].isna().all()  # a table from before there was such a column
    counted = footprint_shares(footprint.assign(ideal_macs=[1.1e9, 0.44e9, 1.0, 2.0, 1.0]))
    assert counted["ideal_share"].tolist() == pytest.approx([1.0, 0.4, 0.25, 1.0, 0.5])


def test_markdown_is_a_table_of_the_values() -> None:
    text = markdown(pd.DataFrame({"label": ["a|b", "c"], "mean": [0.123456789, math.nan], "seeds": [2, 0]}))
    assert text.splitlines() == [
        "| label | mean | seeds |",
        "| --- | --- | --- |",
        "| a\\|b | 0.123457 | 2 |",
        "| c |  | 0 |",
    ]
