"""Seeds beside their mean: a tick at each one's value, on an axis that reaches it, where there are two to ten."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis_tables import cell, table
from figure_tables import figures_of, make_levels, make_mixed, make_rounds, ticks, words
from matplotlib.figure import Figure

from bench.analysis.levels import level_accuracy
from bench.analysis.summary import final_accuracy, over_seeds
from bench.figures import draw_all
from bench.figures.points import draw_points
from bench.figures.style import METHODS, series_styles

TASK = "cnn-femnist"
IID = (("iid", math.inf),)
HALVES = ("0.16:0.5,1:0.5", 0.58)
VARIANTS = [("prism", label) for label in ("prism", "prism (kappa=3)", "prism (kappa=4)", "prism (lr=1)")]
LABELS = {
    "ablation": [("fedavg", "fedavg"), *VARIANTS],
    "personal": [("fedavg", "fedavg"), ("pfedpara", "pfedpara")],
}
READ_ON_X = ("ablation", "gap", "personal", "accuracy-keep")
NAMES = (*READ_ON_X, "accuracy-cost", "profiles", "levels")
SEEDS = (0, 1, 2)
TICKS_SAID = "ticks: the seeds"


def tables_of(name: str, seeds: tuple[int, ...]) -> dict[str, pd.DataFrame]:
    """Return tables of one keep ratio or profile, in which seed 0 of the last label ends near zero."""
    labels = LABELS.get(name, [("fedavg", "fedavg"), ("prism", "prism"), ("orthdrop", "orthdrop")])
    if name == "profiles":
        rounds = make_mixed((HALVES,), labels, tasks=(TASK,), partitions=IID, rounds=6, seeds=seeds)
    else:
        rounds = make_rounds((TASK,), labels, (0.2,), IID, seeds, 6)
    collapsed = (rounds["seed"] == 0) & (rounds["label"].astype(str).str.startswith(labels[-1][1]))
    accs = [column for column in ("test_acc", "personal_acc") if column in rounds]
    rounds[accs] = rounds[accs].mask(collapsed, 0.02)
    return {"rounds": rounds, "levels": make_levels(rounds)}


def by_hand(name: str, tables: dict[str, pd.DataFrame]) -> set[float]:
    """Return what each seed ends at, in percent: the mean of the last three evaluations of its cell."""
    rounds = tables["rounds"].astype({"method": str})
    column = "personal_acc" if name == "personal" else "test_acc"
    ends = rounds[rounds["round"] >= 4].groupby(["method", "label", "seed"], observed=True)[column].mean()
    full = ends.loc["fedavg", "fedavg"]
    if name in ("ablation", "personal", "gap"):
        ends = ends.drop("fedavg")
    if name == "gap":
        ends -= full.loc[ends.index.get_level_values("seed")].to_numpy()
    if name == "levels":
        levels = tables["levels"].astype({"label": str})
        of_levels = levels[levels["round"] >= 4].groupby(["label", "level", "seed"])["level_acc"].mean()
        ends = pd.concat([of_levels, full])
    return {round(100 * float(end), 6) for end in ends}


def values(figure: Figure, name: str) -> list[tuple[float, tuple[float, float]]]:
    """Return each tick's value, and the limits of the axis that it is read on."""
    found = []
    for panel in figure.axes[:1] if name == "ablation" else figure.axes:  # the other one has the differences
        for _, x, y in ticks(panel):
            limits = panel.get_xlim() if name in READ_ON_X else panel.get_ylim()
            found += [(float(value), limits) for value in (x if name in READ_ON_X else y)]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_seeds_tick_stands_at_its_value_and_the_axis_reaches_it(name: str) -> None:
    tables = tables_of(name, SEEDS)
    (figure,) = figures_of(name, tables).values()
    found = values(figure, name)
    assert {round(value, 6) for value, _ in found} == by_hand(name, tables)
    assert all(low < value < high for value, (low, high) in found)
    assert TICKS_SAID in " ".join(words(figure).split())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seeds", [(0,), tuple(range(11))])
def test_one_seed_is_its_mean_and_many_are_told_by_their_interval(name: str, seeds: tuple[int, ...]) -> None:
    (figure,) = figures_of(name, tables_of(name, seeds)).values()
    assert not values(figure, name)
    assert TICKS_SAID not in " ".join(words(figure).split())


@pytest.mark.parametrize("name", ["gap", "accuracy-keep"])
def test_ten_seeds_are_drawn(name: str) -> None:
    tables = tables_of(name, tuple(range(10)))
    (figure,) = figures_of(name, tables).values()
    assert {round(value, 6) for value, _ in values(figure, name)} == by_hand(name, tables)


def test_ticks_lie_across_the_bar_of_their_point() -> None:
    panel = Figure().subplots()
    style = series_styles(pd.DataFrame({"method": ["prism"], "label": ["prism"]}))["prism"]
    series = pd.DataFrame({"mean": [2.0, 4.0], "low": [1.0, 3.0], "high": [3.0, 5.0], "by_seed": [(1.5, 2.5), (4.0,)]})
    draw_points(panel, pd.Series([0.2, 0.8]), series, style)
    assert ticks(panel) == [(METHODS["prism"][0], [0.2, 0.2], [1.5, 2.5])]


def test_seeds_are_in_their_order_without_what_diverged() -> None:
    cells = [cell(f"p{seed}", [0.1, acc], seed=seed) for seed, acc in enumerate((0.5, 0.25, 0.75, 1.0))]
    cells[3]["status"] = "diverged"
    other = [cell(f"q{seed}", [0.1, None], seed=seed, label="a", status="diverged") for seed in (0, 1)]
    rounds = table(*reversed(cells), *other)
    points = over_seeds(final_accuracy(rounds)).set_index("label")
    assert points["by_seed"].to_dict() == {"prism": (0.5, 0.25, 0.75), "a": ()}
    assert points.loc["prism", "mean"] == np.mean(points.loc["prism", "by_seed"])
    levels = rounds.assign(level=0.5, level_acc=rounds["test_acc"], parameters=1, macs=1)
    assert level_accuracy(levels).set_index("label")["by_seed"].to_dict() == {"prism": (0.5, 0.25, 0.75), "a": ()}


def test_numbers_have_the_seeds_as_words(tmp_path: Path) -> None:
    draw_all(tables_of("accuracy-keep", SEEDS), tmp_path, ["accuracy-keep"])
    with (tmp_path / f"accuracy-keep-{TASK}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        seeds = [float(word) for word in row["by_seed"].split(" ")]
        assert len(seeds) == 3 and np.mean(seeds) == pytest.approx(float(row["mean"]), rel=1e-5)
    assert min(float(word) for row in rows for word in row["by_seed"].split(" ")) == 0.02
