"""The global sources of randomness that a method must leave alone."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

States = dict[str, Any]


@contextlib.contextmanager
def global_states(seed: int) -> Iterator[States]:
    """Put the global sources of randomness into the states that belong to a seed, and back afterwards.

    Yields:
        the states, for :func:`disturbed`.
    """
    before = _states()
    chosen: States = {
        "random": random.Random(seed).getstate(),
        "numpy": np.random.RandomState(seed).get_state(),
        "torch": torch.Generator().manual_seed(seed).get_state(),
    }
    _set(chosen)
    try:
        yield _states()
    finally:
        _set(before)


def disturbed(before: States) -> tuple[str, ...]:
    """Return which of the sources have another state than before."""
    now = _states()
    return tuple(name for name, state in now.items() if _comparable(state) != _comparable(before[name]))


def _states() -> States:
    return {"random": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}


def _set(states: States) -> None:
    random.setstate(states["random"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])


def _comparable(state: Any) -> Any:
    """Return a state with its arrays as bytes: arrays compare entry by entry."""
    if isinstance(state, torch.Tensor):
        return state.numpy().tobytes()
    return tuple(part.tobytes() if isinstance(part, np.ndarray) else part for part in state)
