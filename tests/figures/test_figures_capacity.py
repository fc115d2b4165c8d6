"""The figures of cost, of clients that differ in capacity, of nested and of personal models, and of many methods."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_tables import (
    METHOD_LABELS,
    check_words,
    diverge,
    figures_of,
    lines,
    make_levels,
    make_mixed,
    make_rounds,
    panels,
    words,
)
from matplotlib.figure import Figure
from thinned import every, thinned

from bench.figures import FIGURES, Options, draw_all
from bench.figures.accuracy_cost import size_of
from bench.figures.base import Skip
from bench.figures.cost_axis import axis_of, round_numbers
from bench.figures.points import TICK
from bench.figures.profile_words import panel_title, shares
from bench.figures.style import METHODS

TASK = "cnn-femnist"
IID = (("iid", math.inf),)
LABELS = METHOD_LABELS[:3]
HALVES, FEW = ("0.16:0.5,1:0.5", 0.58), ("0.16:0.9,1:0.1", 0.244)
PROFILES = (HALVES, (f"{HALVES[0]} dynamic", 0.58), FEW)
MANY = (
    *PROFILES,
    ("0.16:0.1,1:0.9", 0.916),
    ("0.16:0.5,0.4:0.5", 0.28),
    ("0.4:0.5,1:0.5", 0.7),
    ("0.0625:0.2,0.125:0.2,0.25:0.2,0.5:0.2,1:0.2", 0.3875),
    ("0.0625:0.2,0.125:0.2,0.25:0.2,0.5:0.2,1:0.2 dynamic", 0.3875),
    ("0.16:0.333,0.4:0.333,1:0.334", 0.52048),
    ("0.0625:0.5,0.125:0.5", 0.09375),
)


def mixed(profiles: tuple[tuple[str, float], ...] = PROFILES, **choices: object) -> dict[str, pd.DataFrame]:
    rounds = make_mixed(profiles, LABELS, **{"tasks": (TASK,), "partitions": IID, "rounds": 6} | choices)
    return {"rounds": rounds, "levels": make_levels(rounds)}


def equal(**choices: object) -> dict[str, pd.DataFrame]:
    defaults: dict[str, object] = {"tasks": (TASK,), "labels": LABELS, "keeps": (0.2, 0.8), "partitions": IID}
    return {"rounds": make_rounds(**defaults | {"rounds": 6} | choices)}  # type: ignore[arg-type]


def final(rounds: pd.DataFrame, query: str) -> float:
    """Return the mean over cells of the last three rounds, in percent."""
    rows = rounds.astype({"label": str, "method": str}).query(query)
    return 100 * float(
        np.mean([of_cell.sort_values("round")["test_acc"].tail(3) for _, of_cell in rows.groupby("cell")])
    )


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def of_method(figure: Figure, panel: int, method: str) -> list[tuple[list[float], list[float]]]:
    return [(x, y) for colour, x, y in lines(figure.axes[panel]) if colour == METHODS[method][0]]


@pytest.mark.parametrize(
    ("panel", "per_round", "unit"),
    [(0, 2 * 20 * 4 * 1_690_046, 1e9), (1, 20 * 960 * 1.1e7, 1e12), (2, 4.5, 1.0)],
)
def test_accuracy_lies_above_the_cost_of_the_run(panel: int, per_round: float, unit: float) -> None:
    tables = equal()
    figure = figures_of("accuracy-cost", tables)[TASK]
    joined, *points = of_method(figure, panel, "prism")
    per_round_of = [per_round * keep if panel < 2 else 3.0 * (0.5 + keep) for keep in (0.2, 0.8)]
    assert joined[0] == pytest.approx([6 * cost / unit for cost in per_round_of])
    heights = [final(tables["rounds"], f"label == 'prism' and keep == {keep}") for keep in (0.2, 0.8)]
    assert joined[1] == pytest.approx(heights)
    assert points == [([x], [y]) for x, y in zip(*joined, strict=True)]
    full = of_method(figure, panel, "fedavg")[-1]
    assert full == (
        pytest.approx([6 * per_round / unit]),
        pytest.approx([final(tables["rounds"], "label == 'fedavg'")]),
    )
    assert figure.axes[panel].get_xscale() == "log"
    low, high = figure.axes[panel].get_xlim()
    assert low < joined[0][0] and high > full[0][0]


def test_the_keep_ratio_is_the_size_of_the_marker() -> None:
    figure = figures_of("accuracy-cost", equal())[TASK]
    drawn = [line for line in figure.axes[0].get_lines() if line.get_label() != TICK["label"]]
    sizes = [line.get_markersize() for line in drawn if line.get_color() == METHODS["prism"][0]]
    assert sizes[1:] == [size_of(0.2), size_of(0.8)]
    assert legend(figure)[-3:] == ["fedavg, full model", "keep 0.2", "keep 0.8"]


def test_the_axis_and_the_numbers_say_which_work_is_counted() -> None:
    tables = equal()
    trained = {"rounds": tables["rounds"].assign(train_macs=3 * tables["rounds"]["forward_macs"])}
    for name, given, said in (
        ("forward_macs", tables, "forward work of all clients (TMAC)"),
        ("train_macs", trained, "forward and backward work\nof all clients (TMAC)"),
    ):
        assert said in words(figures_of("accuracy-cost", given)[TASK])
        assert said in words(figures_of("training-curves", given, Options(x="macs"))[f"{TASK}-macs"])
        [(_, numbers)] = FIGURES["accuracy-cost"].numbers(given, Options())  # type: ignore[misc]
        assert {name, f"{name}_share"} <= set(numbers.columns)
        row = numbers.query("label == 'prism' and keep == 0.2").iloc[0]
        assert row[f"{name}_share"] == pytest.approx(0.2)


def test_cost_of_diverged_runs_is_marked_or_named() -> None:
    rounds = equal()["rounds"]
    gone = [cell for cell in rounds["cell"].unique() if "prism-0.2" in cell]
    one = next(cell for cell in rounds["cell"].unique() if "orthdrop-0.8" in cell)
    figure = figures_of("accuracy-cost", {"rounds": diverge(rounds, [*gone, one], last_round=2)})[TASK]
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert [line.get_color() for line in crosses] == [METHODS["orthdrop"][0]]
    text = words(figure).replace("\n", " ")
    assert "No run finished: prism, keep 0.2." in text and "A cross at the foot" in text
    everything = rounds.assign(status="diverged")
    assert "No run finished: fedavg, keep 1; orthdrop" in words(
        figures_of("accuracy-cost", {"rounds": everything})[TASK]
    ).replace("\n", " ")


def test_profiles_have_a_row_of_costs_each_or_share_one() -> None:
    figure = figures_of("accuracy-cost", mixed())[TASK]
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == [
        "mean keep 0.58; iid\n50% 1 | 50% 0.16",
        "mean keep 0.58; iid\n50% 1 | 50% 0.16 | dynamic",
        "mean keep 0.244; iid\n10% 1 | 90% 0.16",
    ]
    assert legend(figure) == ["prism", "orthdrop", "fedavg, full model"]
    many = figures_of("accuracy-cost", mixed(MANY))[TASK]
    assert [panel.get_title() for panel in many.axes if panel.get_title()] == ["clients of different capacity; iid"]
    assert len(of_method(many, 0, "prism")[0][0]) == len(MANY)


def test_a_place_for_each_profile_in_the_order_of_its_mean() -> None:
    tables = mixed()
    uniform = equal(labels=[("prism", "prism"), ("origdrop", "origdrop")], keeps=(0.4,))["rounds"]
    rounds = pd.concat([tables["rounds"], uniform.astype({"label": str, "method": str})])
    figure = figures_of("profiles", {"rounds": rounds})[TASK]
    panel = panels(figure)["iid"]
    assert [label.get_text() for label in panel.get_xticklabels()] == [
        "50% 1\n50% 0.16",
        "50% 1\n50% 0.16\ndynamic",
        "100% 0.4",
        "10% 1\n90% 0.16",
    ]
    [(x, y)] = of_method(figure, 0, "prism")
    assert x == pytest.approx([0, 1, 2, 3], abs=0.1)
    labels = [f"prism, keep {profile}" for profile, _ in PROFILES]
    labels.insert(2, "prism")
    assert y == pytest.approx([final(rounds, f"label == '{label}'") for label in labels])
    [(_, height)] = of_method(figure, 0, "fedavg")
    assert height == pytest.approx([final(rounds, "label == 'fedavg'")] * 2)
    assert legend(figure) == ["prism", "orthdrop", "fedavg, full model"]

    numbers = dict(FIGURES["profiles"].numbers({"rounds": rounds}, Options()))  # type: ignore[misc]
    row = numbers[TASK].set_index("label").loc["prism"]
    assert 100 * row[FEW[0]] == pytest.approx(final(rounds, f"label == 'prism, keep {FEW[0]}'"))
    assert len(numbers[f"{TASK}-intervals"]) == 1 + 2 * 3 + 1


def test_profiles_need_clients_that_differ_and_mark_what_diverged() -> None:
    with pytest.raises(Skip, match="no cell has clients of different capacity"):
        figures_of("profiles", equal())
    rounds = mixed()["rounds"]
    gone = [cell for cell in rounds["cell"].unique() if f"prism, keep {FEW[0]}" in cell]
    figure = figures_of("profiles", {"rounds": diverge(rounds, gone, last_round=2)})[TASK]
    [cross] = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert list(cross.get_xdata()) == pytest.approx([2], abs=0.1)
    assert "A cross at the foot" in words(figure).replace("\n", " ")


def test_several_profiles_are_left_out_of_the_figure_of_keep_ratios(tmp_path: Path) -> None:
    several = mixed()["rounds"]
    skipped: dict[str, str] = {}
    draw_all({"rounds": several}, tmp_path, ["accuracy-keep"], on_skip=skipped.__setitem__)
    assert "see the figure 'profiles'" in skipped["accuracy-keep"]
    plain = equal()["rounds"].query("method != 'fedavg'")
    both = {"rounds": pd.concat([several, plain.astype({"label": str, "method": str})])}
    figure = figures_of("accuracy-keep", both)[TASK]
    assert legend(figure) == ["prism", "orthdrop", "fedavg, full model"]
    assert "are left out: see the figure profiles" in words(figure).replace("\n", " ")
    [(_, numbers)] = FIGURES["accuracy-keep"].numbers(both, Options())  # type: ignore[misc]
    assert sorted(numbers["keep"].unique()) == [0.2, 0.8, 1.0]

    one = {"rounds": mixed((HALVES,))["rounds"]}
    (panel,) = figures_of("accuracy-keep", one)[TASK].axes
    assert f"prism, keep {HALVES[0]}" in " ".join(
        " ".join(label.get_text() for label in panel.get_yticklabels()).split()
    )


def test_curves_have_a_row_for_each_profile_and_a_legend_entry_for_each_label() -> None:
    tables = mixed()
    figure = figures_of("training-curves", tables)[f"{TASK}-round"]
    assert [panel.get_title().split("\n")[1] for panel in figure.axes] == [
        "10% 1 | 90% 0.16",
        "50% 1 | 50% 0.16",
        "50% 1 | 50% 0.16 | dynamic",
    ]
    assert legend(figure) == ["prism", "orthdrop", "fedavg, full model", "chance (1.6 %)"]
    for panel, label in enumerate([FEW[0], HALVES[0], f"{HALVES[0]} dynamic"]):
        rows = tables["rounds"].query(f"label == 'prism, keep {label}'")
        [(_, y)] = of_method(figure, panel, "prism")
        assert y == pytest.approx(100 * rows.groupby("round")["test_acc"].mean())


def test_a_panel_without_a_run_is_left_out_and_named() -> None:
    rounds = make_mixed(PROFILES, tasks=(TASK,), seeds=(0,))
    few_on_iid = rounds[(rounds["keep"] != FEW[1]) | (rounds["partition"] == "iid")]
    figure = figures_of("training-curves", {"rounds": few_on_iid})[f"{TASK}-round"]
    assert len([panel for panel in figure.axes if not panel.axison]) == 1
    said = r"No run, and no panel: mean keep 0.244; LDA, $\alpha$ = 0.1, 10% 1 | 90% 0.16."
    assert said in " ".join(words(figure).split())


def test_all_profiles_are_shown_on_several_pages() -> None:
    figures = figures_of("training-curves", mixed(MANY))
    assert next(iter(figures)) == f"{TASK}-round-1"
    assert sum(len(figure.axes) for figure in figures.values()) == len(MANY)


def test_levels_are_the_accuracies_of_the_sub_models() -> None:
    tables = mixed((HALVES, MANY[6]))
    figure = figures_of("levels", tables)[TASK]
    five = next(panel for panel in figure.axes if "20% 0.125" in panel.get_title())
    assert [label.get_text() for label in five.get_xticklabels()] == ["0.0625", "0.125", "0.25", "0.5", "1"]
    [(x, y)] = [(x, y) for colour, x, y in lines(five) if colour == METHODS["prism"][0]]
    assert x == pytest.approx([0.0625, 0.125, 0.25, 0.5, 1], rel=0.05)
    rows = tables["levels"].query(f"label == 'prism, keep {MANY[6][0]}' and round > 3")
    assert y == pytest.approx(100 * rows.groupby("level")["level_acc"].mean())
    assert legend(figure) == ["prism", "orthdrop", "fedavg, full model"]
    assert "Only methods with a nested sub-model" in words(figure).replace("\n", " ")
    [(_, numbers)] = FIGURES["levels"].numbers(tables, Options())  # type: ignore[misc]
    assert len(numbers) == 2 * (2 + 5) and {"parameters", "macs"} <= set(numbers.columns)
    alone = {"levels": tables["levels"].query("method == 'prism'")}
    assert legend(figures_of("levels", alone)[TASK]) == ["prism"]


def test_levels_of_alike_clients_share_a_panel_and_held_out_ones_do_not_count() -> None:
    levels = make_levels(equal()["rounds"])
    figure = figures_of("levels", {"levels": levels})[TASK]
    assert [panel.get_title() for panel in figure.axes] == ["keep ratios alike; iid"]
    assert of_method(figure, 0, "prism")[0][0] == pytest.approx([0.2, 0.8], rel=0.05)
    with pytest.raises(Skip, match="no nested sub-model"):
        figures_of("levels", {"levels": levels.assign(validates=True)})
    gone = [cell for cell in levels["cell"].unique() if "prism-0.2" in cell]
    figure = figures_of("levels", {"levels": diverge(levels, gone, last_round=2)})[TASK]
    [cross] = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert list(cross.get_xdata()) == pytest.approx([0.2], rel=0.05)


def test_personal_models_lie_beside_the_servers() -> None:
    labels = [*LABELS, ("pfedpara", "pfedpara")]
    rounds = equal(labels=labels)["rounds"]
    figure = figures_of("personal", {"rounds": rounds})[TASK]
    [panel] = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["pfedpara, keep 0.2", "pfedpara, keep 0.8"]
    server = [final(rounds, f"label == 'pfedpara' and keep == {keep}") for keep in (0.2, 0.8)]
    personal = [accuracy + 0.1 * (100 - accuracy) for accuracy in server]
    shown = [(x[0], y[0]) for _, x, y in lines(panel)]
    expected = [(personal[0], 0), (server[0], 0), (personal[1], -1), (server[1], -1)]
    assert [value for point in shown for value in point] == pytest.approx(
        [value for point in expected for value in point]
    )
    gone = [cell for cell in rounds["cell"].unique() if "pfedpara-0.2" in cell]
    hit = figures_of("personal", {"rounds": diverge(rounds, gone, last_round=2)})[TASK]
    assert "A cross at the left" in words(hit).replace("\n", " ")
    for without in (rounds.assign(personal_acc=np.nan), rounds.drop(columns="personal_acc")):
        with pytest.raises(Skip, match="no cell has models that clients keep"):
            figures_of("personal", {"rounds": without})


@pytest.mark.parametrize(
    "name", thinned(["accuracy-cost", "accuracy-keep", "gap", "training-curves", "levels", "personal"], every(3))
)
def test_words_of_all_methods_at_once_do_not_overlap(name: str) -> None:
    labels = [(method, method) for method in METHODS]
    tables = equal(labels=labels, stand_in=True, partitions=(*IID, ("lda-prior", 0.1)), seeds=(0,))
    tables["levels"] = make_levels(tables["rounds"])
    for figure in figures_of(name, tables).values():
        check_words(figure)


@pytest.mark.parametrize(
    "name", thinned(["training-curves", "accuracy-cost", "exploration", "levels", "profiles"], every(3))
)
def test_words_of_many_profiles_do_not_overlap(name: str) -> None:
    tables = mixed(MANY, stand_in=True, partitions=(*IID, ("lda-prior", 0.1)), seeds=(0,))
    for figure in figures_of(name, tables).values():
        check_words(figure)


def test_words_for_shares_and_panels() -> None:
    assert shares("0.16:0.333,1:0.667", 0.7) == ["66.7% 1", "33.3% 0.16"]
    assert shares("0.16:0.5,1:0.5 dynamic", 0.58) == ["50% 1", "50% 0.16", "dynamic"]
    assert shares("", 0.4) == ["100% 0.4"]
    assert panel_title("", 0.4, "iid", math.inf) == "keep ratios alike; iid"
    assert panel_title(MANY[6][0], 0.3875, "lda-prior", 0.1) == (
        "mean keep 0.388\nLDA by prior, $\\alpha$ = 0.1\n20% 1 | 20% 0.5 | 20% 0.25\n20% 0.125 | 20% 0.0625"
    )


@pytest.mark.parametrize(
    ("low", "high"), [(0.8, 12.0), (3.1, 4.9), (51.0, 70.0), (1.01, 1.04), (1e-3, 1e6), (2.0, 2.0)]
)
def test_a_logarithmic_axis_has_some_round_numbers(low: float, high: float) -> None:
    ticks = round_numbers(low / 1.3, high * 1.3)
    assert 3 <= len(ticks) <= 6
    assert all(low / 1.3 <= tick <= high * 1.3 for tick in ticks)
    assert axis_of("round", 3, "forward_macs") == (1.0, "round")
