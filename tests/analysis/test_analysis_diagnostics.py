"""Layers, milestones and ablations, against numbers worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from analysis_tables import T_2, T_3, cell, layers, table
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.ablation import ablation, paired_differences, setting_of
from bench.analysis.curves import cell_curves, mean_curves, smoothed
from bench.analysis.layers import mean_over_layers, ratio_over_layers
from bench.analysis.milestones import (
    exploration,
    first_middle_last,
    landmarks,
    mean_over_rounds,
    measured_and_expected,
    rounds_until,
)
from bench.analysis.summary import final_accuracy
from bench.errors import BenchError

NONE = math.nan


def curves_of(*cells: pd.DataFrame) -> pd.DataFrame:
    return cell_curves(table(*cells))


def test_layers_count_alike_in_the_plain_mean() -> None:
    ranks = layers(
        "a",
        [
            (0, "small", {"anme": NONE, "kernels": 4, "required_kernels": 3.0}),
            (0, "large", {"anme": NONE, "kernels": 100, "required_kernels": 50.0}),
            (5, "small", {"anme": 0.2, "kernels": 4, "required_kernels": 1.0}),
            (5, "large", {"anme": 0.8, "kernels": 100, "required_kernels": 25.0}),
            (9, "small", {"anme": NONE, "kernels": 4, "required_kernels": 1.0}),
            (9, "large", {"anme": 0.6, "kernels": 100, "required_kernels": 75.0}),
        ],
    )
    curves = mean_over_layers(ranks.iloc[::-1], "anme")
    assert curves["round"].tolist() == curves["x"].tolist() == [5, 9]
    assert curves["value"].tolist() == pytest.approx([0.5, 0.6])
    shares = mean_over_layers(ranks, "required_kernels", per="kernels")
    assert shares["value"].tolist() == pytest.approx([(0.75 + 0.5) / 2, (0.25 + 0.25) / 2, (0.25 + 0.75) / 2])


def test_ratio_of_all_layers_is_that_of_one_long_vector() -> None:
    rows = [
        (1, "small", {"part": 3.0, "whole": 4.0}),
        (1, "large", {"part": 6.0, "whole": 96.0}),
        (2, "small", {"part": 3.0, "whole": NONE}),
        (2, "large", {"part": 6.0, "whole": 24.0}),
        (3, "small", {"part": 0.0, "whole": 0.0}),
        (4, "small", {"part": NONE, "whole": 2.0}),
    ]
    ranks = pd.concat([layers("a", rows), layers("b", rows[:1], seed=1)])
    curves = ratio_over_layers(ranks, "part", "whole")
    assert curves["cell"].tolist() == ["a", "a", "b"]
    assert curves["round"].tolist() == [1, 2, 1]
    assert curves["value"].tolist() == pytest.approx([9 / 100, 6 / 24, 3 / 4])


def test_what_was_never_measured_gives_no_curve() -> None:
    ranks = layers("a", [(1, "small", {"anme": NONE, "weight_norm2": 1.0})])
    for curves in (mean_over_layers(ranks, "anme"), ratio_over_layers(ranks, "anme", "weight_norm2")):
        assert curves.empty
        assert mean_curves(curves).empty and mean_over_rounds(curves).empty
        assert first_middle_last(mean_curves(curves)).empty


@settings(max_examples=20)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0, 0.99))
def test_moving_average_weighs_each_value_by_its_age(values: list[float], weight: float) -> None:
    curve = smoothed(curves_of(cell("a", [*values])), weight, least=1)["value"].tolist()
    for last, average in enumerate(curve):
        weights = [weight ** (last - position) for position in range(last + 1)]
        expected = sum(w * value for w, value in zip(weights, values, strict=False)) / sum(weights)
        assert average == pytest.approx(expected, abs=1e-9)


def test_short_curves_are_not_smoothed_and_cells_do_not_mix() -> None:
    curves = smoothed(curves_of(cell("b", [1.0] * 20, seed=1), cell("a", [0.1, 0.5, 0.9])), least=20)
    values = curves.groupby("cell")["value"].apply(list)
    assert values["a"] == [0.1, 0.5, 0.9]
    assert values["b"] == pytest.approx([1.0] * 20)
    swinging = [0.0, 1.0] * 10
    curves = smoothed(curves_of(cell("a", swinging[:19]), cell("b", swinging, seed=1)), least=20)
    values = curves.groupby("cell")["value"].apply(list)
    assert values["a"] == swinging[:19]
    assert values["b"][1] == pytest.approx(1 / 1.95)  # weights 1 and 0.95


def test_middle_is_nearest_to_half_way_and_early_where_two_are() -> None:
    numbers = [None] * 31
    for measured in (0, 10, 20, 28, 29, 30):
        numbers[measured] = measured / 100
    natural = cell("a", numbers)
    lone = cell("b", [None, 0.7], partition="iid", alpha=math.inf)
    late = cell("c", [None, 0.1, 0.2, 0.5], partition="lda", alpha=0.1)
    result = first_middle_last(mean_curves(curves_of(natural, lone, late)))
    assert result["moment"].tolist() == ["first", "middle", "last"] * 3
    by_partition = {name: rows["round"].tolist() for name, rows in result.groupby("partition", observed=True)}
    assert by_partition == {"natural": [0, 10, 30], "iid": [1, 1, 1], "lda": [1, 2, 3]}
    assert result.query("partition == 'natural'")["mean"].tolist() == pytest.approx([0, 0.1, 0.3])


def test_mean_over_rounds_averages_rounds_first_and_seeds_then() -> None:
    curves = curves_of(
        cell("a", [None, 0.1, 0.3]),
        cell("b", [None, 0.6, None], seed=1),
        cell("c", [None, 0.9], seed=2, status="diverged"),
    )
    row = mean_over_rounds(curves).iloc[0]
    assert (row["mean"], row["seeds"]) == (pytest.approx(0.4), 2)
    assert row["high"] - row["mean"] == pytest.approx(T_2 * math.sqrt(0.08) / math.sqrt(2))
    with pytest.raises(BenchError, match="cells 'a' and 'b'"):
        mean_over_rounds(curves_of(cell("a", [0.1]), cell("b", [0.2])))


def test_each_measurement_stands_for_the_rounds_since_the_one_before_it() -> None:
    sparse: list[float | None] = [None] * 11
    sparse[4], sparse[8], sparse[9], sparse[10] = 0.1, 0.3, 0.9, 0.8
    curves = curves_of(cell("a", sparse), cell("b", [None, *[0.5] * 10], seed=1), cell("c", [0.7, None, 0.2], keep=0.9))
    result = mean_over_rounds(curves.iloc[::-1]).set_index("keep")
    held = [0.1] * 4 + [0.3] * 4 + [0.9] + [0.8]  # what each round is counted with
    assert result.loc[0.5, "mean"] == pytest.approx((sum(held) / 10 + 0.5) / 2)
    assert result.loc[0.9, "mean"] == pytest.approx(0.2)


def test_ratio_of_a_mean_that_no_run_comes_near_is_left_empty() -> None:
    measured = curves_of(cell("a", [None, 2.0]), cell("b", [None, 2.0], label="tail"))
    expected = curves_of(cell("a", [None, 100.0]), cell("b", [None, 201.0], label="tail"))
    result = measured_and_expected(measured, expected).set_index("label")
    assert result["ratio"].to_dict() == pytest.approx({"prism": 0.02, "tail": NONE}, nan_ok=True)
    assert result.loc["tail", ["measured", "expected"]].tolist() == [2.0, 201.0]


def test_landmarks_are_those_there_are() -> None:
    assert landmarks(1) == [1]
    assert landmarks(24) == [1, 5, 10]
    assert landmarks(1000) == [1, 5, 10, 25, 50, 100, 250, 500, 1000]


def test_exploration_has_what_was_seen_beside_what_was_expected() -> None:
    first, second = [None, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], [None, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    seen = curves_of(cell("a", first), cell("b", second, seed=1), cell("c", first, label="old", method="old"))
    expected = curves_of(cell("a", [None, 0.25] + [0.5] * 5), cell("b", [None, 0.35] + [0.7] * 5, seed=1))
    result = exploration(seen, expected).set_index(["label", "round"])
    assert sorted(result.index) == [("old", 1), ("old", 5), ("prism", 1), ("prism", 5)]
    assert result["seen"].to_dict() == pytest.approx(
        {("old", 1): 0.2, ("old", 5): 0.6, ("prism", 1): 0.3, ("prism", 5): 0.7}
    )
    assert result.loc["prism", "expected"].tolist() == pytest.approx([0.3, 0.6])
    assert result.loc["old", "expected"].isna().all()
    assert result.loc[("prism", 1), "seen_high"] == pytest.approx(0.3 + T_2 * 0.1)


def test_rounds_until_a_share_is_seen() -> None:
    seen = curves_of(
        cell("a", [None, 0.2, 0.5, 0.9, 0.9]),
        cell("b", [None, 0.2, 0.4, 0.4, 0.6], seed=1),
        cell("c", [None, 1.0], seed=2, status="diverged"),
    )
    result = rounds_until(seen, (0.5, 0.9, 0.99))
    assert result["reach"].tolist() == [0.5, 0.9, 0.99]
    assert result["reached"].tolist() == [2, 1, 0]
    assert result["seeds"].tolist() == [2, 2, 2]
    assert result["rounds"].tolist() == pytest.approx([3, NONE, NONE], nan_ok=True)
    assert result["high"].tolist() == pytest.approx([3 + T_2 * 1, NONE, NONE], nan_ok=True)


def test_measured_and_expected_meet_in_one_row() -> None:
    measured = curves_of(cell("a", [None, 0.1, 0.5]), cell("b", [None, 0.9], method="old", label="old"))
    result = measured_and_expected(measured, curves_of(cell("a", [None, 0.2, 0.2]))).set_index("label")
    assert result.loc["prism", ["measured", "expected", "ratio"]].tolist() == pytest.approx([0.3, 0.2, 1.5])
    assert result.loc["old", ["measured", "expected", "ratio"]].tolist() == pytest.approx(
        [0.9, NONE, NONE], nan_ok=True
    )


@pytest.mark.parametrize(
    ("label", "setting", "profile"),
    [
        ("prism", "", ""),
        ("prism (clip_tau=10, multipliers=wallenius)", "clip_tau=10, multipliers=wallenius", ""),
        ("prism, keep 0.2:0.6,0.4:0.4", "", "0.2:0.6,0.4:0.4"),
        ("prism (kappa=3), keep 0.2:0.6,0.4:0.4", "kappa=3", "0.2:0.6,0.4:0.4"),
        ("prism, keep 0.2:0.6,0.4:0.4 dynamic", "", "0.2:0.6,0.4:0.4 dynamic"),
        ("prism (kappa=3), keep 0.2:0.6,0.4:0.4 dynamic", "kappa=3", "0.2:0.6,0.4:0.4 dynamic"),
        ("prism (gradient_clip=5)", "gradient_clip=5", ""),
        ("prism (gradient_clip=5, lr=0.1, tier=quick), keep 0.2:1", "gradient_clip=5, lr=0.1, tier=quick", "0.2:1"),
        ("prism (note=a, keep b, shape=(1, 2))", "note=a, keep b, shape=(1, 2)", ""),
        ("prismatic (kappa=3)", "prismatic (kappa=3)", ""),
    ],
)
def test_a_label_tells_its_setting_and_profile(label: str, setting: str, profile: str) -> None:
    assert setting_of(label, "prism") == (setting, profile)


def test_differences_are_paired_by_seed() -> None:
    plain = [cell(f"p{seed}", [0.0, acc], seed=seed) for seed, acc in enumerate((0.1, 0.5, 0.9))]
    better = [
        cell(f"b{seed}", [0.0, acc], seed=seed, label="prism (kappa=4)") for seed, acc in enumerate((0.13, 0.51, 0.95))
    ]
    result = ablation(final_accuracy(table(*better, *plain)))
    assert result["label"].tolist() == ["prism", "prism (kappa=4)"]
    first, second = result.iloc[0], result.iloc[1]
    assert math.isnan(first["difference"]) and first["pairs"] == 0
    mean = (0.03 + 0.01 + 0.05) / 3
    half = T_3 * math.sqrt((0.0 + 0.02**2 + 0.02**2) / 2) / math.sqrt(3)
    assert second["difference"] == pytest.approx(mean)
    assert second["difference_low"] == pytest.approx(mean - half)
    assert second["final_high"] - second["final_low"] > 10 * half
    assert second["pairs"] == 3


def test_differences_keep_to_the_same_setting_of_everything_else() -> None:
    profile = "0.2:0.5,0.8:0.5"
    cells = final_accuracy(
        table(
            cell("plain", [0.0, 0.5]),
            cell("variant", [0.0, 0.6], label="prism (kappa=4)"),
            cell("mixed", [0.0, 0.1], label=f"prism, keep {profile}"),
            cell("variant of mixed", [0.0, 0.4], label=f"prism (kappa=4), keep {profile}"),
            cell("dynamic", [0.0, 0.2], label=f"prism, keep {profile} dynamic"),
            cell("variant of dynamic", [0.0, 0.3], label=f"prism (kappa=4), keep {profile} dynamic"),
            cell("other seed", [0.0, 0.9], label="prism (kappa=4)", seed=1),
            cell("other partition", [0.0, 0.9], label="prism (kappa=4)", partition="iid", alpha=math.inf),
            cell("other method", [0.0, 0.9], method="orthdrop", label="orthdrop (kappa=4)"),
            cell("gone", [0.0, 0.2], seed=2, status="diverged"),
            cell("of gone", [0.0, 0.2], seed=2, label="prism (kappa=4)"),
        )
    )
    differences = paired_differences(cells).set_index("cell")["difference"].dropna()
    assert differences.to_dict() == pytest.approx({"variant": 0.1, "variant of mixed": 0.3, "variant of dynamic": 0.1})


def test_oracle_is_the_best_round_and_diverged_runs_are_counted() -> None:
    cells = final_accuracy(
        table(
            cell("a", [0.0, 0.9, 0.5]),
            cell("b", [0.0, 0.7, 0.3], seed=1),
            cell("c", [0.0, 0.99], seed=2, status="diverged"),
        ),
        last=1,
    )
    row = ablation(cells).iloc[0]
    assert row[["final", "oracle"]].tolist() == pytest.approx([0.4, 0.8])
    assert row[["seeds", "diverged"]].tolist() == [2, 1]
