"""How many samples the trials of a study are judged on, and what is said where they are few."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.federation.federation import partition_of
from bench.federation.holdout import hold_out
from bench.plugins import registry
from bench.tuning.study_file import Study

FEW = 100  # samples: one of so many is a percentage point


def held_out(study: Study, plugins: Iterable[Path] = ()) -> dict[str, int]:
    """Return how many samples the clients of each task hold out together, by task; the fewest over searches and seeds.

    Raises:
        BenchError: data is not here, or a partition is impossible.
    """
    fewest: dict[str, int] = {}
    plugins, known = tuple(plugins), set[object]()
    for search in study.searches:
        for seed in study.seeds:
            cell = search.cell(search.paper, seed, study.budget.validation, plugins)
            task = registry.task(cell.task, plugins).build(cell)
            recipe = task.recipe
            numbers = (recipe.clients, recipe.samples_per_client, recipe.users_per_client, recipe.standin_train)
            asked = (cell.task, cell.data, cell.tier, repr(cell.model), cell.partition, cell.alpha, seed, numbers)
            if asked not in known:
                known.add(asked)
                _, chosen = hold_out(partition_of(cell, task, task.data(cell.data)), recipe.validation, seed)
                fewest[cell.task] = min(len(chosen), fewest.get(cell.task, len(chosen)))
    return fewest


def in_words(samples: int, seeds: int = 1) -> str:
    """Return what so few held-out samples mean for the accuracy of a trial of ``seeds`` seeds; empty where many.

    >>> in_words(21)
    'the held-out set has 21 samples: one of them is 4.8 points, and chance alone moves 50 % by some 10.9 points'
    """
    if samples > FEW:
        return ""
    each = "" if seeds == 1 else f" ({100 / samples / seeds:.1f} in the mean of {seeds} seeds)"
    error = 50 / math.sqrt(samples * seeds)
    noun = "sample" if samples == 1 else "samples"
    return (
        f"the held-out set has {samples} {noun}: one of them is {100 / samples:.1f} points{each}, and chance alone "
        f"moves 50 % by some {error:.1f} points"
    )


def few_lines(samples: Mapping[str, int], seeds: int) -> list[str]:
    """Return a line for each task of which so few samples are held out that trials differ by steps of points."""
    return [f"{task}: {words}" for task, number in samples.items() if (words := in_words(number, seeds))]
