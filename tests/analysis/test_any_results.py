"""Whatever the results are, no statistic divides by zero, and none says more than it can."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from many_cells import joined, series

from bench.analysis.across import mean_ranks, win_rates
from bench.analysis.bayes import signed_rank
from bench.analysis.comparisons import comparisons
from bench.analysis.outcomes import RULES, outcomes
from bench.analysis.planning import seed_plan
from bench.analysis.reversals import reversals
from bench.analysis.settings import with_settings

ACCURACIES = some.sampled_from([None, math.nan, 0.0, 0.25, 0.25 + 1e-16, 0.5, 1.0])
SERIES = some.tuples(
    some.sampled_from("abc"),
    some.sampled_from(["one", "two"]),
    some.sampled_from([0.2, 1.0]),
)
RESULTS = some.dictionaries(
    SERIES, some.dictionaries(some.integers(0, 3), ACCURACIES, min_size=1, max_size=3), min_size=1, max_size=6
)


@pytest.fixture(autouse=True, scope="module")
def _no_collection() -> Iterator[None]:
    """Do without the garbage collection in each call of multipletests: it is most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *generation: 0)
        yield


def table(results: dict[tuple[str, str, float], dict[int, float | None]]) -> pd.DataFrame:
    return joined(*(series(label, accs, task=task, keep=keep) for (label, task, keep), accs in results.items()))


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=6, deadline=None, derandomize=True)
@given(RESULTS, some.sampled_from(RULES))
def test_no_table_breaks_a_statistic(results: dict[tuple[str, str, float], dict[int, float | None]], rule: str) -> None:
    cells = with_settings(table(results))
    rows = comparisons(cells, diverged=rule)
    assert set(rows["verdict"]) <= {"better", "worse", "not told apart", "cannot be said"}
    unsaid = rows["verdict"] == "cannot be said"
    assert (unsaid == rows["p_holm"].isna()).all() and (
        rows.loc[rows["pairs"] < 2, "verdict"] == "cannot be said"
    ).all()
    assert not (rows["p_holm"] < rows["p_t"] - 1e-12).any() and not (rows["p"] < rows["p_least"] - 1e-12).any()
    counted = outcomes(cells, rule)
    parts = ["done", "diverged", "skipped", "failed", "missing"]
    assert (counted[parts].sum(axis=1) == counted["expected"]).all() and set(counted["label"]) == set(cells["label"])
    ranks, rates = mean_ranks(cells, 10, rule), win_rates(cells, 10, rule)
    assert set(ranks["label"]) == set(cells["label"])
    there = ranks[ranks["compared"]]
    assert there["rank"].sum() == pytest.approx(len(there) * (len(there) + 1) / 2)
    assert ((rates["low"] <= rates["high"]) & rates["rate"].between(0, 1)).all()
    assert (rates["wins"] + rates["ties"] + rates["losses"] == rates["settings"]).all()
    chances = signed_rank(cells, draws=20, diverged=rule)[["better", "equivalent", "worse"]].dropna().sum(axis=1)
    assert chances.tolist() == pytest.approx([1.0] * len(chances))
    turned = reversals(cells, rule)
    assert (turned["difference"] * turned["overall"] < 0).all()
    planned = seed_plan(rows, 0.01)
    assert (planned["needed"].isna() | (planned["needed_in_family"] >= planned["needed"])).all()
