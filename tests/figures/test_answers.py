"""What a reader asks of figures of many methods: order, room, and differences that hold together."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    METHOD_LABELS,
    diverge,
    figures_of,
    lines,
    make_footprint,
    make_mixed,
    make_ranks,
    make_rounds,
    panels,
    words,
)
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from scipy import stats

from bench.analysis.gap import gap_to
from bench.errors import BenchError
from bench.federation.partition import Partition
from bench.figures import Options
from bench.figures.base import Skip
from bench.figures.looks import FRONT_COLOUR, METHODS
from bench.figures.paging import PAGE, pages
from bench.figures.partition import draw_partition
from bench.figures.points import TICK, bars_note, draw_bar
from bench.figures.required_kernels import apart_from_another
from bench.figures.style import use_style
from bench.figures.training_curves import BEST, GREY

TASK = "cnn-femnist"
IID = (("iid", math.inf),)
MANY = [(name, name) for name in METHODS]
FULL = {"fedavg (a=1)", "fedavg (a=2)"}
PROFILES = tuple((f"{keep:g}:0.5,1:0.5", (1 + keep) / 2) for keep in (0.1, 0.16, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7))


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """Fifteen methods at one keep ratio."""
    return make_rounds((TASK,), MANY, (0.2,), IID, (0, 1, 2), 6)


def said(figure: Figure) -> str:
    return " ".join(words(figure).split())


def ends(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the final accuracies in percent by hand: rows are seeds, columns labels."""
    last = rounds[rounds["round"] >= rounds["round"].max() - 2].astype({"label": str})
    return 100 * last.groupby(["label", "seed"])["test_acc"].mean().unstack("label")


def test_one_keep_ratio_is_a_sorted_dot_plot(many: pd.DataFrame) -> None:
    (figure,) = figures_of("accuracy-keep", {"rounds": many}).values()
    (panel,) = figure.axes
    means = ends(many).mean().drop("fedavg").sort_values(ascending=False)
    assert [label.get_text() for label in panel.get_yticklabels()] == list(means.index)
    dots = {round(-line.get_ydata()[0]): line for line in panel.get_lines() if line.get_marker() not in ("None", "|")}  # type: ignore[index]
    assert [dots[row].get_xdata()[0] for row in range(len(means))] == pytest.approx(list(means))  # type: ignore[index]
    assert [dots[row].get_color() for row in range(3)] == [METHODS[name][0] for name in means.index[:3]]
    verticals = [line.get_xdata()[0] for line in panel.get_lines() if list(line.get_ydata()) == [0, 1]]  # type: ignore[index]
    assert verticals == pytest.approx([ends(many)["fedavg"].mean()] + [100 / 62] * (len(verticals) - 1))
    assert len(verticals) == 2 or "Chance, 1.6 %" in said(figure)


def test_three_keep_ratios_stay_on_an_axis() -> None:
    (figure,) = figures_of("accuracy-keep", {"rounds": make_rounds((TASK,), partitions=IID, rounds=3)}).values()
    assert figure.axes[0].get_xlabel() == "keep ratio"


@pytest.mark.parametrize("name", ["gap", "levels", "training-curves", "profiles", "accuracy-keep"])
def test_no_figure_is_taller_than_a_page_and_nothing_is_lost(name: str) -> None:
    rounds = make_mixed(PROFILES, MANY[:6], tasks=(TASK,), partitions=IID, seeds=(0,), rounds=2)
    if name == "accuracy-keep":
        keeps = (0.2, 0.4)
        rounds = make_rounds((TASK,), [(method, f"{method} (a={a})") for method, _ in MANY for a in (1, 2)], keeps, IID)
    from figure_tables import make_levels

    figures = figures_of(name, {"rounds": rounds, "levels": make_levels(rounds)})
    with use_style():
        heights = [figure.get_size_inches()[1] for figure in figures.values()]
    assert max(heights) <= PAGE
    if name == "profiles":
        return
    assert len(figures) > 1
    suffixes = list(figures)
    assert all(suffix.endswith(f"-{number}") for number, suffix in enumerate(suffixes, 1))
    for number, figure in enumerate(figures.values(), 1):
        assert f"Figure {number} of {len(figures)}" in said(figure)
    shown = [panel.get_title() for figure in figures.values() for panel in figure.axes if panel.axison]
    if name == "accuracy-keep":  # more rows than a page has, at either keep ratio
        labels = [
            tick.get_text() for figure in figures.values() for panel in figure.axes for tick in panel.get_yticklabels()
        ]
        assert len(set(shown)) == 2 and sorted(labels) == sorted(2 * list(set(rounds["label"].astype(str)) - FULL))
        return
    assert len(shown) == len(set(shown)) == len(PROFILES)


def test_pages_are_filled_evenly_and_one_that_is_too_tall_stands_alone() -> None:
    assert [page.shown for page in pages(list(range(6)), 2.0, 8.0)] == [[0, 1, 2], [3, 4, 5]]
    assert [page.shown for page in pages([0, 1], [20.0, 1.0], 8.0)] == [[0], [1]]
    assert [page.suffix for page in pages([0], 1.0)] == [""]


@pytest.mark.parametrize("name", ["training-curves", "accuracy-cost", "exploration", "accuracy-keep", "rank-methods"])
def test_a_legend_is_never_larger_than_a_panel(many: pd.DataFrame, name: str) -> None:
    for figure in figures_of(name, {"rounds": many, "ranks": make_ranks(many[many["label"] != "fedlama"])}).values():
        with use_style():
            figure.draw_without_rendering()
            panel_heights = [panel.get_window_extent().height for panel in figure.axes if panel.axison]
            for legend in figure.legends:
                extent = legend.get_window_extent()
                assert extent.height <= min(panel_heights) and extent.width <= figure.bbox.width


def test_of_many_curves_the_best_and_ones_own_are_in_colour(many: pd.DataFrame) -> None:
    last = many[many["round"] == many["round"].max()].astype({"label": str}).groupby("label")["test_acc"].mean()
    worst = last.drop("fedavg").idxmin()
    best = list(last.drop(["fedavg", worst]).sort_values().index[-BEST:])
    (figure,) = figures_of("training-curves", {"rounds": many}, Options(front=(worst,))).values()
    (panel,) = figure.axes
    colours = [colour for colour, _, y in lines(panel) if len(y) > 2]
    assert sum(same_color(colour, GREY) for colour in colours) == len(MANY) - 2 - BEST
    assert any(same_color(colour, FRONT_COLOUR) for colour in colours)
    grey = sorted({name for name, _ in MANY} - {"fedavg", worst, *best})
    assert f"Grey: {', '.join(grey)}." in said(figure)
    assert not panel.collections and "Bands" not in said(figure)
    (banded,) = figures_of("training-curves", {"rounds": many}, Options(bands=True)).values()
    assert len(banded.axes[0].collections) == BEST + 1 and "Bands" in said(banded)
    few = many[many["label"].isin(["fedavg", "prism", "fjord"])]
    (plain,) = figures_of("training-curves", {"rounds": few}).values()
    assert len(plain.axes[0].collections) == 3 and "Grey" not in said(plain)


def test_the_gap_to_another_method_is_paired_by_keep_ratio_and_seed() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS, (0.2, 0.8), IID, (0, 1, 2), 6)
    table = gap_to(rounds, "prism").set_index(["label", "keep"])
    for keep in (0.2, 0.8):
        here = ends(rounds[(rounds["keep"] == keep) | (rounds["label"] == "fedavg")])
        for label in ("fedavg", "orthdrop", "origdrop"):
            difference = here[label] - here["prism"]
            row = table.loc[(label, keep)]
            assert 100 * row["mean"] == pytest.approx(difference.mean())
            low, high = stats.t.interval(1 - 0.05 / 6, 2, difference.mean(), stats.sem(difference))
            assert (100 * row["adjusted_low"], 100 * row["adjusted_high"]) == pytest.approx((low, high))
            assert (row["family"], row["pairs"], row["against"]) == (6, 3, "prism")
    figures = figures_of("gap", {"rounds": rounds}, Options(reference="prism"))
    assert list(figures) == [f"{TASK}-to-prism"]
    figure = figures[f"{TASK}-to-prism"]
    assert "all 6 comparisons shown (Bonferroni)" in said(figure) and "less prism's" in said(figure)
    assert list(panels(figure)) == ["keep 0.8; iid", "keep 0.2; iid"]
    assert [len(panel.get_yticklabels()) for panel in figure.axes] == [3, 3]
    with pytest.raises(Skip, match="no cell has a finished run of 'fjord'"):
        figures_of("gap", {"rounds": rounds}, Options(reference="fjord"))


def test_of_equal_methods_the_adjusted_intervals_mark_a_family_as_often_as_they_should() -> None:
    """Twenty differences of nothing: each alone marks one of most families, together about one family in twenty."""
    from bench.analysis.adjusted import adjusted

    rng = np.random.default_rng(7)
    draws = rng.normal(size=(150, 20, 5))
    alone, together = 0, 0
    for family in draws:
        rows = pd.DataFrame({"mean": family.mean(1), "std": family.std(1, ddof=1), "pairs": 5})
        judged = adjusted(rows)
        half = stats.t.ppf(0.975, 4) * judged["std"] / math.sqrt(5)
        alone += bool((judged["mean"].abs() > half).any())
        together += bool(((judged["adjusted_low"] > 0) | (judged["adjusted_high"] < 0)).any())
    assert alone / 150 > 0.5 and together / 150 < 0.08


def test_required_kernels_are_shares_with_names_at_the_ends_that_do_not_touch() -> None:
    rounds = make_rounds(("resnet18-cifar10",), [("fedavg", "fedavg")], (), IID, (0,), 5)
    (figure,) = figures_of("required-kernels", {"ranks": make_ranks(rounds)}).values()
    for panel in figure.axes[:4]:
        *curves, full = lines(panel)
        assert len(curves) == 4 and list(full[2]) == [100, 100]
        assert all(0 < share <= 100 for _, _, y in curves for share in y)
        assert len(panel.texts) == 4 and panel.get_legend() is None
    with use_style():
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(not one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[place + 1 :])
    assert apart_from_another([1.0, 1.0, 1.0], 2.0, 0.0, 100.0) == [0.0, 2.0, 4.0]
    assert apart_from_another([99.0, 98.0], 4.0, 0.0, 100.0) == [100.0, 96.0]


def test_no_line_joins_profiles() -> None:
    rounds = make_mixed(PROFILES[:3], METHOD_LABELS, tasks=(TASK,), partitions=IID, rounds=3)
    (figure,) = figures_of("profiles", {"rounds": rounds}).values()
    own = [
        line for line in figure.axes[0].get_lines() if line.get_label() != TICK["label"] and len(line.get_xdata()) == 3
    ]  # type: ignore[arg-type]
    assert len(own) == 3 and {line.get_linestyle() for line in own} == {"None"}


def test_an_ablation_holds_its_intervals_and_shows_the_differences() -> None:
    labels = [("fedavg", "fedavg"), ("prism", "prism"), *(("prism", f"prism (kappa={kappa})") for kappa in (1, 2, 3))]
    rounds = make_rounds((TASK,), labels, (0.2,), IID, (0, 1, 2), 6)
    noisy = (rounds["label"] == "prism (kappa=3)") & (rounds["seed"] == 0)
    rounds["test_acc"] = rounds["test_acc"].mask(noisy, 0.3)
    (figure,) = figures_of("ablation", {"rounds": rounds}).values()
    accuracy, difference = figure.axes
    low, high = accuracy.get_xlim()
    for collection in accuracy.collections:
        for segment in collection.get_segments():  # type: ignore[attr-defined]
            assert low <= max(segment[0][0], 0) and min(segment[1][0], 100) <= high
    by_hand = ends(rounds)
    dots = [line for line in difference.get_lines() if line.get_marker() == "o"]
    found = {-round(float(line.get_ydata()[0])): float(line.get_xdata()[0]) for line in dots}  # type: ignore[index]
    wanted = [(by_hand[f"prism (kappa={kappa})"] - by_hand["prism"]).mean() for kappa in (1, 2, 3)]
    assert [found[row] for row in (1, 2, 3)] == pytest.approx(wanted) and len(found) == 3
    assert "all 3 differences shown" in said(figure)


def test_panels_without_a_run_and_flat_ones_are_left_out_and_named() -> None:
    both = (("iid", math.inf), ("lda", 0.1))
    rounds = make_rounds((TASK,), METHOD_LABELS, (0.2, 0.8), both, (0,), 4)
    gone = (rounds["keep"] == 0.8) & (rounds["partition"] == "lda")
    (figure,) = figures_of("training-curves", {"rounds": rounds[~gone]}).values()
    assert r"No run, and no panel: keep 0.8; LDA, $\alpha$ = 0.1." in said(figure)
    assert len([panel for panel in figure.axes if panel.axison]) == 3
    flat = rounds.assign(coverage=rounds["coverage"].where(rounds["keep"] != 0.8, 1.0))
    flat["coverage_expected"] = flat["coverage"]
    (figure,) = figures_of("exploration", {"rounds": flat[flat["partition"] == "iid"]}).values()
    assert "The same number throughout, and no panel: keep 0.8; iid (100)." in said(figure)
    assert [panel.get_title() for panel in figure.axes if panel.axison] == ["keep 0.2; iid"]


def test_a_subtitle_says_how_large_the_runs_were_and_what_is_at_chance() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS, (0.2,), IID, (0, 1), 4)
    names = rounds["cell"].unique()
    scale = {"model": "architecture=resnet18, width=16", "width": 16, "clients": 100, "cohort": 10, "precision": "fp32"}
    cells = pd.DataFrame({"cell": names, **scale})
    (figure,) = figures_of("accuracy-keep", {"rounds": rounds, "cells": cells}).values()
    assert "FEMNIST; resnet18; width 16; 100 clients, 10 a round; fp32; 4 rounds; 2 seeds" in said(figure)
    cells["width"] = [8] + [16] * (len(names) - 1)
    (figure,) = figures_of("accuracy-keep", {"rounds": rounds, "cells": cells}).values()
    assert "width 8 to 16" in said(figure) and "AT CHANCE" not in said(figure)
    (figure,) = figures_of("accuracy-keep", {"rounds": rounds}, Options(at_chance=((TASK, "FEMNIST"),))).values()
    assert "AT CHANCE, THIS RANKS NOTHING; FEMNIST; 4 rounds; 2 seeds" in said(figure)


def test_a_scale_that_tables_do_not_know_is_left_out() -> None:
    """Tables brought to the present columns have those that nobody knows without a value."""
    rounds = make_rounds((TASK,), METHOD_LABELS, (0.2,), IID, (0, 1), 4)
    cells = pd.DataFrame({"cell": rounds["cell"].unique(), "model": None, "width": math.nan, "clients": math.nan})
    tables = {"rounds": rounds, "cells": cells.assign(cohort=math.nan, precision=None)}
    (figure,) = figures_of("accuracy-keep", tables).values()
    assert "FEMNIST; 4 rounds; 2 seeds" in said(figure) and "nan" not in said(figure).lower()
    footprint = make_footprint(rounds).assign(model=math.nan)
    (figure,) = figures_of("footprint", {"footprint": footprint}).values()
    assert f"a client's sub-model: {TASK}" in said(figure) and "nan" not in said(figure).lower()


def test_a_bar_ends_where_accuracies_do_with_an_arrow() -> None:
    points = pd.DataFrame({"low": [-12.0, 40.0], "high": [30.0, 130.0]})
    panel = Figure().subplots()
    draw_bar(panel, [1.0, 2.0], points, "#000000")
    (bars,) = panel.collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]  # type: ignore[attr-defined]
    assert ends == [[0.0, 30.0], [40.0, 100.0]]
    arrows = {(line.get_marker(), *map(float, line.get_xydata()[0])) for line in panel.get_lines()}  # type: ignore[index]
    assert arrows == {("v", 1.0, 0.0), ("^", 2.0, 100.0)}
    fractions = points / 100
    assert bars_note(fractions.assign(by_seed=[(), ()]), "Bars").endswith("; arrows: beyond what is possible.")
    within = fractions.clip(0, 1).assign(by_seed=[(), ()])
    assert bars_note(within, "Bars") == "Bars."


def test_a_partition_has_no_row_for_a_class_that_nobody_holds() -> None:
    labels = np.array([0, 0, 3, 3, 3, 61])
    partition = Partition("iid", None, "none", np.arange(6), np.array([0, 3, 6]))
    figure = draw_partition(partition, labels, 62, "data")
    heat = figure.axes[1]
    assert np.asarray(heat.get_images()[0].get_array()).shape == (3, 2)
    assert "59 classes that nobody holds are left out" in said(figure)
    figure.draw_without_rendering()
    assert {text.get_text() for text in heat.get_yticklabels()} >= {"0", "3", "61"}


def test_one_seed_and_diverged_runs_say_what_cannot_be_said() -> None:
    rounds = make_rounds((TASK,), METHOD_LABELS, (0.2,), IID, (0,), 4)
    (figure,) = figures_of("gap", {"rounds": rounds}, Options(reference="prism")).values()
    assert "One seed has no interval." in said(figure)
    gone = diverge(rounds, [cell for cell in rounds["cell"].unique() if "prism" in cell], 1)
    with pytest.raises(Skip, match="finished run of 'prism'"):
        figures_of("gap", {"rounds": gone}, Options(reference="prism"))
    with pytest.raises(BenchError):
        gap_to(rounds, "prism", 0)
