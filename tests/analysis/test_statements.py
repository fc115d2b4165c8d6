"""Statements of papers against results: equal to two one-sided tests, and silent where nothing is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.weightstats import ttost_paired

from bench.analysis.statements import FAILS, GUESSED, HOLDS, UNTOLD, Statement, judged

A = np.array([0.70, 0.74, 0.71, 0.73])
B = np.array([0.69, 0.72, 0.70, 0.70])


def cells(acc: dict[str, np.ndarray], keep: float = 0.2, **more: object) -> pd.DataFrame:
    """Return cells of labels, one per seed; "fedavg" has keep ratio 1."""
    rows = [
        {
            "cell": f"{label}-{keep}-{seed}",
            "task": "cnn-femnist",
            "method": label.partition(" (")[0],
            "label": label,
            "keep": 1.0 if label == "fedavg" else keep,
            "capacities": "",
            "partition": "natural",
            "alpha": np.nan,
            "seed": seed,
            "status": "done",
            "data_title": "digits",
            "stand_in": False,
            "classes": 10,
            "final_acc": value,
            **more,
        }
        for label, values in acc.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def verdict(statement: Statement, acc: dict[str, np.ndarray]) -> str:
    found = judged([statement], cells(acc))
    return str(found["verdict"].item())


@pytest.mark.parametrize("low", [-0.03, -0.005, 0.0, 0.005])
@pytest.mark.parametrize("high", [0.01, 0.02, 0.05])
def test_a_range_is_two_one_sided_tests(low: float, high: float) -> None:
    """Statsmodels' test of equivalence with the margin of one point put in by hand."""
    p, _, _ = ttost_paired(A, B, low - 0.01, high + 0.01)
    shown = verdict(Statement("", "", "prism", "orthdrop", low, high), {"prism": A, "orthdrop": B}) == HOLDS
    assert shown == (p <= 0.05)


def test_values_and_intervals() -> None:
    row = judged([Statement("", "", "prism", "orthdrop", low=0, strict=True)], cells({"prism": A, "orthdrop": B})).iloc[
        0
    ]
    d = A - B
    half = 2.3533634348 * d.std(ddof=1) / 2  # the 95 % quantile of t with three degrees of freedom, from a table
    assert row["ours"] == pytest.approx(d.mean()) and row["seeds"] == 4
    assert (row["low"], row["high"]) == pytest.approx((d.mean() - half, d.mean() + half))


@pytest.mark.parametrize(("shift", "above", "below"), [
    (0.05, HOLDS, FAILS), (-0.05, FAILS, HOLDS), (0.0, FAILS, FAILS), (0.012, UNTOLD, FAILS)
])  # fmt: skip
def test_orders(shift: float, above: str, below: str) -> None:
    """Noise of some 0.2 points, or of a point where nothing can be said."""
    noise = np.array([0.002, -0.001, -0.001]) * (10 if above == UNTOLD else 1)
    acc = {"prism": np.array([0.5, 0.52, 0.54]) + noise + shift, "orthdrop": np.array([0.5, 0.52, 0.54])}
    assert verdict(Statement("", "", "prism", "orthdrop", low=0, strict=True), acc) == above
    if above != UNTOLD:
        assert verdict(Statement("", "", "prism", "orthdrop", high=0, strict=True), acc) == below


def test_an_order_is_shown_however_small() -> None:
    base = np.array([0.5, 0.52, 0.54])
    small = {"prism": base + np.array([0.002, 0.003, 0.004]), "orthdrop": base}
    assert verdict(Statement("", "", "prism", "orthdrop", low=0, strict=True), small) == HOLDS


def test_tables_without_classes_say_nothing_of_chance() -> None:
    table = cells({"prism": A, "orthdrop": B}).drop(columns="classes")
    assert judged([Statement("", "", "prism", "orthdrop", low=0, strict=True)], table)["verdict"].item() == HOLDS


def test_a_false_order_is_shown_in_at_most_a_twentieth() -> None:
    """With no true difference "above" is shown in 5 % of draws, each a keep ratio, within three standard errors."""
    rng, count = np.random.default_rng(0), 400
    draws = [
        cells({name: 0.6 + 0.02 * rng.normal(size=3) for name in ("prism", "orthdrop")}, (draw + 1) / (count + 1))
        for draw in range(count)
    ]
    found = judged([Statement("", "", "prism", "orthdrop", low=0, strict=True)], pd.concat(draws))
    assert len(found) == count
    assert abs((found["verdict"] == HOLDS).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / count)


def test_one_seed_says_nothing_nor_does_chance() -> None:
    statement = Statement("", "", "prism", "orthdrop", low=0, strict=True)
    assert verdict(statement, {"prism": A[:1], "orthdrop": B[:1]}) == UNTOLD
    guessing = {"prism": np.array([0.101, 0.102, 0.1]), "orthdrop": np.array([0.1, 0.1, 0.1])}
    assert verdict(statement, guessing) == GUESSED
    assert verdict(statement, guessing | {"prism": np.array([0.3, 0.31, 0.29])}) == HOLDS
    limited = cells({"prism": A, "orthdrop": B}, guess=0.8)  # what the commonest class gives
    assert judged([statement], limited)["verdict"].item() == GUESSED


def test_a_diverged_run_counts_as_guessing() -> None:
    table = cells({"prism": A, "orthdrop": B})
    hit = table["cell"] == "prism-0.2-0"
    table = table.assign(status=table["status"].mask(hit, "diverged"), final_acc=table["final_acc"].mask(hit))
    row = judged([Statement("", "", "prism", "orthdrop", low=0, strict=True)], table).iloc[0]
    assert row["ours"] == pytest.approx((np.r_[0.1, A[1:]] - B).mean()) and row["verdict"] == UNTOLD


def test_labels_by_method_and_setting() -> None:
    acc = {"prism (kappa=4)": B, "prism (kappa=4, multipliers=wallenius)": A, "orthdrop": B}
    found = judged(
        [
            Statement("", "", "prism (multipliers=wallenius)", "prism", low=0, strict=True),
            Statement("", "", "prism", "orthdrop", low=0, high=0),
            Statement("", "", "prism (multipliers=scaled)", "prism"),
            Statement("", "", "unbiased", "prism"),
        ],
        cells(acc),
    )
    assert found[["number", "label", "other_label"]].to_numpy().tolist() == [
        [0, "prism (kappa=4, multipliers=wallenius)", "prism (kappa=4)"], [1, "prism (kappa=4)", "orthdrop"]
    ]  # fmt: skip


def test_where_and_full_models() -> None:
    acc = {"fedavg": A, "prism": B}
    table = pd.concat([cells(acc, 0.2), cells({"prism": B - 0.2}, 0.4)])
    both = Statement("", "", "prism", "fedavg", low=-0.03)
    assert judged([both], table)["verdict"].tolist() == [HOLDS, FAILS]
    found = judged([Statement("", "", "prism", "fedavg", low=-0.03, where={"at": ["0.20"]})], table)
    assert found["setting"].tolist() == ["cnn-femnist, natural, keep 0.2"]
    assert judged([Statement("", "", "prism", "fedavg", where={"task": ["lstm-imdb"]})], table).empty
    alone = judged([Statement("", "", "fedavg", low=0.7, high=0.75)], table)
    assert alone["setting"].tolist() == ["cnn-femnist, natural"]  # and not once at each keep ratio


def test_measures_of_layers() -> None:
    table = cells({"prism": A, "unbiased": B})
    series = table[["cell", "task", "method", "label", "keep", "capacities", "partition", "alpha", "seed", "status",
                    "data_title", "stand_in"]]  # fmt: skip
    rows = [
        {**cell, "round": number, "layer": layer, "kernels": 10, "required_kernels": 5.0, "anme": value + 0.1 * number}
        | {"cosine_fedavg": (0.9 if number == 1 else 0.1) + 0.01 * cell["seed"] * (cell["method"] == "prism")}
        for cell in series.to_dict("records")
        for number in (1, 10)
        for layer, value in (("a", 0.01 * cell["seed"]), ("b", 0.2 + 0.3 * (cell["method"] == "prism")))
    ]
    ranks = pd.DataFrame(rows)
    found = judged([Statement("", "", "prism", "unbiased", 0, strict=True, measure="ANME")], table, ranks)
    assert found["ours"].item() == pytest.approx(0.15) and found["verdict"].item() == UNTOLD  # equal in each seed
    alone = judged([Statement("", "", "prism", low=0, measure="ANME")], table, ranks)
    assert alone["ours"].item() == pytest.approx(np.mean([(0.01 * seed + 0.5) / 2 + 1 for seed in range(4)]))
    cosine = judged([Statement("", "", "prism", low=0, measure="cosine with FedAvg")], table, ranks)
    assert cosine["ours"].item() == pytest.approx((1 * 0.9 + 9 * 0.1) / 10 + 0.015)
    needed = judged([Statement("", "", "prism", low=0, measure="needed kernels")], table, ranks)
    assert needed["ours"].item() == 0.5
    assert judged([Statement("", "", "prism", low=0, measure="ANME")], table, None).empty
