"""The figure of an ablation: a row for each setting, beside the plain method."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from figure_tables import diverge, figures_of, lines, make_rounds, panels, words

from bench.figures import draw_all
from bench.figures.base import Skip
from bench.figures.style import METHODS

TASK = "cnn-femnist"


SETTINGS = ["prism", "prism (kappa=4)", "prism (clip_tau=10, multipliers=wallenius)", "prism (aggregate=product)"]


SKEWED = (("lda", 0.1),)


PANEL = "keep 0.2; LDA, $\\alpha$ = 0.1"


def ablation_tables(labels: list[str], seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, pd.DataFrame]:
    pairs = [("fedavg", "fedavg"), ("unbiased", "unbiased"), *(("prism", label) for label in labels)]
    return {"rounds": make_rounds((TASK,), pairs, keeps=(0.2, 0.4), partitions=SKEWED, seeds=seeds, rounds=6)}


def test_ablation_has_a_row_for_each_setting_the_plain_method_first() -> None:
    tables = ablation_tables(SETTINGS)
    [(suffix, figure)] = figures_of("ablation", tables).items()
    assert suffix == f"{TASK}-prism"
    panel = panels(figure)[PANEL]
    assert figure.axes[0].get_yticks().tolist() == [0, -1, -2, -3]
    shown = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    assert shown == ["prism", "aggregate=product", "clip_tau=10, multipliers=wallenius", "kappa=4"]

    rows = tables["rounds"].query("partition == 'lda' and keep == 0.2 and label == 'prism (kappa=4)'")
    by_cell = rows[rows["round"] > 0].groupby("cell", observed=True)["test_acc"]
    final, oracle = 100 * by_cell.apply(lambda acc: acc.tail(3).mean()).mean(), 100 * by_cell.max().mean()
    dots = [(line.get_fillstyle(), *line.get_xdata()) for line in panel.get_lines() if list(line.get_ydata()) == [-3]]
    assert dots == [("full", pytest.approx(final)), ("none", pytest.approx(oracle))]
    full = tables["rounds"].query("partition == 'lda' and label == 'fedavg' and round > 3")["test_acc"].mean()
    assert [100 * full] * 2 in [pytest.approx(x) for colour, x, _ in lines(panel) if colour == METHODS["fedavg"][0]]


def test_ablation_is_drawn_unasked_from_four_settings_on_and_from_two_by_name(tmp_path: Path) -> None:
    three = ablation_tables(SETTINGS[:3], seeds=(0,))
    with pytest.raises(Skip, match="no method has 4 labels"):
        figures_of("ablation", three)
    names = {path.name for path in draw_all(three, tmp_path, ["ablation"])}
    assert names == {f"ablation-{TASK}-prism.{kind}" for kind in ("png", "pdf", "csv", "md")}
    skipped: dict[str, str] = {}
    assert draw_all(ablation_tables(["prism"]), tmp_path, ["ablation"], on_skip=skipped.__setitem__) == []
    assert skipped == {"ablation": "no method has 2 labels at one keep ratio"}


def test_ablation_marks_diverged_runs_and_leaves_out_lone_settings() -> None:
    tables = ablation_tables(SETTINGS)
    lone = make_rounds(tasks=(TASK,), labels=[("prism", "prism (kappa=9)")], keeps=(0.9,), partitions=SKEWED, rounds=6)
    gone = [cell for cell in tables["rounds"]["cell"].unique() if "prism-0.2-lda" in cell]
    rounds = diverge(pd.concat([tables["rounds"], lone]), gone, last_round=4)
    figure = figures_of("ablation", {"rounds": rounds})[f"{TASK}-prism"]
    assert [panel.get_title() for panel in figure.axes[::2]] == [PANEL, PANEL.replace("0.2", "0.4")]
    crosses = [line for panel in figure.axes for line in panel.get_lines() if line.get_marker() == "x"]
    assert [list(cross.get_ydata()) for cross in crosses] == [[0]]
    assert "A cross at the left" in words(figure).replace("\n", " ")
