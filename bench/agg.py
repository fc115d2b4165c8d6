"""Importing matplotlib so that figures are written whatever the variable MPLBACKEND says.

Every cell of a notebook hands on a MPLBACKEND of its own kernel's. Where that backend is not installed, matplotlib
itself cannot be imported; figures here are files, and need none but Agg.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import ModuleType

VARIABLE = "MPLBACKEND"


def use_agg() -> None:
    """Let this process, a command of ours, and those that it starts draw by Agg."""
    os.environ[VARIABLE] = "agg"


def load_matplotlib() -> ModuleType:
    """Return matplotlib; a user's own choice of a backend holds for what they show themselves, if it can."""
    named = os.environ.get(VARIABLE)
    if named is None or "matplotlib" in sys.modules:
        import matplotlib

        return matplotlib
    os.environ[VARIABLE] = "agg"
    try:
        import matplotlib
    finally:
        os.environ[VARIABLE] = named
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = named
    return matplotlib
