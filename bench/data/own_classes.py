"""The classes of a user's own data set: numbered in the order of their labels, whatever lies where on a disk."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable

import numpy as np

from bench.errors import BenchError, nearest

_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")
_MOST_NAMED = 20


def ordered(labels: Iterable[str], place: str) -> tuple[str, ...]:
    """Return distinct labels in the order in which they are numbered.

    Labels that are all whole numbers are ordered as numbers, so that "10" comes behind "9"; others by their letters
    (Unicode code points, capitals first).

    Raises:
        BenchError: two labels are one number.
    """
    names = sorted(set(labels))
    if not all(_WHOLE.fullmatch(name) for name in names):
        return tuple(names)
    names.sort(key=int)
    for one, other in itertools.pairwise(names):
        if int(one) == int(other):
            raise BenchError(f"{place}: the labels {one!r} and {other!r} are one number, one name for each expected")
    return tuple(names)


def numbered(
    train: np.ndarray, test: np.ndarray, place: str, report: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the class numbers of both splits, int64 ``[samples]``, and the classes' names in their order.

    Args:
        train, test: labels, strings ``[samples]``.
        place: where they come from, for errors.
        report: called with a line for each thing that the user should know.

    Raises:
        BenchError: there is one class, the test split has one without a training sample, or see :func:`ordered`.
    """
    names = ordered(train.tolist(), place)
    if len(names) < 2:
        raise BenchError(f"{place}: one class alone, {names[0]!r}; two at least expected")
    number_of = {name: number for number, name in enumerate(names)}
    for name in sorted(set(test.tolist())):
        if name not in number_of:
            raise BenchError(
                f"{place}: class {name!r} has test samples and no training sample, which nothing can learn"
                f"{nearest(name, names)}"
            )
    if untested := [name for name in names if name not in set(test.tolist())]:
        report(f"without a test sample: {few(untested)}")
    report(f"{len(names)} classes, numbered from 0: {few(names)}")
    numbers = [np.array([number_of[name] for name in labels.tolist()], dtype=np.int64) for labels in (train, test)]
    return numbers[0], numbers[1], names


def few(names: Iterable[str]) -> str:
    """Return names for a line: all of them where they are few, else the first and how many more."""
    shown = list(names)
    more = f" and {len(shown) - _MOST_NAMED:,} more" if len(shown) > _MOST_NAMED else ""
    return ", ".join(shown[:_MOST_NAMED]) + more
