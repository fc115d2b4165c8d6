"""The distance to the full model, paired by seed, against numbers worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from analysis_tables import T_3, cell, table
from figure_tables import METHOD_LABELS, diverge, figures_of, make_mixed, make_rounds, words

from bench.analysis.gap import gap_to_full
from bench.figures.base import Skip

FEDAVG = {"method": "fedavg", "label": "fedavg", "keep": 1.0}
TASK = "cnn-femnist"
IID = (("iid", math.inf),)


def of_seeds(name: str, accs: list[float], **changes: object) -> list[pd.DataFrame]:
    return [cell(f"{name}{seed}", [0.1, acc], seed=seed, **changes) for seed, acc in enumerate(accs)]


def test_differences_are_taken_within_a_seed() -> None:
    """The accuracies spread over 40 points, and the three differences are 0.02, 0.04 and 0.06."""
    rounds = table(*of_seeds("p", [0.32, 0.54, 0.76]), *of_seeds("f", [0.3, 0.5, 0.7], **FEDAVG))
    [row] = gap_to_full(rounds.sample(frac=1, random_state=0)).to_dict("records")
    half = T_3 * 0.02 / math.sqrt(3)
    assert (row["label"], row["pairs"]) == ("prism", 3)
    assert [row[name] for name in ("mean", "low", "high")] == pytest.approx([0.04, 0.04 - half, 0.04 + half])
    assert (row["final"], row["full"]) == pytest.approx((0.54, 0.5))


def test_what_has_no_partner_or_diverged_is_in_no_difference() -> None:
    rounds = table(
        *of_seeds("p", [0.5, 0.6, 0.9, 0.8]),
        *of_seeds("d", [0.4, 0.4], label="prism (kappa=3)"),
        *of_seeds("q", [0.4], partition="iid", alpha=math.inf),
        *of_seeds("f", [0.6, 0.9, 0.7], **FEDAVG),
        *of_seeds("g", [0.5], **FEDAVG | {"label": "fedavg (lr=1)"}),
    )
    rounds["status"] = rounds["status"].astype(str).mask(rounds["cell"].isin(["d0", "f2"]), "diverged")
    gaps = gap_to_full(rounds).set_index("label")
    assert list(gaps.index) == ["fedavg (lr=1)", "prism", "prism (kappa=3)"]
    assert (gaps["against"] == "fedavg").all() and gaps["cells"].tolist() == [1, 4, 2]
    assert gaps.loc["prism", ["mean", "pairs", "final", "full"]].tolist() == pytest.approx([-0.2, 2, 0.55, 0.75])
    assert gaps.loc["prism (kappa=3)", ["mean", "pairs", "diverged"]].tolist() == pytest.approx([-0.5, 1, 1])
    assert math.isnan(gaps.loc["prism (kappa=3)", "low"])
    assert gaps.loc["fedavg (lr=1)", "mean"] == pytest.approx(-0.1)


def test_dots_lie_at_the_differences_in_their_order() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS[:3], (0.2, 0.8), IID)
    figure = figures_of("gap", {"rounds": rounds})[TASK]
    assert [panel.get_title() for panel in figure.axes] == ["keep 0.8; iid", "keep 0.2; iid"]
    ends = (
        rounds[rounds["round"] >= 18]
        .astype({"label": str, "method": str})
        .groupby(["label", "keep"])["test_acc"]
        .mean()
    )
    for panel, keep in zip(figure.axes, (0.8, 0.2), strict=True):
        gaps = {label: 100 * (ends[label, keep] - ends["fedavg", 1.0]) for label in ("prism", "orthdrop")}
        dots = {
            -int(y): float(x)
            for line in panel.lines
            if line.get_marker() == "o"
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)  # type: ignore[arg-type]
        }
        order = sorted(gaps, key=lambda label: -gaps[label])
        assert [label.get_text() for label in panel.get_yticklabels()] == order
        assert [dots[place] for place in range(len(order))] == pytest.approx([gaps[label] for label in order])


def test_a_dot_is_filled_where_the_interval_leaves_zero_out() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS[:3], (0.2,), IID, seeds=(0, 1, 2))
    [panel] = figures_of("gap", {"rounds": rounds})[TASK].axes
    gaps = gap_to_full(rounds).sort_values("mean", ascending=False)
    filled = [line.get_fillstyle() == "full" for line in panel.lines if line.get_marker() == "o"]
    assert sorted(filled) == sorted(((gaps["low"] > 0) | (gaps["high"] < 0)).tolist())


def test_it_needs_a_full_model_and_marks_what_diverged() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS[:2], (0.2,), IID)
    with pytest.raises(Skip, match="'fedavg'"):
        figures_of("gap", {"rounds": rounds[rounds["method"] != "fedavg"]})
    gone = [name for name in rounds["cell"].unique() if "prism" in name and name.endswith("-0")]
    figure = figures_of("gap", {"rounds": diverge(rounds, gone, last_round=5)})[TASK]
    assert any(line.get_marker() == "x" for line in figure.axes[0].lines)
    assert "a run diverged" in " ".join(words(figure).split())


def test_a_method_without_a_keep_ratio_stands_beside_every_one() -> None:
    labels = [*METHOD_LABELS[:2], ("fedlama", "fedlama")]
    rounds = make_rounds((TASK,), labels, (0.2, 0.8), IID)
    rounds = rounds[(rounds["method"] != "fedlama") | (rounds["keep"] == 0.8)].copy()
    rounds.loc[rounds["method"] == "fedlama", "keep"] = 1.0
    figure = figures_of("gap", {"rounds": rounds})[TASK]
    assert [panel.get_title() for panel in figure.axes] == ["keep 0.8; iid", "keep 0.2; iid"]
    for panel in figure.axes:
        assert {label.get_text() for label in panel.get_yticklabels()} == {"prism", "fedlama, full model"}


def test_a_series_without_a_pair_keeps_its_row_and_is_named() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS[:3], (0.2,), (*IID, ("lda", 0.1)))
    rounds = rounds[(rounds["method"] != "fedavg") | (rounds["partition"] == "iid")]
    gone = [name for name in rounds["cell"].unique() if "prism" in name]
    rounds = diverge(rounds, gone, last_round=5)
    prism = gap_to_full(rounds).set_index("label").loc["prism"]
    assert math.isnan(prism["mean"]) and prism[["pairs", "cells", "diverged"]].tolist() == [0, 2, 2]
    figure = figures_of("gap", {"rounds": rounds})[TASK]
    note = " ".join(words(figure).split())
    assert (
        "Without two finished runs of one seed: prism." in note
        and "No full model beside: LDA, $\\alpha$ = 0.1." in note
    )
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["orthdrop", "prism"]


def test_a_diverged_full_model_leaves_fewer_pairs_and_that_is_said() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS[:2], (0.2,), IID)
    full = next(name for name in rounds["cell"].unique() if "fedavg" in name)
    rounds = diverge(rounds, [full], last_round=5)
    assert gap_to_full(rounds)["pairs"].tolist() == [1]
    assert "fewer pairs than seeds" in " ".join(words(figures_of("gap", {"rounds": rounds})[TASK]).split())


def test_settings_are_compared_with_the_full_model_that_has_them() -> None:
    lr = FEDAVG | {"label": "fedavg (lr=1)"}
    rounds = table(
        *of_seeds("a", [0.5], label="prism (kappa=3, lr=1)"),
        *of_seeds("b", [0.5], label="prism (kappa=3)"),
        *of_seeds("c", [0.5], label="prism (lr=1), keep 0.2:0.5,1:0.5"),
        *of_seeds("f", [0.9], **FEDAVG),
        *of_seeds("g", [0.8], **lr),
    )
    against = gap_to_full(rounds).set_index("label")["against"].to_dict()
    assert against == {
        "prism (kappa=3, lr=1)": "fedavg (lr=1)",
        "prism (kappa=3)": "fedavg",
        "prism (lr=1), keep 0.2:0.5,1:0.5": "fedavg (lr=1)",
        "fedavg (lr=1)": "fedavg",
    }
    note = " ".join(words(figures_of("gap", {"rounds": rounds})[TASK]).split())
    assert "with the full model of the same settings" in note
    alone = rounds[rounds["label"].isin(["fedavg (lr=1)", "prism (kappa=3)"])]
    assert gap_to_full(alone).empty


def test_all_profiles_are_shown() -> None:
    profiles = tuple((f"0.{k}:0.5,1:0.5", 0.5 + k / 20) for k in range(1, 7))
    rounds = make_mixed(profiles, METHOD_LABELS[:2], tasks=(TASK,), partitions=IID, seeds=(0,))
    assert len(figures_of("gap", {"rounds": rounds})[TASK].axes) == len(profiles)
