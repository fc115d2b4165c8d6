"""The largest keep ratio whose sub-model fits a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bench.api import Method, Server, copy_of
from bench.budget.taken import Taken, full_model_of, taken_by, taken_by_full
from bench.budget.written import ALL, Budget
from bench.cost.cost import CostMeter
from bench.models.base import Model
from bench.tasks.base import Task

STEPS = 1000
"""Keep ratios that are tried are multiples of 1 / STEPS."""
LEAST = 1 / STEPS


class Scale:
    """A task at the size of a cell, of which sub-models are counted; what was counted is kept.

    Args:
        task: model, batch size and momentum are taken from it.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.meter = CostMeter(task)

    @cached_property
    def model(self) -> Model:
        return full_model_of(self.task)

    @cached_property
    def full(self) -> Taken:
        """What a client takes that trains the full model."""
        return taken_by_full(self.task, self.model, self.meter)


class Counted:
    """What a method's client takes by its keep ratio, each counted once.

    Args:
        make: returns the method, not set up.
        scale: the task it is counted on.
        levels: the keep ratios of the federation's clients; where there are none, those of each client alone.
    """

    def __init__(self, make: Callable[[], Method], scale: Scale, levels: tuple[float, ...] = ()) -> None:
        self._make, self._scale, self._levels = make, scale, levels
        self._known: dict[float, Taken] = {}
        self._set_up: tuple[Method, Server] | None = None

    @property
    def rises(self) -> bool:
        """Whether a larger keep ratio, below 1, never takes less."""
        return self._make().costs_rise

    def at(self, keep: float) -> Taken:
        """Return what a client of a keep ratio takes.

        Raises:
            Skip: the method is not defined for the task.
        """
        if keep not in self._known:
            self._known[keep] = taken_by(*self._ready(keep), self._scale.task, keep, self._scale.meter)
        return self._known[keep]

    def _ready(self, keep: float) -> tuple[Method, Server]:
        """Return the method and its first server, anew where what it sends depends on the federation's keep ratios."""
        if self._set_up is None or (self._set_up[0].follows_levels and not self._levels):
            method = self._make()
            method.levels = self._levels or ((keep,) if method.follows_levels else (1.0,))
            self._set_up = method, method.setup(copy_of(self._scale.model), self._scale.task)
        return self._set_up


@dataclass(frozen=True)
class Fit:
    """What was found for one level of a budget.

    Attributes:
        keep: the largest keep ratio that fits, a multiple of 1 / STEPS; None where none does.
        used: by quantity, what the client takes as a share of what it may; at the least keep ratio where none fits.
    """

    keep: float | None
    used: Mapping[str, float]


def fits(counted: Counted, scale: Scale, budget: Budget, level: int = 0) -> Fit:
    """Return the largest keep ratio of a method whose client stays within a budget.

    The keep ratio 1 is tried first: it may be the dense model, which takes less than two large factors. Below 1 costs
    never fall where the keep ratio rises (``bench check`` holds methods to it), and they jump where a method has few
    sizes: halving the interval finds the last keep ratio below the jump.

    Args:
        counted: what the method's clients take.
        scale: the task, for what the full model takes.
        budget: the limits, all of which hold.
        level: which of the budget's levels, from the one that allows least.

    Raises:
        Skip: the method is not defined for the task.
    """
    allowed = {limit.quantity: limit.allowed(level, scale.full.of(limit.quantity)) for limit in budget.limits}

    def used(step: int) -> dict[str, float]:
        taken = counted.at(step / STEPS)
        return {quantity: taken.of(quantity) / most for quantity, most in allowed.items()}

    def within(step: int) -> bool:
        return max(used(step).values()) <= ALL

    if within(STEPS):
        return Fit(1.0, used(STEPS))
    if counted.rises and not within(1):
        return Fit(None, used(1))
    if not counted.rises:
        best = next((step for step in range(STEPS - 1, 0, -1) if within(step)), None)
        return Fit(None, used(1)) if best is None else Fit(best / STEPS, used(best))
    low, high = 1, STEPS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return Fit(low / STEPS, used(low))
