"""Tasks on images of the user's own: what is left to her is a model, a recipe and the name of her data set."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.data.dataset import Dataset, Statistics
from bench.data.image_shape import Images
from bench.data.statistics import statistics_of
from bench.errors import BenchError
from bench.models.initialise import initialise
from bench.tasks.base import Recipe
from bench.tasks.images import ImageTask, normalise

__all__ = ["Images", "OwnImages"]


class OwnImages(ImageTask):
    """Base of tasks on a data set that ``data import NAME PATH --as images|npz`` brought, or on any other of images.

    Images are normalised by the mean and deviation of each channel over the training images. Stand-in data are
    generated images of the same size, channels and number of classes. Left to a task are ``name``, ``dataset``,
    ``images``, ``tiers`` and :meth:`model`.

    Class attributes:
        images: what the data set holds; an import says it in its last line.
    """

    images: ClassVar[Images]
    _statistics: Statistics | None = None

    def __init__(self, recipe: Recipe, params: Any = None) -> None:
        if not isinstance(getattr(self, "images", None), Images):
            raise BenchError(
                f"the task {self.name!r} does not say which images it reads; expected: what the import of its data set"
                " says in its last line, for example images = Images(10, 1, 28, 28)"
            )
        super().__init__(recipe, params)

    def data(self, source: str) -> Dataset:
        if source == "real":
            dataset = super().data(source)
        elif not self.stand_in:
            raise BenchError(f"the task {self.name!r} has no stand-in data; allowed: data = 'real'")
        else:
            from bench.data.standin import load_like

            dataset = load_like(self.dataset, self.images, self.recipe.standin_train, self.recipe.standin_test)
        self.images.check(dataset)
        self._statistics = dataset.statistics or statistics_of(dataset.train.inputs)
        return dataset

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        initialise(model, generator)

    def prepare(self, inputs: Tensor) -> Tensor:
        if self._statistics is None:
            raise BenchError(f"the task {self.name!r} is asked to prepare images before it has seen its data")
        return normalise(inputs, self._statistics.mean, self._statistics.deviation)

    def example(self, samples: int, device: str) -> Tensor:
        return torch.empty(samples, self.images.channels, *self.images.size, device=device)
