"""What image tasks share: cross entropy, counting, and augmentation of whole arrays at once."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.data.transfer import to_device
from bench.tasks.base import Task


class ImageTask(Task):
    """A task that sorts images into classes by the largest of its outputs."""

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, labels)

    def correct(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return outputs.argmax(1) == labels


def crop_and_flip(images: Tensor, rng: np.random.Generator, padding: int = 4) -> Tensor:
    """Return each image shifted by a random crop of its zero-padded self and mirrored with probability one half.

    Equal to torchvision's ``RandomCrop(size, padding)`` and ``RandomHorizontalFlip`` image by image, done in one
    indexing operation.

    Args:
        images: uint8 ``[samples, channels, height, width]``.
        rng: the stream to draw from.
        padding: zero pixels added on each side before the crop; 0 mirrors only.
    """
    samples, _, height, width = images.shape
    draws = rng.integers(0, 2 * padding + 1, (2, samples, 1))
    mirrored = rng.random(samples) < 0.5
    columns = np.where(mirrored[:, None], np.arange(width)[::-1], np.arange(width)) + draws[1]
    rows = np.arange(height) + draws[0]
    place = to_device(rows * (width + 2 * padding), images.device)[:, :, None]
    index = (place + to_device(columns, images.device)[:, None, :]).flatten(1)
    padded = functional.pad(images, (padding,) * 4).flatten(2)
    return padded.gather(2, index[:, None, :].expand(-1, images.shape[1], -1)).reshape(images.shape)


def normalise(images: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Return uint8 images as float32 with pixel values in [0, 1] shifted by ``mean`` and divided by ``deviation``.

    The result is laid out channels last, which makes the convolutions of small models a third faster on CPUs.
    """
    shift, scale = _channels(mean, images.device), _channels(deviation, images.device)
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255).sub_(shift).div_(scale)


@functools.cache  # made once a device: each time, a GPU would be waited for
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)[:, None, None]


def standardise(images: Tensor) -> Tensor:
    """Return uint8 images as float32, each with mean 0 and deviation 1 over all its pixels and channels.

    ``(x - mean) / max(deviation, 1 / sqrt(n))`` with x in [0, 1] and n the numbers of an image, so that the noise of an
    image of one colour is not blown up (TensorFlow's ``per_image_standardization``). Laid out channels last, as in
    :func:`normalise`.
    """
    pixels = images.to(torch.float32, memory_format=torch.channels_last).div_(255)
    variance, mean = torch.var_mean(pixels, (1, 2, 3), correction=0, keepdim=True)
    return pixels.sub_(mean).div_(variance.sqrt_().clamp_(min=pixels[0].numel() ** -0.5))
