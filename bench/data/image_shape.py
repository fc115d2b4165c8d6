"""What images a task reads: said by the task, so that its model and its stand-in data need no data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bench.data.dataset import Dataset
from bench.errors import BenchError


@dataclass(frozen=True)
class Images:
    """The images of a data set.

    Attributes:
        classes: number of classes.
        channels: 1 for grey images, 3 for colours.
        height, width: in pixels.
        users: natural users of the training split, for partitions by users; 0 where it has none.
    """

    classes: int
    channels: int
    height: int
    width: int
    users: int = 0

    def __post_init__(self) -> None:
        least = {"classes": 2, "channels": 1, "height": 1, "width": 1, "users": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise BenchError(f"Images: {name} = {value!r} is not possible; allowed: a whole number from {low}")
        if self.channels not in (1, 3):
            raise BenchError(f"Images: channels = {self.channels} is not possible; allowed: 1 (grey) or 3 (colours)")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def check(self, dataset: Dataset) -> None:
        """Refuse a data set of other images; only a number of users that is said at all counts.

        Raises:
            BenchError: it holds no images, others than these, or no users where there should be some.
        """
        stored = dataset.train.inputs
        if stored.ndim != 4 or stored.dtype != np.uint8:
            raise BenchError(f"data set {dataset.name!r} holds no images, but {stored.dtype} {list(stored.shape)}")
        users = 0 if dataset.train.users is None else len(np.unique(dataset.train.users))
        channels, height, width = stored.shape[1:]
        found = Images(dataset.classes, channels, height, width, users)
        if replace(found, users=self.users) != self:
            raise BenchError(f"data set {dataset.name!r} is of other images: images = {found} expected, not {self}")
        if self.users and not users:
            raise BenchError(f"data set {dataset.name!r} has no natural users: users = 0 expected, not {self.users}")

    def __str__(self) -> str:
        users = f", users={self.users}" if self.users else ""
        return f"Images({self.classes}, {self.channels}, {self.height}, {self.width}{users})"
