"""How long things take, in words, and how long cells will take at the very least, before any of them is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.cell import Cell
from bench.plugins import registry

STEP_SECONDS = {"cpu": 5e-4, "cuda": 1e-4}
"""What no local step is quicker than: that of the smallest CNN on a batch of eight takes a few times as long."""
WORTH_SAYING_SECONDS = 3600.0
YEAR_DAYS = 365.25


def in_words(seconds: float) -> str:
    """Return a time as "40 s", "12 min", "3 h 5 min", "4 days" or "2e+05 years"; up to 90 s in seconds."""
    minutes = round(seconds / 60)
    if minutes <= 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    days = seconds / 86_400
    return f"{days:.0f} days" if days < 2 * YEAR_DAYS else f"{days / YEAR_DAYS:.2g} years"


def least_seconds(cell: Cell, device: str, plugins: Iterable[Path] = ()) -> float:
    """Return what a cell takes at the very least, one client after the other: its local steps at ``STEP_SECONDS``."""
    return _least_seconds(cell, device, registry.task(cell.task, plugins))


def _least_seconds(cell: Cell, device: str, task: registry.TaskEntry) -> float:
    recipe = task.build(cell).recipe
    steps = recipe.rounds * recipe.cohort * recipe.local_steps(recipe.samples_per_client or 1)
    return steps * STEP_SECONDS["cpu" if device == "cpu" else "cuda"]


def long_waits(cells: Sequence[Cell], device: str, at_once: int, plugins: Iterable[Path] = ()) -> list[str]:
    """Return a line where cells will take hours at the least; none where they may be quick.

    Args:
        cells: what will be run.
        device: where models are trained.
        at_once: clients that are trained at once, at most.
        plugins: files of tasks the user named.
    """
    tasks = registry.tasks(plugins)
    each = [_least_seconds(cell, device, tasks[cell.task]) for cell in cells]
    whole = sum(each) / at_once
    if whole < WORTH_SAYING_SECONDS:
        return []
    what = "it" if len(cells) == 1 else f"these {len(cells)} cells"
    return [f"{what} will take {in_words(whole)} at the very least, if no local step took longer than the quickest do"]
