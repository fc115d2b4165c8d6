"""The two-convolution network for small images (for 28 x 28 characters PriSM's, Table 3, or the released code's)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.models.base import Axes, Axis, Exit, Model, still_there

Variant = Literal["paper", "released"]
KERNELS: dict[str, tuple[int, int, int]] = {"paper": (64, 64, 3), "released": (32, 64, 5)}
"""Channels of both convolutions and the second kernel size; the first kernel is 5 x 5 in both variants."""


class CNN(Model):
    """Convolution, ReLU, 2 x 2 max-pool, twice, then the classifier; "same" padding, biases, no normalisation.

    The paper's variant has 64 kernels of 5 x 5 and 64 of 3 x 3; the released code's has 32 of 5 x 5 and 64 of 5 x 5
    (246,590 parameters with 62 classes). The groups of channels are ``conv1`` and ``conv2``. Both ReLUs are one layer
    of the released code's model, and its factored form has the first alone: :meth:`lose_repeated_layers`.

    Args:
        channels: kernels of ``conv1`` and ``conv2``.
        classes: number of outputs.
        second_kernel: height and width of the second convolution's kernels.
        image_channels: 1 for grey images, 3 for colours.
        size: height and width of the images, at least 4 each.
    """

    factorable: tuple[str, ...] = ("conv2.weight",)
    outputs = ("classifier.weight", "classifier.bias")

    def __init__(
        self,
        channels: Mapping[str, int],
        classes: int = 62,
        second_kernel: int = 3,
        image_channels: int = 1,
        size: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__()
        self._channels, self.classes, self.second_kernel = dict(channels), classes, second_kernel
        self.image_channels, self.size = image_channels, size
        self.places = size[0] // 4 * (size[1] // 4)
        self.hidden_scale, self.last_relu = 1.0, True
        self.conv1 = nn.Conv2d(image_channels, channels["conv1"], 5, padding="same")
        self.conv2 = nn.Conv2d(channels["conv1"], channels["conv2"], second_kernel, padding="same")
        self.classifier = nn.Linear(channels["conv2"] * self.places, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self._second(self._first(images)).flatten(1))

    def _first(self, images: Tensor) -> Tensor:
        # The ReLU of the largest is the largest ReLU: after the pool it has a quarter of the work.
        return torch.relu_(self._scaled(functional.max_pool2d(self.conv1(images), 2)))

    def _second(self, hidden: Tensor) -> Tensor:
        hidden = self._scaled(functional.max_pool2d(self.conv2(hidden), 2))
        return torch.relu_(hidden) if self.last_relu else hidden

    def hidden_states(self, inputs: Tensor) -> Iterator[Tensor]:
        hidden = self._first(inputs)
        yield hidden
        if hasattr(self, "conv2"):
            yield self._second(hidden)

    def exits(self) -> tuple[Exit, ...]:
        """Behind each convolution; a classifier behind the first reads the mean of each channel over its map."""
        return Exit(Axis("conv1")), Exit(Axis("conv2", inner=self.places))

    def shorten(self, exits: int) -> None:
        if exits == 1:
            del self.conv2
        del self.classifier
        self.factorable = still_there(self, self.factorable)

    def scale_hidden(self, rate: float) -> None:
        self.hidden_scale = rate

    def lose_repeated_layers(self) -> bool:
        self.last_relu = False
        return True

    def _scaled(self, hidden: Tensor) -> Tensor:
        """Divide in training by the scale; a positive one may come after the pool as well as before it."""
        return hidden / self.hidden_scale if self.training and self.hidden_scale != 1 else hidden

    def channels(self) -> dict[str, int]:
        return dict(self._channels)

    def axes(self) -> dict[str, Axes]:
        return {
            "conv1.weight": (Axis("conv1"), None, None, None),
            "conv1.bias": (Axis("conv1"),),
            "conv2.weight": (Axis("conv2"), Axis("conv1"), None, None),
            "conv2.bias": (Axis("conv2"),),
            "classifier.weight": (None, Axis("conv2", inner=self.places)),
            "classifier.bias": (None,),
        }

    def parts(self) -> list[tuple[str, ...]]:
        return [("conv1.",), ("conv2.",), ("classifier.",)]

    def narrow(self, channels: Mapping[str, int]) -> Self:
        with torch.device("meta"):
            narrow = type(self)(channels, self.classes, self.second_kernel, self.image_channels, self.size)
        narrow.last_relu = self.last_relu
        return narrow
