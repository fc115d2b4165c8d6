"""Simpson's traps: textbook cases, made of accuracies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from many_cells import grid, joined, series

from bench.analysis.reversals import reversals

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def test_more_runs_on_the_harder_task_turn_the_overall_order_round() -> None:
    # a is ahead on both tasks, but most of its seeds are on the hard one.
    cells = joined(
        series("a", [0.9], task="easy"), series("b", [0.8] * 5, task="easy"),
        series("a", [0.5] * 5, task="hard"), series("b", [0.4], task="hard"),
    )  # fmt: skip
    found = reversals(cells)
    by_task = found[found["by"] == "task"]
    assert by_task["group"].tolist() == ["easy", "hard"] and by_task["difference"].tolist() == pytest.approx([0.1, 0.1])
    assert by_task["overall"].tolist() == pytest.approx([(0.9 + 5 * 0.5) / 6 - (5 * 0.8 + 0.4) / 6] * 2)
    assert by_task["turned"].tolist() == by_task["groups"].tolist() == [2, 2]
    assert not by_task["shown"].any() and by_task["low"].isna().all()  # one common seed each


def test_ahead_here_and_behind_there_is_found_with_its_interval() -> None:
    steps = np.array([-0.01, 0.0, 0.01])
    cells = joined(
        series("a", 0.9 + steps), series("b", [0.6] * 3),
        series("a", 0.5 + steps, keep=0.4), series("b", [0.6] * 3, keep=0.4),
    )  # fmt: skip
    [row] = reversals(cells).to_dict("records")
    assert (row["by"], row["group"], row["turned"], row["groups"], row["shown"]) == ("keep", "0.4", 1, 2, True)
    assert [row["overall"], row["difference"]] == pytest.approx([0.1, -0.1])
    half = 4.302652730 * 0.01 / math.sqrt(3)
    assert [row["low"], row["high"]] == pytest.approx([-0.1 - half, -0.1 + half])


def test_the_same_order_everywhere_is_no_trap_nor_are_level_ones() -> None:
    steps = np.random.default_rng(0).normal(0, 0.001, (4, 3, 3)) + np.array([0.6, 0.5, 0.4])[None, :, None]
    assert reversals(grid(steps, [0, 0, 1, 1])).empty
    assert reversals(grid(np.full((4, 3, 3), 0.5), [0, 0, 1, 1])).empty


def test_nothing_to_compare_has_no_reversal() -> None:
    assert reversals(joined(series("a", [0.5]))).empty
    assert reversals(joined(series("a", [math.nan]), series("b", [math.nan])).assign(status="done")).empty


def test_a_full_model_counts_once_in_the_overall_mean() -> None:
    cells = joined(
        series("fedavg", [0.9], keep=1.0), series("fedavg", [0.2], keep=1.0, task="two"),
        series("prism", [0.85]), series("prism", [0.85], keep=0.4), series("prism", [0.1], task="two"),
    )  # fmt: skip
    # All of fedavg's differences are positive; its two runs average 0.55 and prism's three 0.6.
    found = reversals(cells)
    assert set(found["overall"].round(9)) == {-0.05} and (found["turned"] == found["groups"]).all()
