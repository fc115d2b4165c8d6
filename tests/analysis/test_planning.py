"""How many seeds a difference needs, from pooled spreads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from many_cells import grid, joined, series
from statsmodels.stats.power import TTestPower

from bench.analysis.comparisons import comparisons
from bench.analysis.planning import seed_plan
from bench.errors import BenchError

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def test_spreads_are_pooled_and_seeds_are_those_of_statsmodels() -> None:
    accs = np.random.default_rng(0).normal(0.5, 0.02, (3, 2, 6))
    accs[2, :, 4:] = np.nan  # the third setting has four seeds
    rows = comparisons(grid(accs, [0, 0, 1]))
    plan = seed_plan(rows, 0.02).set_index("task")
    differences = accs[:, 0] - accs[:, 1]
    variance = (5 * np.var(differences[0], ddof=1) + 5 * np.var(differences[1], ddof=1)) / 10
    first = plan.loc["task0"]
    assert first["std"] == pytest.approx(math.sqrt(variance)) and (first["freedom"], first["settings"]) == (10, 2)
    assert plan.loc["task1", "std"] == pytest.approx(np.std(differences[2, :4], ddof=1))
    assert plan["seeds"].tolist() == [6, 4]
    for row in plan.to_dict("records"):
        effect = 0.02 / row["std"]
        assert row["needed"] == math.ceil(TTestPower().solve_power(effect_size=effect, alpha=0.05, power=0.8))
        assert row["needed_in_family"] == math.ceil(
            TTestPower().solve_power(effect_size=effect, alpha=0.05 / 3, power=0.8)
        )
    assert first["detectable"] / first["std"] == pytest.approx(TTestPower().solve_power(nobs=6, alpha=0.05, power=0.8))


def test_where_there_is_no_spread_nothing_is_planned() -> None:
    one = seed_plan(comparisons(joined(series("a", [0.5]), series("b", [0.4]))), 0.01)
    same = seed_plan(comparisons(joined(series("a", [0.5, 0.6]), series("b", [0.5, 0.6]))), 0.01)
    for plan in (one, same):
        assert plan[["detectable", "needed", "needed_in_family"]].isna().all(axis=None) and len(plan) == 1
    assert seed_plan(comparisons(joined(series("a", [0.5]))), 0.01).empty


@pytest.mark.parametrize(("difference", "power"), [(0.0, 0.8), (math.nan, 0.8), (0.01, 0.05), (0.01, 1.0)])
def test_what_is_not_possible_is_one_sentence(difference: float, power: float) -> None:
    with pytest.raises(BenchError, match=r"(difference|power) = .* is not possible; allowed"):
        seed_plan(comparisons(joined(series("a", [0.5]), series("b", [0.4]))), difference, power)
