"""Cases of which the slow tests run all and the others a few: those that differ from each other most."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def thinned(cases: Iterable[Any], stays: Callable[[Any], bool]) -> list[Any]:
    """Return the cases as parameters of a test, marked as slow but for those that stay.

    Args:
        cases: values, or tuples of them where a test has several parameters.
        stays: tells of a case whether it is run always.
    """
    cases = list(cases)
    always = [stays(case) for case in cases]
    assert any(always), "some of the cases are run always"
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=[] if stay else [pytest.mark.slow])
        for case, stay in zip(cases, always, strict=True)
    ]


def every(count: int) -> Callable[[Any], bool]:
    """Return what keeps each so-many-th case, the first among them."""
    seen = -1

    def stays(case: Any) -> bool:
        nonlocal seen
        seen += 1
        return seen % count == 0

    return stays
