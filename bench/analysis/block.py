"""Accuracies by setting, seed and label, and the part of them in which nothing is missing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.analysis.outcomes import CHANCE, valued
from bench.analysis.settings import with_settings

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
DECIMALS = 12
"""Accuracies that differ by less than this many decimals are equal: rounding leaves no more."""


@dataclass(frozen=True)
class Block:
    """Accuracies of labels in settings.

    Attributes:
        labels, settings: in the order of the axes.
        places: the place of each setting, which settings of one task, data and partition share.
        tasks: the task of each setting.
        whole: whether each label is of a full model.
        values: fractions, of the shape settings x seeds x labels; missing where there is no run. Seeds are those that
            any label has in the setting, so that one position of the middle axis is one seed for all labels.
    """

    labels: tuple[str, ...]
    settings: tuple[str, ...]
    places: tuple[str, ...]
    tasks: tuple[str, ...]
    whole: tuple[bool, ...]
    values: Array

    @property
    def present(self) -> Flags:
        """Whether each label has a run with an accuracy in each setting."""
        return np.asarray(~np.isnan(self.values).all(axis=1))

    @property
    def means(self) -> Array:
        """The mean over its seeds of each label in each setting."""
        there = ~np.isnan(self.values)
        return _divided(np.where(there, self.values, 0.0).sum(axis=1), there.sum(axis=1))

    @property
    def comparable(self) -> Flags:
        """Whether two labels count in a setting, settings x labels x labels: two full models once in each place."""
        first = np.array([place not in self.places[:number] for number, place in enumerate(self.places)], dtype=bool)
        whole = np.array(self.whole, dtype=bool)
        both = whole[:, None] & whole[None, :]
        return ~both[None] | first[:, None, None] if len(self.settings) else np.zeros((0, *both.shape), dtype=bool)

    @property
    def task_numbers(self) -> npt.NDArray[np.int64]:
        """The number of each setting's task."""
        return np.unique(np.array(self.tasks, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)


def block_of(cells: pd.DataFrame, diverged: str = CHANCE) -> Block:
    """Return the accuracies of cells by setting, seed and label, the labels in the order of the alphabet.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells.
        diverged: what a diverged run counts as (:func:`bench.analysis.outcomes.valued`).
    """
    rows = valued(with_settings(cells), diverged)
    whole = rows.groupby("label")["whole"].all()
    labels = whole.index
    rows = rows[rows["final_acc"].notna()]
    about = rows[["setting", "place", "task"]].drop_duplicates("setting")
    setting, settings = pd.factorize(rows["setting"])
    seed = rows.groupby("setting", sort=False)["seed"].rank(method="dense").to_numpy(dtype=int) - 1
    values = np.full((len(settings), int(seed.max(initial=-1)) + 1, len(labels)), np.nan)
    values[setting, seed, labels.get_indexer(pd.Index(rows["label"]))] = rows["final_acc"].to_numpy(dtype=float)
    return Block(
        tuple(labels),
        tuple(settings),
        tuple(about["place"]),
        tuple(about["task"]),
        tuple(bool(whole[label]) for label in labels),
        values,
    )


def complete(block: Block) -> Block:
    """Return the part in which every label has a run in every setting, and all have the same seeds.

    Ranks can be compared only there. The label or the setting that lacks the largest share goes first, a label where
    two lack as much, until nothing is missing; then the seeds that not all have, and settings left without any.
    """
    labels, settings = np.arange(len(block.labels)), np.arange(len(block.settings))
    while len(labels) and len(settings) and not (there := block.present[np.ix_(settings, labels)]).all():
        of_label, of_setting = 1 - there.mean(axis=0), 1 - there.mean(axis=1)
        if of_label.max() >= of_setting.max():
            labels = np.delete(labels, of_label.argmax())
        else:
            settings = np.delete(settings, of_setting.argmax())
    part = _selected(block, settings, labels)
    shared: Flags = np.asarray(~np.isnan(part.values).any(axis=2))
    values = np.where(shared[:, :, None], part.values, np.nan)
    return _selected(replace(part, values=values), np.flatnonzero(shared.any(axis=1)), np.arange(len(part.labels)))


def _selected(block: Block, settings: npt.NDArray[np.intp], labels: npt.NDArray[np.intp]) -> Block:
    return Block(
        tuple(block.labels[number] for number in labels),
        tuple(block.settings[number] for number in settings),
        tuple(block.places[number] for number in settings),
        tuple(block.tasks[number] for number in settings),
        tuple(block.whole[number] for number in labels),
        block.values[settings][:, :, labels],
    )


def _divided(total: npt.ArrayLike, number: npt.ArrayLike) -> Array:
    """Return quotients, missing where nothing was counted."""
    total, number = np.asarray(total, dtype=float), np.asarray(number, dtype=float)
    return np.where(number > 0, total / np.where(number > 0, number, 1.0), np.nan)


def differences(block: Block, weights: Array, setting: int) -> Array:
    """Return the weighted mean difference of each two labels over the seeds that both have in a setting.

    Args:
        block: the accuracies.
        weights: how often each seed counts, draws x seeds.
        setting: its number.

    Returns:
        Draws x labels x labels: the first label less the second, rounded to :data:`DECIMALS`; missing without a common
        seed.
    """
    values = block.values[setting]
    there = (~np.isnan(values)).astype(float)
    known = np.where(there > 0, values, 0.0)
    seeds, labels = values.shape
    shape = (len(weights), labels, labels)
    own = (weights @ (known[:, :, None] * there[:, None, :]).reshape(seeds, -1)).reshape(shape)
    pairs = (weights @ (there[:, :, None] * there[:, None, :]).reshape(seeds, -1)).reshape(shape)
    return np.round(_divided(own - own.transpose(0, 2, 1), pairs), DECIMALS)
