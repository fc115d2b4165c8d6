"""The hierarchical bootstrap: tasks are drawn, then settings within them, then seeds within those."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.analysis.block import Array, Block, differences
from bench.seeding import stream

DRAWS = 2_000


def wins(differences: Array) -> Array:
    """Return 1 where the first of two labels is ahead, 1/2 where they are level, 0 where it is behind."""
    won = np.where(differences > 0, 1.0, np.where(differences < 0, 0.0, 0.5))
    return np.where(np.isnan(differences), np.nan, won)


def observed(block: Block) -> Array:
    """Return who is ahead in each setting over all seeds, settings x labels x labels, missing where not compared."""
    seeds = np.ones((1, block.values.shape[1]))
    parts = [wins(differences(block, seeds, number))[0] for number in range(len(block.settings))]
    labels = len(block.labels)
    stacked = np.stack(parts) if parts else np.empty((0, labels, labels))
    return np.where(block.comparable, stacked, np.nan)


def bootstrap(block: Block, draws: int = DRAWS, seed: int = 0) -> Array:
    """Return how the settings that each label wins from each other one vary with tasks, settings and seeds.

    In a draw, as many tasks as there are are drawn with replacement; in each drawn task as many settings as it has, and
    in each drawn setting as many seeds as it has, the same ones for all labels, as runs of one seed belong together.
    Settings of one task are alike, so that drawing them as if they had nothing in common would make intervals too
    narrow.

    Args:
        block: the accuracies.
        draws: how many.
        seed: of the draws, which are the same for the same seed; no other stream of random numbers is touched.

    Returns:
        Draws x labels x labels: the share of the drawn settings in which the first label is ahead of the second, level
        ones counting half; missing where the draw has no setting that compares the two.
    """
    rng = stream(seed, "hierarchical bootstrap")
    labels = len(block.labels)
    won, counted = np.zeros((draws, labels, labels)), np.zeros((draws, labels, labels))
    times = _settings_drawn(rng, block.task_numbers, draws)
    comparable = block.comparable
    for setting in range(len(block.settings)):
        of_setting = ~np.isnan(block.values[setting]).all(axis=1)
        draw = np.repeat(np.arange(draws), times[:, setting])
        if not len(draw):
            continue
        weights = np.zeros((len(draw), len(of_setting)))
        number = int(of_setting.sum())
        weights[:, of_setting] = rng.multinomial(number, np.full(number, 1 / number), len(draw))
        ahead = wins(differences(block, weights, setting))
        there = ~np.isnan(ahead) & comparable[setting]
        rows, starts = np.unique(draw, return_index=True)
        won[rows] += np.add.reduceat(np.where(there, ahead, 0.0), starts)
        counted[rows] += np.add.reduceat(there.astype(float), starts)
    return np.where(counted > 0, won / np.where(counted > 0, counted, 1.0), np.nan)


def _settings_drawn(rng: np.random.Generator, tasks: npt.NDArray[np.int64], draws: int) -> npt.NDArray[np.int64]:
    """Return how often each setting is in each draw, draws x settings."""
    number = int(tasks.max(initial=-1)) + 1
    times = np.zeros((draws, len(tasks)), dtype=np.int64)
    if not number:
        return times
    of_task = rng.multinomial(number, np.full(number, 1 / number), draws)
    for task in range(number):
        settings = np.flatnonzero(tasks == task)
        times[:, settings] = rng.multinomial(
            of_task[:, task] * len(settings), np.full(len(settings), 1 / len(settings))
        )
    return times


def percentiles(draws: Array, level: float = 0.05) -> tuple[Array, Array]:
    """Return the ends of the percentile interval over the first axis; missing where no draw has a number."""
    some = ~np.isnan(draws).all(axis=0)
    if not some.any():
        return np.full(some.shape, np.nan), np.full(some.shape, np.nan)
    low, high = np.nanquantile(np.where(some, draws, 0.0), [level / 2, 1 - level / 2], axis=0)
    return np.where(some, low, np.nan), np.where(some, high, np.nan)
