"""The chance level: the line on axes of accuracy, and what is said of results that are not above it."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from figure_tables import check_words, figures_of, make_mixed, make_tables, words
from matplotlib.figure import Figure

from bench.figures import FIGURES, Options
from bench.figures.chance import LINE, draw_chance

OF_ACCURACY = ("accuracy-keep", "accuracy-cost", "training-curves", "profiles", "levels", "personal", "ablation")
LABELS = [("fedavg", "fedavg"), ("prism", "prism"), ("prism", "prism (kappa=4)"), ("pfedpara", "pfedpara")]


def tables(classes: int, scale: float) -> dict[str, pd.DataFrame]:
    """Return small tables of a task of so many classes, whose accuracies are multiplied by ``scale``."""
    made = make_tables(
        tasks=("resnet18-cifar10",), labels=LABELS, keeps=(0.2,), partitions=(("iid", math.inf),), rounds=5
    )
    mixed = make_mixed(
        (("0.2:0.5,1:0.5", 0.6),), LABELS[1:2], tasks=("resnet18-cifar10",), partitions=(("iid", math.inf),), rounds=5
    )
    rounds = pd.concat([made["rounds"], mixed], ignore_index=True)
    accuracies = ["test_acc", "personal_acc", "personal_base_acc"]
    rounds[accuracies] *= scale
    levels = made["levels"].assign(level_acc=scale * made["levels"]["level_acc"], classes=classes)
    return {"rounds": rounds.assign(classes=classes), "levels": levels}


def chance_lines(figure: Figure) -> int:
    return sum(line.get_color() == LINE["color"] for panel in figure.axes for line in panel.get_lines())


@pytest.mark.parametrize("name", OF_ACCURACY)
def test_every_axis_of_accuracy_has_the_line_or_says_where_it_is(name: str) -> None:
    options = Options(named=True)
    for figure in figures_of(name, tables(classes=10, scale=0.12), options).values():
        assert chance_lines(figure) == len(figure.axes) and "chance (10 %)" in words(figure)
        check_words(figure)
    for figure in figures_of(name, tables(classes=62, scale=1.0), options).values():
        # A curve starts at the initial model and reaches the line; final accuracies lie far above.
        said = "chance (1.6 %)" if chance_lines(figure) else "Chance, 1.6 %, is"
        assert said in words(figure)
    unknown = {key: table.drop(columns="classes") for key, table in tables(classes=10, scale=0.12).items()}
    for figure in figures_of(name, unknown, options).values():
        assert not chance_lines(figure) and "hance" not in words(figure)


def test_no_figure_of_accuracy_is_forgotten() -> None:
    """A new figure whose axis is an accuracy belongs into the list above."""
    others = {"gap", "required-kernels", "rank-methods", "exploration", "anme", "approximation-error"}
    others |= {"aggregation-error", "cosine", "footprint"}
    assert set(FIGURES) == set(OF_ACCURACY) | others


@pytest.mark.parametrize(("values", "reached", "bottom"), [
    ([20.0, 40.0], False, 20.0),  # 10 lies half an axis below
    ([14.0, 40.0], True, None),  # 10 lies less than a quarter of the axis below: it is lengthened
    ([5.0, 40.0], True, 5.0),
    ([11.0, 11.2], True, None),  # one point above: hardly more than guessing
])  # fmt: skip
def test_an_axis_is_lengthened_only_where_the_line_is_near(
    values: list[float], reached: bool, bottom: float | None
) -> None:
    figure = Figure()
    panels = figure.subplots(1, 2, sharey=True)
    for panel in panels:
        panel.plot([0, 1], values)
        panel.set_ylim(*values)
    said = draw_chance(panels, pd.DataFrame({"classes": [10, 10]}))
    assert chance_lines(figure) == 2 * reached
    assert bool(said.entries) == reached != bool(said.note)
    low, high = panels[0].get_ylim()
    assert high == values[1] and (
        low == bottom if bottom is not None else values[0] - max(0.25 * (40 - values[0]), 2.1) < low < 10
    )


def test_rows_of_several_numbers_of_classes_have_no_line() -> None:
    figure = Figure()
    panel = figure.subplots()
    panel.plot([0, 1], [0, 100])
    assert draw_chance([panel], pd.DataFrame({"classes": [10, 62]})).entries == ()
    assert not chance_lines(figure)
