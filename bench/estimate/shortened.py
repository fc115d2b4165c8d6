"""Cells cut down to some seconds that still do all that the whole cell does in a round."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench.cell import Cell
from bench.plugins import registry
from bench.tasks.base import LAST_EVALUATIONS

STEPS = 8
"""Local steps of a client in a short run, at most."""
BATCHES = 3
"""Batches that a short run is evaluated on, at most."""
QUIET_ROUNDS = 2
"""Rounds without an evaluation; those behind them are evaluated. Nothing is read off the first, which warms up."""
ROUNDS = QUIET_ROUNDS + LAST_EVALUATIONS
TINY_LR = 1e-6
"""A learning rate at which nothing diverges that is to be timed."""
LEAST_COHORT, LARGEST_COHORT = 10, 40
"""Clients of a short run whose capacities differ: tenths are met exactly, and the least has a client."""


def shortened(cell: Cell, steps: int, plugins: Iterable[Path] = ()) -> Cell:
    """Return a cell that computes what this one computes in a round, but for few steps of few clients.

    Two cells of which this is the same take alike long: their seeds, their alphas, and what else changes no shape do
    not count.

    Args:
        cell: a checked configuration.
        steps: local steps that a client of it makes in a round.
        plugins: files of methods and tasks the user named.
    """
    task = registry.task(cell.task, plugins).build(cell)
    recipe = task.recipe
    cohort = min(recipe.cohort, _mixed_cohort(cell) if cell.capacities else 2)
    samples = min(steps, STEPS) * recipe.batch_size
    training = {
        **cell.training,
        "rounds": ROUNDS,
        "evaluate_every": ROUNDS,
        "clients": cohort,
        "cohort": cohort,
        "samples_per_client": samples,
        "users_per_client": None,
        "local_epochs": 1,
        "drop_last": False,
        "validation": 0.0,
        "lr": TINY_LR,
        "lr_end": 0.0,
        "standin_train": max(recipe.standin_train, cohort * samples),
        "standin_test": BATCHES * recipe.evaluation_batch,
    }
    data = "stand-in" if task.stand_in else cell.data
    return replace(cell, seed=0, partition="iid", alpha=None, data=data, training=training)


def _mixed_cohort(cell: Cell) -> int:
    """Return how many clients a short run has in which each capacity is at work."""
    least = min(share for _, share in cell.capacities)
    return min(LARGEST_COHORT, max(LEAST_COHORT, math.ceil(1 / least - 1e-9)))
