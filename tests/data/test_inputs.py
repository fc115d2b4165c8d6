"""How images and tokens reach the models: crops, flips, normalisation, shortening."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import RESNET, small_task
from scipy import stats
from torchvision.transforms import functional as reference_transforms

from bench.tasks.images import crop_and_flip, normalise, standardise
from bench.tasks.lstm_imdb import shorten


@pytest.mark.parametrize("channels", [1, 3])
def test_crop_and_flip_equals_torchvisions_image_by_image(channels: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, channels, 9, 7), dtype=np.uint8))
    given = images.clone()
    augmented = crop_and_flip(images, np.random.default_rng(1), padding=2)
    rng = np.random.default_rng(1)
    (tops, lefts), mirrored = rng.integers(0, 5, (2, 60, 1)), rng.random(60) < 0.5
    for image, top, left, mirror, result in zip(images, tops, lefts, mirrored, augmented, strict=True):
        padded = reference_transforms.pad(image, [2])
        expected = reference_transforms.crop(padded, int(top[0]), int(left[0]), 9, 7)
        assert torch.equal(reference_transforms.hflip(expected) if mirror else expected, result)
    assert torch.equal(images, given)


def test_crop_and_flip_draws_every_shift_and_mirror_alike() -> None:
    image = torch.arange(1, 101, dtype=torch.uint8).reshape(1, 1, 10, 10)
    results = crop_and_flip(image.expand(8100, -1, -1, -1), np.random.default_rng(4), padding=1)
    _, counts = np.unique(results.flatten(1).numpy(), axis=0, return_counts=True)
    assert len(counts) == 3 * 3 * 2
    assert stats.chisquare(counts).pvalue > 1e-4


def test_without_padding_images_are_only_mirrored() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (200, 3, 5, 6), dtype=np.uint8))
    flipped = crop_and_flip(images, np.random.default_rng(1), padding=0)
    mirrored = [not torch.equal(before, after) for before, after in zip(images, flipped, strict=True)]
    for before, after, mirror in zip(images, flipped, mirrored, strict=True):
        assert torch.equal(after, reference_transforms.hflip(before) if mirror else before)
    assert stats.binomtest(sum(mirrored), 200).pvalue > 1e-4


def test_each_image_is_standardised_by_its_own_statistics() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 7), dtype=np.uint8)
    images[1] //= 16
    images[2] = 77
    images[3] = 77
    images[3, 0, 0, 0] = 79
    result = standardise(torch.from_numpy(images))
    for image, ours in zip(images, result, strict=True):
        pixels = image.astype(np.float64) / 255
        by_hand = (pixels - pixels.mean()) / max(pixels.std(), 1 / math.sqrt(pixels.size))
        np.testing.assert_allclose(ours.numpy(), by_hand, rtol=1e-4, atol=1e-5)
        single = standardise(torch.from_numpy(image)[None])[0]
        torch.testing.assert_close(ours, single, rtol=0, atol=1e-6)
    torchvisions = reference_transforms.normalize(
        torch.from_numpy(images[0]).double(), [images[0].mean()] * 3, [images[0].std()] * 3
    )
    torch.testing.assert_close(result[0].double(), torchvisions, rtol=1e-4, atol=1e-5)
    assert not result[2].any() and 0 < result[3].std() < 0.2
    assert result.dtype == torch.float32 and result.is_contiguous(memory_format=torch.channels_last)


def test_the_resnet_reads_images_as_its_papers_do() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32), dtype=np.uint8))
    prism, spectral = small_task(RESNET), small_task(RESNET, inputs="spectral")
    assert torch.equal(spectral.prepare(images), standardise(images))
    assert not torch.equal(prism.prepare(images), standardise(images))
    rng = np.random.default_rng(2)
    only_mirrored = spectral.augment(images, rng)
    both = torch.stack([images, images.flip(3)])
    assert (both == only_mirrored).flatten(2).all(2).any(0).all()
    assert not (both == prism.augment(images, rng)).flatten(2).all(2).any(0).all()


def test_normalise_equals_torchvisions() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8))
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = reference_transforms.normalize(images.float() / 255, list(mean), list(deviation))
    torch.testing.assert_close(normalise(images, mean, deviation), expected)
    assert images.dtype == torch.uint8


@pytest.mark.parametrize("length", [1, 3, 5, 8])
def test_a_shortened_review_keeps_its_first_tokens_with_padding_on_the_left(length: int) -> None:
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 100, size).tolist() for size in (0, 1, 2, 3, 5, 7, 8)]
    stored = np.array([[0] * (8 - len(text)) + text for text in texts], dtype=np.int16)
    expected = [[0] * (length - len(text[:length])) + text[:length] for text in texts]
    assert shorten(stored, length).tolist() == expected
