"""What an importer hands to the cache."""

from __future__ import annotations

from dataclasses import dataclass

from bench.data.dataset import Split, Statistics


@dataclass(frozen=True)
class Imported:
    """A decoded data set on its way into the cache.

    Attributes:
        train, test: the splits.
        title: what a figure calls the data.
        classes: number of classes of the task.
        source: the layout and place it was read from, for people.
        class_names, statistics, coarse: see :class:`bench.data.dataset.Dataset`.
    """

    train: Split
    test: Split
    title: str
    classes: int
    source: str
    class_names: tuple[str, ...] = ()
    statistics: Statistics | None = None
    coarse: tuple[int, ...] = ()
