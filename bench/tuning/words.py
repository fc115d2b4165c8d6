"""Values and outcomes of trials as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.tuning.trial import Outcome


def in_words(values: Mapping[str, Any]) -> str:
    """Return values as a line.

    >>> in_words({"kappa": 2.5, "sigma": "frozen"})
    'kappa=2.5, sigma=frozen'
    """
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def ending(outcome: Outcome, steps: int) -> str:
    """Return how a trial ended as a line; ``steps`` are the rounds of one that is not pruned."""
    if outcome.state == "pruned":
        return f"after {outcome.pruned_at} of {steps} rounds"
    accuracy = "" if outcome.value is None else f"validation accuracy {outcome.value:.2%}"
    return ", ".join(filter(None, [accuracy, outcome.reason]))
