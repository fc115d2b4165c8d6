"""The picture of a cell's partition."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.cell import Cell
from bench.federation.federation import partition_of
from bench.federation.skew import skew_of
from bench.figures.files import save_figure
from bench.figures.partition import draw_partition
from bench.figures.style import use_style
from bench.plugins import registry
from bench.plugins.asked import asked


def draw(cell: Cell, folder: Path, plugins: Iterable[Path] = ()) -> tuple[str, list[Path]]:
    """Draw who holds what in a cell's federation and return its skew in words, and the files."""
    entry = registry.task(cell.task, plugins)
    with asked(entry):
        task = entry.build(cell)
        dataset = task.data(cell.data)
        partition = partition_of(cell, task, dataset)
    kind = cell.partition.replace(":", "x")  # not every file system allows colons
    spread, place = (
        of if partition.alpha is None else f"{of}, alpha {partition.alpha:g}" for of in (cell.partition, kind)
    )
    labels = np.asarray(dataset.train.labels)
    title = f"{dataset.title}, seed {cell.seed}"
    name = f"{cell.task}-{place.replace(', ', '-').replace(' ', '')}-seed{cell.seed}-{cell.tier}-{cell.data}"
    with use_style():
        figure = draw_partition(partition, labels, dataset.classes, title, task.padding)
        words = f"{title}, {spread}, {len(partition)} clients: {skew_of(partition, labels, task.padding)}"
        return words, list(save_figure(figure, folder, name))
