"""The method sketch conforms, and its clients get the kernels that it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.conformance import check_method
from bench.plugins import registry
from bench.seeding import stream

PLUGIN = Path(__file__).resolve().parents[1] / "methods" / "sketch.py"


def test_conforms() -> None:
    assert check_method("sketch", [PLUGIN]).failures == []


def test_the_leading_kernels_are_always_there() -> None:
    kind: Any = registry.method("sketch", [PLUGIN]).kind
    method = kind(kind.Params(leading=0.5))
    draws = [method.choose(np.arange(10.0, 0.0, -1.0), 4, stream(0, "test", 1, client)) for client in range(20)]
    assert all(kept[:2].tolist() == [0, 1] and len(set(kept.tolist())) == 4 for kept in draws)
    assert set(np.concatenate(draws).tolist()) == set(range(10))
