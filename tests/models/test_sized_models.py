"""Our models for images of any size, with one or three channels."""

from __future__ import annotations

import pytest
import torch

from bench.models.base import Model
from bench.models.cnn import CNN
from bench.models.factorise import narrowed
from bench.models.resnet import ResNet18, ResNet20

SIZED: list[Model] = [
    CNN({"conv1": 4, "conv2": 6}, 5, 3, 3, (8, 6)),
    CNN({"conv1": 4, "conv2": 6}, 5, 5, 1, (21, 30)),
    ResNet18(ResNet18.default_channels(4), 5, image_channels=1),
    ResNet20(ResNet20.default_channels(4), 5, image_channels=1),
]


@pytest.mark.parametrize("model", SIZED, ids=lambda model: type(model).__name__)
def test_our_models_take_classes_channels_and_sizes(model: Model) -> None:
    size = model.size if isinstance(model, CNN) else (19, 26)
    channels = next(model.parameters()).shape[1]
    samples = torch.rand(3, channels, *size)
    assert model(samples).shape == (3, 5)
    sizes, axes = model.channels(), model.axes()
    for name, tensor in model.named_parameters():
        for axis, length in zip(axes[name], tensor.shape, strict=True):
            assert axis is None or axis.outer * sizes[axis.group] * axis.inner == length
    kept = {group: torch.arange(0, count, 2) for group, count in sizes.items()}
    assert narrowed(model, kept)(samples).shape == (3, 5)
