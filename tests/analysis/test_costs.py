"""Costs, profiles, nested sub-models and personal models, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from analysis_tables import T_2, cell, table

from bench.analysis.costs import accuracy_and_cost
from bench.analysis.curves import cell_curves, macs_column
from bench.analysis.levels import level_accuracy
from bench.analysis.personal import personal_accuracy
from bench.analysis.profiles import by_profile, mixed_series, profiles_of, split_label, split_rows, with_profiles
from bench.analysis.summary import final_accuracy, over_seeds
from bench.errors import BenchError

HALVES = "0.16:0.5,1:0.5"
FEW = "0.16:0.9,1:0.1"
FEDAVG = {"method": "fedavg", "label": "fedavg", "keep": 1.0}


def of_profile(name: str, acc: float, profile: str, keep: float, **changes: object) -> pd.DataFrame:
    label = f"{changes.pop('label', 'prism')}, keep {profile}"
    return cell(name, [0.0, acc], label=label, keep=keep, capacities=profile.split()[0], **changes)


def test_cost_of_the_whole_run_and_its_share_of_the_full_models() -> None:
    """Three rounds of 15 bytes, 100 MACs and 2 s; the full model's are 60, 400 and 4 s in each of its two."""
    dear = {"down_bytes": [math.nan, 30, 30], "up_bytes": 30, "forward_macs": 400, "round_s": [0.0, 5.5, 5.5]}
    rounds = table(
        cell("a", [0.1, 0.2, 0.3, 0.4]),
        cell("b", [0.1, 0.4, 0.5, 0.6], seed=1, down_bytes=[math.nan, 40, 40, 40]),
        cell("f", [0.1, 0.8, 0.9], **FEDAVG).assign(**dear).assign(up_bytes=[math.nan, 30, 30]),
    )
    rounds.loc[(rounds["cell"] == "f") & (rounds["round"] == 0), "forward_macs"] = math.nan
    result = accuracy_and_cost(rounds.sample(frac=1, random_state=0)).set_index("label")
    prism, full = result.loc["prism"], result.loc["fedavg"]
    assert (prism["mean"], prism["seeds"]) == (pytest.approx((0.3 + 0.5) / 2), 2)
    assert (prism["bytes"], prism["macs"], prism["seconds"]) == ((45 + 135) / 2, 300, 6)
    assert (full["bytes"], full["macs"], full["seconds"]) == (120, 800, 8)
    shares = ["bytes_share", "macs_share", "seconds_share"]
    assert prism[shares].tolist() == pytest.approx([90 / 120, 300 / 800, 6 / 8])
    assert full[shares].tolist() == [1, 1, 1]


def test_a_share_needs_the_plain_full_model_of_the_same_partition() -> None:
    rounds = table(
        cell("a", [0.1, 0.2]),
        cell("f", [0.1, 0.8], partition="iid", alpha=math.inf, **FEDAVG),
        cell("g", [0.1, 0.8], **FEDAVG | {"label": "fedavg (scale=2)"}),
        cell("b", [0.1, 0.2], partition="iid", alpha=math.inf),
    )
    result = accuracy_and_cost(rounds).set_index(["label", "partition"])
    assert math.isnan(result.loc[("prism", "natural"), "bytes_share"])
    assert result.loc[("prism", "iid"), "bytes_share"] == 1


def test_diverged_runs_are_neither_in_the_accuracy_nor_in_the_cost() -> None:
    rounds = table(
        cell("a", [0.1, 0.2, 0.3]),
        cell("b", [0.1, 0.9], seed=1, status="diverged"),
        cell("c", [0.1, 0.9], keep=0.2, status="diverged"),
    )
    gone, one = accuracy_and_cost(rounds).to_dict("records")
    assert (one["bytes"], one["macs"], one["seconds"], one["seeds"], one["diverged"]) == (30, 200, 4, 1, 1)
    assert (one["mean"], math.isnan(one["low"])) == (0.25, True)
    assert gone["diverged"] == 1 and np.isnan([gone["mean"], gone["bytes"], gone["macs"], gone["seconds"]]).all()


def test_training_macs_count_where_every_trained_round_has_them() -> None:
    rounds = table(cell("a", [0.1, 0.2, 0.3]), cell("b", [0.1, 0.2, 0.3], seed=1))
    assert macs_column(rounds) == "forward_macs"
    with_training = rounds.assign(train_macs=[math.nan, 290.0, 310.0] * 2)
    assert macs_column(with_training) == "train_macs"
    assert cell_curves(with_training, "macs")["x"].tolist() == [0, 290, 600] * 2
    assert accuracy_and_cost(with_training)["macs"].tolist() == [600]
    partly = with_training.assign(train_macs=with_training["train_macs"].mask(rounds["cell"] == "b"))
    assert macs_column(partly) == "forward_macs"
    assert cell_curves(partly, "macs")["x"].tolist() == [0, 100, 200] * 2


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("heterofl", ("heterofl", "")),
        (f"heterofl, keep {HALVES}", ("heterofl", HALVES)),
        (f"heterofl, keep {HALVES} dynamic", ("heterofl", f"{HALVES} dynamic")),
        (f"heterofl (a=1, b=x), keep {HALVES}", ("heterofl (a=1, b=x)", HALVES)),
        ("my own name, keep 3", ("my own name, keep 3", "")),
    ],
)
def test_a_label_is_split_into_what_it_is_without_its_profile(label: str, expected: tuple[str, str]) -> None:
    assert split_label(label, "heterofl") == expected
    rows = split_rows(pd.DataFrame({"label": ["fedavg", label], "method": ["fedavg", "heterofl"]}, index=[7, 3]))
    assert tuple(rows.loc[3]) == expected and tuple(rows.loc[7]) == ("fedavg", "")


def test_a_column_per_profile_the_large_ones_first() -> None:
    rounds = table(
        of_profile("a", 0.5, HALVES, 0.58),
        of_profile("b", 0.7, HALVES, 0.58, seed=1),
        of_profile("c", 0.55, f"{HALVES} dynamic", 0.58),
        of_profile("d", 0.3, FEW, 0.244),
        cell("e", [0.0, 0.2], keep=0.16),
        of_profile("g", 0.4, FEW, 0.244, label="prism (kappa=3)"),
        cell("h", [0.0, 0.1], keep=0.16, method="orthdrop", label="orthdrop"),
        cell("i", [0.0, 0.1], keep=0.16, partition="iid", alpha=math.inf),
        cell("f", [0.0, 0.9], **FEDAVG),
        cell("j", [0.0, 0.8], partition="iid", alpha=math.inf, **FEDAVG),
    )
    points = mixed_series(with_profiles(over_seeds(final_accuracy(rounds))))
    # Neither a method without a profile nor a partition without one belongs there.
    assert set(points["label"]) == {"prism", "prism (kappa=3)", "fedavg"}
    assert set(points["partition"]) == {"natural"}
    assert profiles_of(points) == [(HALVES, 0.58), (f"{HALVES} dynamic", 0.58), (FEW, 0.244), ("", 0.16)]
    wide = by_profile(points).set_index("label")
    profiles = ["1", HALVES, f"{HALVES} dynamic", FEW, "0.16"]
    assert wide.columns.tolist()[-5:] == profiles
    nan = math.nan
    assert wide.loc["prism", profiles].tolist() == pytest.approx([nan, 0.6, 0.55, 0.3, 0.2], nan_ok=True)
    assert wide.loc["prism (kappa=3)", profiles].tolist() == pytest.approx([nan, nan, nan, 0.4, nan], nan_ok=True)
    assert wide.loc["fedavg", profiles].tolist() == pytest.approx([0.9, nan, nan, nan, nan], nan_ok=True)


def levels(name: str, accs: dict[float, list[float]], **changes: object) -> pd.DataFrame:
    """Return the levels of a cell from the accuracies of each level in rounds 0, 1, 2, ..."""
    parts = [
        cell(name, list(acc), **changes)
        .drop(columns="test_acc")
        .assign(level=level, level_acc=acc, level_loss=1.0, validates=False, parameters=int(100 * level), macs=7)
        for level, acc in accs.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_final_accuracy_of_each_level() -> None:
    rows = table(
        levels("a", {0.5: [0.9, 0.1, 0.2, 0.3, 0.4], 1.0: [0.9, 0.1, 0.5, 0.6, 0.7]}),
        levels("b", {0.5: [0.9, 0.5, 0.5, 0.5, 0.5], 1.0: [0.9, 0.8, 0.8, 0.8, 0.8]}, seed=1),
        levels("c", {0.5: [0.9, 0.9], 1.0: [0.9, 0.9]}, seed=2, status="diverged"),
    )
    held_out = levels("d", {0.5: [0.1, 0.9], 1.0: [0.1, 0.9]}, seed=3).assign(validates=True)
    small, large = level_accuracy(pd.concat([rows, held_out])).to_dict("records")
    assert (small["level"], large["level"]) == (0.5, 1.0)
    assert (small["mean"], large["mean"]) == (pytest.approx((0.3 + 0.5) / 2), pytest.approx((0.6 + 0.8) / 2))
    assert small["high"] - small["mean"] == pytest.approx(T_2 * math.sqrt(0.02) / math.sqrt(2))
    assert (small["seeds"], small["diverged"], small["parameters"], large["parameters"]) == (2, 1, 50, 100)
    assert level_accuracy(rows, last=1)["mean"].tolist() == pytest.approx([0.45, 0.75])
    with pytest.raises(BenchError, match="are both 'prism'"):
        level_accuracy(pd.concat([rows, levels("e", {0.5: [0.9, 0.1]})]))


def test_personal_accuracy_beside_the_global_one_and_their_paired_difference() -> None:
    rounds = table(
        cell("a", [0.1, 0.2, 0.3], personal_acc=[math.nan, 0.6, 0.8], personal_base_acc=[math.nan, 0.2, 0.1]),
        cell("b", [0.1, 0.4, 0.5], personal_acc=[math.nan, 0.7, 0.9], personal_base_acc=[math.nan, 0.4, 0.3], seed=1),
        cell("c", [0.1], personal_acc=[math.nan], personal_base_acc=[math.nan], seed=2, status="diverged"),
        cell("d", [0.1, 0.5], personal_acc=[math.nan] * 2, method="orthdrop", label="orthdrop"),
    )
    [row] = personal_accuracy(rounds).to_dict("records")
    assert (row["label"], row["seeds"], row["diverged"]) == ("prism", 2, 1)
    assert (row["mean"], row["global"], row["base"], row["difference"]) == pytest.approx((0.75, 0.35, 0.25, 0.5))
    # The differences are 0.55 and 0.45: of the personal accuracies 0.7 and 0.8 to the server's by the same measure,
    # 0.15 and 0.35, not to the global ones, 0.25 and 0.45.
    half = T_2 * math.sqrt(0.005) / math.sqrt(2)
    assert (row["high"] - row["mean"], row["difference_high"] - row["difference"]) == pytest.approx((half, half))
    assert row["global_high"] - row["global"] == pytest.approx(2 * half)
    assert personal_accuracy(rounds, last=1)["mean"].tolist() == pytest.approx([0.85])
