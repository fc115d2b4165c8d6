"""The chance level: the line on axes of accuracy, and what is said of results that are not above it."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from compared import finish, no_footprint
from figure_tables import check_words, figures_of, make_mixed, make_tables, words
from matplotlib.figure import Figure
from tiny import CommandLine, sweep_of

from bench.analysis.chance import ERRORS, Guess, at_chance
from bench.config.cells import read_sweep
from bench.figures import FIGURES, Options
from bench.figures.chance import LINE, draw_chance
from bench.launch import apart
from bench.launch.apart import Order
from bench.launch.running import Outcome
from bench.report import plotting
from bench.store.cells import Store

OF_ACCURACY = ("accuracy-keep", "accuracy-cost", "training-curves", "profiles", "levels", "personal", "ablation")
BUDGETS = ("accuracy-budget",)
LABELS = [("fedavg", "fedavg"), ("prism", "prism"), ("prism", "prism (kappa=4)"), ("pfedpara", "pfedpara")]


@functools.cache
def tables(classes: int, scale: float, budget: bool = False) -> dict[str, pd.DataFrame]:
    """Return small tables of a task of so many classes, whose accuracies are multiplied by ``scale``.

    Clients of different capacity are among them, or such as have a budget.
    """
    made = make_tables(
        tasks=("resnet18-cifar10",), labels=LABELS, keeps=(0.2,), partitions=(("iid", math.inf),), rounds=5
    )
    mixed = make_mixed(
        (("0.2:0.5,1:0.5", 0.6),), LABELS[1:2], tasks=("resnet18-cifar10",), partitions=(("iid", math.inf),), rounds=5
    )
    if budget:
        labels = mixed["label"].str.replace("keep 0.2:0.5,1:0.5", "budget memory=0.6")
        mixed = mixed.assign(label=labels, capacities="memory=0.6")
    rounds = pd.concat([made["rounds"], mixed], ignore_index=True)
    accuracies = ["test_acc", "personal_acc", "personal_base_acc"]
    rounds[accuracies] *= scale
    levels = made["levels"].assign(level_acc=scale * made["levels"]["level_acc"], classes=classes)
    return {"rounds": rounds.assign(classes=classes), "levels": levels}


def chance_lines(figure: Figure) -> int:
    return sum(line.get_color() == LINE["color"] for panel in figure.axes for line in panel.get_lines())


@pytest.mark.parametrize("name", OF_ACCURACY + BUDGETS)
def test_every_axis_of_accuracy_has_the_line_or_says_where_it_is(name: str) -> None:
    options = Options(named=True)
    for figure in figures_of(name, tables(10, 0.12, name in BUDGETS), options).values():
        of_accuracy = [panel for panel in figure.axes if "points" not in panel.get_xlabel()]
        assert chance_lines(figure) == len(of_accuracy) and "chance (10 %)" in words(figure)
        check_words(figure)
    for figure in figures_of(name, tables(62, 1.0, name in BUDGETS), options).values():
        # A curve starts at the initial model and reaches the line; final accuracies lie far above.
        said = "chance (1.6 %)" if chance_lines(figure) else "Chance, 1.6 %, is"
        assert said in " ".join(words(figure).split())
    unknown = {key: table.drop(columns="classes") for key, table in tables(10, 0.12, name in BUDGETS).items()}
    for figure in figures_of(name, unknown, options).values():
        assert not chance_lines(figure) and "hance" not in words(figure)


def test_no_figure_of_accuracy_is_forgotten() -> None:
    """A new figure whose axis is an accuracy belongs into the list above."""
    others = {"gap", "required-kernels", "rank-methods", "exploration", "anme", "approximation-error"}
    others |= {"aggregation-error", "cosine", "footprint", "fits"}
    assert set(FIGURES) == {*OF_ACCURACY, *BUDGETS} | others


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


def facts(classes: int = 10, commonest: float = 0.1, samples: int = 1000, title: str = "digits") -> dict[str, Any]:
    return {"classes": classes, "commonest_class": commonest, "evaluated_samples": samples, "data_title": title}


def test_guesses_are_at_chance_and_what_has_learnt_is_not() -> None:
    """Accuracies of random labels stay below the limit, those of a model that knows a little do not."""
    rng = np.random.default_rng(0)
    for classes, samples in ((2, 60), (10, 200), (10, 10_000), (62, 500)):
        truth = rng.integers(classes, size=samples)
        guess = Guess(classes, 1 / classes, samples)
        accuracies = np.mean(rng.integers(classes, size=(400, samples)) == truth, axis=1)
        assert np.mean(accuracies > guess.limit) < 0.015  # the binomial's tail is heavier than the normal one's 0.001
        error = math.sqrt(guess.accuracy * (1 - guess.accuracy) / samples)
        assert guess.limit == pytest.approx(1 / classes + ERRORS * error)


def test_a_constant_answer_is_at_chance_where_classes_are_uneven() -> None:
    (line,) = at_chance([("cnn-femnist", 0.3, facts(commonest=0.3))])
    assert line == (
        "cnn-femnist on digits: the finished cell is at chance: accuracy up to 30.0% on 1,000 samples, guessing among "
        "10 classes gives 10 %, the commonest class 30.0%; this ranks nothing"
    )
    assert at_chance([("cnn-femnist", 0.3, facts())]) == []


def test_each_task_is_judged_by_itself_and_a_single_cell_that_has_learnt_is_enough() -> None:
    cells = [("a", 0.10, facts()), ("a", 0.9, facts()), ("b", 0.1, facts()), ("b", 0.0, facts())]
    (line,) = at_chance(cells)
    assert line.startswith("b on digits: all 2 finished cells are at chance: accuracy up to 10.0%")
    assert at_chance([("b", 0.1, {"classes": 10, "data_title": "digits"})]) == []  # an earlier version's cell
    assert at_chance([]) == []


STILL = '[[cells]]\nmethod = "fedavg"\n[cells.training]\nrounds = 1\nlr = 1e-9\n'
SAID = "cnn-femnist on FEMNIST-like stand-in data: the finished cell is at chance: accuracy up to"
SWEEP = ("sweep", "still.toml", "--engine", "inline", "--device", "cpu")
RUN = ("run", "--task", "cnn-femnist", "--method", "fedavg", "--rounds", 1, "--workers", 1, "--device", "cpu")
SETTINGS = [part for name in ("lr=1e-9", "clients=4", "cohort=2", "standin_test=60") for part in ("--set", name)]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    sweep_of(tmp_path, STILL, "figures = []\n", "still")
    return CommandLine(monkeypatch, capsys)


def test_a_finished_sweep_at_chance_says_so_last(bench: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plotting, "write_footprint", no_footprint)
    sweep = read_sweep(Path("still.toml"))
    finish(sweep.cells, Store(Path("results/still")), lambda cell: 1 / 62)
    assert bench(*SWEEP).out.splitlines()[-1].startswith(SAID)


def test_a_run_at_chance_says_so_last(bench: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(order: Order, *told: object) -> Outcome:
        finish([order.cell], order.store, lambda cell: 1 / 62)
        return Outcome("done", "", [{"round": 1, "test_acc": 1 / 62}], "", "")

    monkeypatch.setattr(apart, "run_apart", ended)
    assert bench(*RUN, *SETTINGS).out.splitlines()[-1].startswith(SAID)


@pytest.mark.slow
def test_a_sweep_and_a_run_at_chance_say_so_last(bench: CommandLine) -> None:
    assert bench(*SWEEP).out.splitlines()[-1].startswith(SAID)
    assert bench(*SWEEP).out.splitlines()[-1].startswith(SAID)  # nothing to run, but no less true
    assert bench(*RUN, *SETTINGS).out.splitlines()[-1].startswith(SAID)
