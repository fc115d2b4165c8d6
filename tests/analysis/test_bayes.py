"""The Bayesian signed-rank test against baycomp, draw for draw."""

from __future__ import annotations

import math

import baycomp
import numpy as np
import pandas as pd
import pytest
from many_cells import grid, joined, series

from bench.analysis.bayes import PRIOR, probabilities, signed_rank
from bench.errors import BenchError

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.mark.parametrize("number", [2, 3, 8, 15])
@pytest.mark.parametrize("rope", [0.0, 0.005, 0.05])
def test_it_is_baycomps_test_draw_for_draw(number: int, rope: float) -> None:
    rng = np.random.default_rng(number)
    own, other = rng.normal(0.51, 0.02, number), rng.normal(0.5, 0.02, number)
    weights = np.random.RandomState(7).dirichlet([PRIOR, *[1.0] * number], 400)
    found = probabilities(own - other, rope, weights)
    expected = baycomp.two_on_multiple(other, own, rope, nsamples=400, random_state=7)
    worse, better = expected[0], expected[-1]
    assert found == pytest.approx((better, 1 - better - worse, worse))


def test_the_observations_are_the_settings_means_or_the_tasks() -> None:
    accs = np.random.default_rng(0).normal(0.5, 0.02, (6, 2, 3)) + np.array([0.02, 0.0])[None, :, None]
    cells = grid(accs, [0, 0, 0, 1, 1, 2])
    [row] = signed_rank(cells).to_dict("records")
    means = accs.mean(axis=2)
    expected = baycomp.two_on_multiple(means[:, 1], means[:, 0], 0.005, nsamples=3000, random_state=1)
    assert [row["worse"], row["equivalent"], row["better"]] == pytest.approx(list(expected), abs=0.04)
    assert row["difference"] == pytest.approx((means[:, 0] - means[:, 1]).mean())
    assert (row["observations"], row["settings"], row["tasks"]) == (6, 6, 3)
    [by_task] = signed_rank(cells, over="task").to_dict("records")
    of_task = [(means[first:last, 0] - means[first:last, 1]).mean() for first, last in ((0, 3), (3, 5), (5, 6))]
    assert by_task["difference"] == pytest.approx(np.mean(of_task)) and by_task["observations"] == 3


def test_clear_cases_are_clear() -> None:
    steps = np.linspace(-0.001, 0.001, 10)
    accs = np.stack([0.6 + steps, 0.5 - steps, 0.5 + 0 * steps], axis=1)[:, :, None]
    table = signed_rank(grid(accs)).set_index(["label", "other"])
    assert table.loc[("a", "b"), "better"] > 0.999 and table.loc[("b", "c"), "equivalent"] > 0.999
    assert table[["better", "equivalent", "worse"]].sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    against = signed_rank(grid(accs), reference="a").set_index("label")
    assert against.loc["b", "worse"] > 0.999 and len(against) == 2


def test_it_repeats_and_leaves_the_global_state_alone() -> None:
    cells = grid(np.random.default_rng(1).normal(0.5, 0.02, (5, 3, 2)))
    np.random.seed(3)
    state = np.random.get_state()[1].tolist()
    first = signed_rank(cells, draws=500)
    np.random.seed(4)
    pd.testing.assert_frame_equal(signed_rank(cells, draws=500), first)
    np.random.seed(3)
    assert np.random.get_state()[1].tolist() == state


def test_one_setting_says_nothing_and_nothing_else_breaks() -> None:
    for cells in (
        joined(series("a", [0.5]), series("b", [0.4])),
        joined(series("a", [None]), series("b", [0.4])).drop(columns="classes"),
        joined(series("a", [0.5])),
    ):
        table = signed_rank(cells)
        assert table[["better", "equivalent", "worse"]].isna().all(axis=None)
    level = signed_rank(grid(np.full((4, 2, 2), 0.5)))
    assert level["equivalent"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"rope": -0.1}, "rope = -0.1"), ({"rope": math.nan}, "rope = nan"), ({"over": "tasks"}, "did you mean 'task'")],
)
def test_what_is_not_possible_is_one_sentence(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        signed_rank(joined(series("a", [0.5]), series("b", [0.5])), **wrong)
