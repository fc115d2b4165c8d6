"""Costs until a target, and performance profiles, against runs worked out by hand and areas added up by steps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from analysis_tables import cell, table

from bench.analysis.targets import cost_ratios, cost_to_target, performance_profiles, profile_areas
from bench.errors import BenchError

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
FULL = [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0]  # its last three evaluations: 0.9


def full(name: str = "full", acc: list[float] = FULL, **changes: object) -> pd.DataFrame:
    return cell(name, list(acc), method="fedavg", **{"label": "fedavg", "keep": 1.0, **changes})


def rows(frame: pd.DataFrame, share: float) -> dict[str, dict[str, object]]:
    costs = cost_to_target(frame, (share,))
    return {str(row["cell"]): row for row in costs.to_dict("records")}


def test_a_target_is_reached_by_the_running_mean_and_costs_are_summed_until_then() -> None:
    # The means of three evaluations are 0.4 in round 3, 0.6 in round 4 and 0.8 in round 5.
    late = [0.0, 0.1, 0.3, 0.8, 0.7, 0.9, 0.9]
    sizes = {"client_trained_parameters": 7.0, "client_activations": [math.nan, 1.0, 1.0, 2.0, 1.0, 1.0, 3.0]}
    found = rows(table(full(**sizes), cell("own", late, **sizes)), 0.8)
    own = found["own"]
    assert own["target"] == pytest.approx(0.72) and own["reached"]
    # Means of own: 0.4, 0.6, 0.8 in rounds 3, 4, 5; each round 15 bytes and 100 MACs, the memory that of round 3.
    assert [own[kind] for kind in ("rounds", "bytes", "macs", "memory")] == [5, 75, 500, 7 + 32 * 2]
    assert [found["full"][kind] for kind in ("rounds", "bytes", "macs")] == [5, 75, 500]


def test_one_lucky_evaluation_reaches_nothing() -> None:
    found = rows(table(full(), cell("own", [0.0, 0.1, 0.1, 0.95, 0.1, 0.1, 0.1])), 0.8)
    assert not found["own"]["reached"]
    assert all(found["own"][kind] == math.inf for kind in ("rounds", "bytes", "macs"))


def test_the_full_model_reaches_every_share_of_its_own_end() -> None:
    costs = cost_to_target(
        table(full(), full("short", [0.0, 0.7], seed=1), full("two", [0.0, 0.7, 0.5], seed=2)), (0.8, 1.0)
    )
    assert costs["reached"].all() and costs.loc[costs["cell"] == "short", "rounds"].tolist() == [1, 1]
    assert costs.loc[costs["cell"] == "two", "rounds"].tolist() == [
        2,
        2,
    ]  # it has two evaluations, so the mean is of both


def test_targets_are_those_of_the_same_place_and_seed() -> None:
    frame = table(
        full(),
        full("other seed", [0.0, 0.3, 0.3, 0.3], seed=1),
        full("other settings", [0.0, 0.1, 0.1, 0.1], label="fedavg (lr=0.1)"),
        cell("own", [0.0, 0.3, 0.3, 0.3], seed=1),
        cell("with settings", [0.0, 0.3, 0.3, 0.3], label="prism (kappa=3, lr=0.1)"),
        cell("without", [0.0, 0.3, 0.3, 0.3]),
        cell("elsewhere", [0.0, 0.3, 0.3, 0.3], partition="lda", alpha=1.0),
    )
    found = rows(frame, 1.0)
    assert found["own"]["target"] == pytest.approx(0.3) and found["own"]["reached"]
    assert found["with settings"]["target"] == pytest.approx(0.1)
    assert found["without"]["target"] == pytest.approx(0.9) and found["without"]["rounds"] == math.inf
    assert math.isnan(found["elsewhere"]["target"]) and math.isnan(found["elsewhere"]["rounds"])
    assert not found["elsewhere"]["reached"]


def test_what_was_reached_before_diverging_counts_and_a_diverged_full_model_sets_no_target() -> None:
    early = [0.0, 0.9, 0.9, 0.9, None, None, None]
    frame = table(
        full(),
        cell("early", early, status="diverged"),
        cell("never", [0.0, 0.1, None], status="diverged", label="unbiased"),
        full("gone", [0.0, 0.2], status="diverged", partition="lda"),
        cell("own", [0.0, 0.2], partition="lda"),
    )
    found = rows(frame, 0.8)
    assert found["early"]["rounds"] == 3 and found["never"]["rounds"] == math.inf
    assert math.isnan(found["own"]["rounds"]) and math.isnan(found["gone"]["target"])


def test_rounds_without_evaluation_cost_as_well_and_rows_may_be_in_any_order() -> None:
    sparse = [0.0, None, 0.9, None, 0.9, None, 0.9]
    frame = table(full(), cell("own", sparse))
    found = rows(frame, 0.8)["own"]
    assert (found["rounds"], found["bytes"]) == (6, 90)
    assert rows(frame.sample(frac=1, random_state=0), 0.8)["own"]["bytes"] == 90


def test_training_is_counted_where_all_runs_have_it_and_memory_is_missing_where_a_table_lacks_it() -> None:
    frame = table(
        full(train_macs=300),
        cell("own", FULL, train_macs=200),
        cell("bad", [0.0, 0.1], train_macs=1, seed=0, label="x"),
    )
    found = rows(frame, 0.8)
    assert found["own"]["macs"] == 6 * 200 and math.isnan(
        found["own"]["memory"]
    )  # round 0 is counted as the table has it
    assert found["bad"]["rounds"] == math.inf and math.isnan(found["bad"]["memory"])


def ratios(medians: dict[str, list[float]]) -> pd.DataFrame:
    """Return a table of costs of one seed in as many settings as the lists are long."""
    parts = [
        {
            "cell": f"{label}{number}", "task": "t", "label": label, "method": label, "keep": 0.5, "partition": "lda",
            "alpha": float(number + 1), "data_title": "d", "stand_in": False, "seed": 0, "status": "done", "share": 0.9,
            "reached": math.isfinite(value), "rounds": value,
        }
        for label, values in medians.items()
        for number, value in enumerate(values)
        if value > 0
    ]  # fmt: skip
    return pd.DataFrame(parts)


def test_a_profile_is_the_share_of_settings_within_a_ratio() -> None:
    costs = ratios({"a": [10, 10, 10, math.inf], "b": [20, 5, 100, math.inf], "c": [math.inf] * 4})
    steps = performance_profiles(costs, "rounds", 0.9)
    found = {label: dict(zip(part["ratio"], part["share"], strict=True)) for label, part in steps.groupby("label")}
    assert found == {"a": {1: 0.5, 2: 0.75, 4: 0.75}, "b": {1: 0.25, 2: 0.5, 4: 0.5}, "c": {1: 0, 4: 0}}
    areas = profile_areas(costs, "rounds", 0.9).set_index("label")
    assert areas["area"].to_dict() == pytest.approx({"a": (0.5 * 1 + 0.75 * 2) / 3, "b": (0.25 + 0.5 * 2) / 3, "c": 0})
    assert areas["cheapest"].to_dict() == {"a": 2, "b": 1, "c": 0}
    assert areas["reached"].to_dict() == {"a": 3, "b": 3, "c": 0} and set(areas["settings"]) == {4}


def test_areas_are_the_integrals_of_the_steps() -> None:
    rng = np.random.default_rng(0)
    costs = ratios({label: list(np.where(rng.random(9) < 0.2, math.inf, rng.integers(1, 30, 9))) for label in "abcd"})
    areas = profile_areas(costs, "rounds", 0.9, longest=3).set_index("label")["area"]
    for label, part in performance_profiles(costs, "rounds", 0.9, longest=3).groupby("label"):
        by_steps = (np.diff(part["ratio"]) * part["share"].to_numpy()[:-1]).sum() / 2
        assert areas[label] == pytest.approx(by_steps)


def test_the_cost_of_a_setting_is_the_median_of_its_seeds() -> None:
    frame = ratios({"a": [10.0], "b": [20.0]})
    more = [
        frame.assign(seed=seed, cell=frame["cell"] + f"-{seed}", rounds=frame["rounds"] * factor)
        for seed, factor in ((1, 3), (2, 5))
    ]
    censored = frame[frame["label"] == "a"].assign(seed=3, cell="a-3", rounds=math.inf, reached=False)
    table = cost_ratios(pd.concat([frame, *more, censored])).set_index("label")
    assert table["median"].to_dict() == {"a": 40, "b": 60} and table["ratio"].to_dict() == {"a": 1, "b": 1.5}
    assert table.loc["a", ["seeds", "reached"]].tolist() == [4, 3]
    half = cost_ratios(pd.concat([frame, censored])).set_index("label")
    assert half.loc["a", "ratio"] == math.inf and half.loc["b", "ratio"] == 1


def test_a_cost_of_nothing_is_the_cheapest_and_no_division_by_zero() -> None:
    costs = ratios({"a": [1.0], "b": [5.0]})
    costs.loc[costs["label"] == "a", "rounds"] = 0.0
    assert cost_ratios(costs)["ratio"].tolist() == [1, math.inf]


def test_no_full_model_leaves_nothing_to_profile() -> None:
    costs = cost_to_target(table(cell("own", FULL)))
    assert costs["rounds"].isna().all()
    assert performance_profiles(costs).empty and profile_areas(costs).empty and cost_ratios(costs).empty


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda costs: cost_ratios(costs, "round"), "cost = 'round' .*did you mean 'rounds'"),
        (lambda costs: cost_ratios(costs, share=0.7), "share = 0.7 is not in the table; allowed: '0.9'"),
        (lambda costs: profile_areas(costs, longest=1), "longest = 1 "),
        (lambda costs: performance_profiles(costs, longest=math.inf), "longest = inf "),
        (lambda costs: cost_to_target(costs, (0.0,)), r"shares = \(0.0,\)"),
        (lambda costs: cost_to_target(costs, ()), r"shares = \(\)"),
    ],
)
def test_what_is_not_possible_is_one_sentence(call: object, words: str) -> None:
    with pytest.raises(BenchError, match=words):
        call(ratios({"a": [1.0]}))  # type: ignore[operator]
