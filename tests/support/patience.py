"""How long tests wait for what must happen; far longer than it takes, so that a busy machine fails none."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 600.0
"""A guard against waiting for ever, not a measure of speed."""


def wait_until(condition: Callable[[], object], goes_on: Callable[[], bool] = lambda: True) -> None:
    """Return once the condition holds; fail if it does not, or if what should bring it about has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert goes_on(), "what was waited for cannot happen any more"
        assert time.monotonic() < deadline, f"nothing happened in {PATIENCE_S:g} s"
        time.sleep(0.02)
