"""Repetitions in which all who are compared take turns, so that a change of the machine's speed meets them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

Who = TypeVar("Who")
What = TypeVar("What")


def take_turns(
    turns: Mapping[Who, Callable[[int], What]], repetitions: int, say: Callable[[str], None]
) -> dict[Who, list[What]]:
    """Return what each gave in each repetition.

    Each is called once before that, as round 1, which does not count: it starts workers, maps data and fills caches.

    Args:
        turns: is called with the number of a round.
        repetitions: from 1.
        say: told what is under way.
    """
    for who, turn in turns.items():
        say(f"{who} warms up")
        turn(1)
    given: dict[Who, list[What]] = {who: [] for who in turns}
    for repetition in range(repetitions):
        say(f"repetition {repetition + 1} of {repetitions}")
        for who, turn in turns.items():
            given[who].append(turn(repetition + 2))
    return given


def spread_of(seconds: list[float]) -> dict[str, float]:
    """Return the columns that tell of several timings: their median and range."""
    return {"seconds": float(np.median(seconds)), "seconds_min": min(seconds), "seconds_max": max(seconds)}
