"""Whether accuracies are above what guessing gives."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ERRORS = 3.0  # standard errors of an accuracy on the test set, within which it is not above guessing


@dataclass(frozen=True)
class Guess:
    """What guessing gives on a test set.

    Attributes:
        classes: of the data.
        commonest: share of the commonest class in the test set, which who always names it gets right.
        samples: of the test set.
    """

    classes: int
    commonest: float
    samples: int

    @property
    def accuracy(self) -> float:
        """The best accuracy of a model that has learnt nothing of its inputs, a fraction."""
        return max(1 / self.classes, self.commonest)

    @property
    def limit(self) -> float:
        """The accuracy up to which so many samples cannot tell a model from a guess."""
        return self.accuracy + ERRORS * math.sqrt(self.accuracy * (1 - self.accuracy) / self.samples)

    @property
    def words(self) -> str:
        """What guessing gives, in words."""
        even = f"guessing among {self.classes} classes gives {100 / self.classes:.2g} %"
        return even if self.commonest <= 1.05 / self.classes else f"{even}, the commonest class {self.commonest:.1%}"


def guess_of(facts: Mapping[str, Any]) -> Guess | None:
    """Return what guessing gives in a finished cell; None for one of an earlier version, which does not say."""
    if not facts.get("evaluated_samples"):
        return None
    return Guess(facts["classes"], facts["commonest_class"], facts["evaluated_samples"])


def final_accuracy(rounds: Iterable[Mapping[str, Any]], last: int = 3) -> float | None:
    """Return the mean accuracy of the last evaluations on the test set; None without one after round 0."""
    accuracies = [row["test_acc"] for row in rounds if row["round"] > 0 and row["test_acc"] is not None]
    return statistics.fmean(accuracies[-last:]) if accuracies else None


def at_chance(cells: Iterable[tuple[str, float, Mapping[str, Any]]]) -> list[str]:
    """Return a line for each task in which no cell has learnt anything that its test set could show.

    Args:
        cells: (task, final accuracy as a fraction, facts) of each cell that has such an accuracy.
    """
    return [_line(*place, found) for place, found in _at_chance(cells).items()]


def places_at_chance(cells: Iterable[tuple[str, float, Mapping[str, Any]]]) -> tuple[tuple[str, str], ...]:
    """Return the (task, title of the data) in which no cell has learnt anything, see :func:`at_chance`."""
    return tuple(_at_chance(cells))


def _at_chance(
    cells: Iterable[tuple[str, float, Mapping[str, Any]]],
) -> dict[tuple[str, str], list[tuple[float, Guess | None]]]:
    tasks: dict[tuple[str, str], list[tuple[float, Guess | None]]] = defaultdict(list)
    for task, accuracy, facts in cells:
        tasks[task, facts["data_title"]].append((accuracy, guess_of(facts)))
    return {place: found for place, found in tasks.items() if all(map(_is_guess, found))}


def _is_guess(cell: tuple[float, Guess | None]) -> bool:
    accuracy, guess = cell
    return guess is not None and accuracy <= guess.limit


def _line(task: str, title: str, found: list[tuple[float, Guess | None]]) -> str:
    best, guess = max(found, key=lambda cell: cell[0])
    assert guess is not None
    who = "the finished cell is" if len(found) == 1 else f"all {len(found)} finished cells are"
    note = f"{task} on {title}: {who} at chance: accuracy up to {best:.1%} on {guess.samples:,} samples, {guess.words}"
    return f"{note}; this ranks nothing"
