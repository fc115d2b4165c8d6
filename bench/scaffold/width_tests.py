"""The method sketch conforms, and its clients get the channels that it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Cohort
from bench.conformance import check_method
from bench.plugins import registry
from bench.seeding import stream

PLUGIN = Path(__file__).resolve().parents[1] / "methods" / "sketch.py"


def test_conforms() -> None:
    assert check_method("sketch", [PLUGIN]).failures == []


def test_the_window_moves_by_its_step_and_starts_again() -> None:
    kind: Any = registry.method("sketch", [PLUGIN]).kind
    method = kind(kind.Params(step=3))
    rounds = [method.choose("group", 8, 2, Cohort(number, ()), stream(0, "test")) for number in range(3)]
    assert np.stack(rounds).tolist() == [[0, 1], [3, 4], [6, 7]]
    assert method.choose("group", 8, 3, Cohort(2, ()), stream(0, "test")).tolist() == [0, 6, 7]
