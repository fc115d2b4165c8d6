"""The sign-flip test against SciPy's permutation test and p-values counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.analysis.sign_flip import least_p, sign_flip


@pytest.mark.parametrize("number", [2, 5, 9])
def test_it_is_scipys_exact_permutation_test(number: int) -> None:
    rng = np.random.default_rng(number)
    for values in (rng.normal(0.3, 1, number), np.round(rng.normal(0, 1, number), 1), np.repeat(0.01, number)):
        expected = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
        assert sign_flip(list(values)) == pytest.approx(expected)


def test_small_cases_are_as_counted_by_hand() -> None:
    assert sign_flip([0.1, 0.2, 0.3]) == 2 / 8
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0  # the mean is 0: every pattern is as far
    assert sign_flip([0.5, 0.2, -0.1]) == 4 / 8  # +++ and ++-, and their mirrors
    assert sign_flip([0.7]) == 1.0 and sign_flip([0.0, 0.0]) == 1.0 and math.isnan(sign_flip([]))


def test_equal_sums_in_another_order_are_ties() -> None:
    values = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, -0.1]
    tenths = [round(10 * value) for value in values]
    assert sign_flip(values) == sign_flip([float(number) for number in tenths])


def test_the_least_p_is_reached_where_all_have_one_sign() -> None:
    for number in range(1, 13):
        assert sign_flip([0.1 + step / 7 for step in range(number)]) == least_p(number) == min(1, 2 / 2**number)
    assert math.isnan(float(least_p(0)))


def test_many_differences_are_drawn_repeatably_and_close_to_the_t_test() -> None:
    values = list(np.random.default_rng(1).normal(0.35, 1, 40))
    state = np.random.get_state()[1].tolist()
    first = sign_flip(values)
    assert first == sign_flip(values) and np.random.get_state()[1].tolist() == state
    assert first == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    assert sign_flip([1.0] * 40) == least_p(40)
