"""Tasks on images of the user's own: models of ours at their size, their mean and deviation, their stand-in data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import by_class
from torch import nn

from bench.cost.cost import cost_of
from bench.data import cache, sources
from bench.data.dataset import Dataset, Split
from bench.data.image_shape import Images
from bench.data.standin import load_like
from bench.data.statistics import statistics_of
from bench.errors import BenchError
from bench.models.base import Model, blank
from bench.models.cnn import CNN
from bench.tasks.base import Recipe
from bench.tasks.own_images import OwnImages


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Pets(OwnImages):
    name = "cnn-pets"
    dataset = "pets"
    images = Images(2, 3, 8, 6)
    tiers = {"quick": Recipe(standin_train=40, standin_test=10)}

    def model(self) -> Model:
        return CNN({"conv1": 4, "conv2": 6}, self.images.classes, 3, self.images.channels, self.images.size)


def task(kind: type[OwnImages] = Pets, **attributes: Any) -> OwnImages:
    changed: type[OwnImages] = type("Changed", (kind,), attributes)
    return changed(kind.tiers["quick"])


def initial(own: OwnImages) -> Model:
    with torch.device("meta"):
        model = own.model()
    blank(model)
    own.initialise(model, torch.Generator().manual_seed(0))
    return model


def test_images_are_normalised_by_the_mean_and_deviation_of_the_training_images(tmp_path: Path) -> None:
    sources.import_own("pets", by_class(tmp_path / "d"), "images")
    own = task()
    dataset = own.data("real")
    prepared = own.prepare(torch.from_numpy(np.array(dataset.train.inputs)))
    torch.testing.assert_close(prepared.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(prepared.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    assert (own.example(2, "cpu").shape, own.example(2, "cpu").dtype) == (prepared[:2].shape, prepared.dtype)


def test_data_that_came_without_mean_and_deviation_are_looked_at() -> None:
    inputs = np.arange(2 * 3 * 8 * 6, dtype=np.uint16).astype(np.uint8).reshape(2, 3, 8, 6)
    split = Split(inputs, np.array([0, 1]))
    cache.write("pets", split, split, title="Pets", classes=2)
    own = task()
    own.data("real")
    own.prepare(torch.from_numpy(inputs))
    assert own._statistics == statistics_of(inputs)


def test_asking_for_images_before_the_data_is_one_sentence() -> None:
    with pytest.raises(BenchError, match="asked to prepare images before it has seen its data"):
        task().prepare(torch.zeros(1, 3, 8, 6, dtype=torch.uint8))


def test_missing_data_names_the_command() -> None:
    with pytest.raises(
        BenchError, match=r"'pets' is unknown, .* 'python -m bench data import pets PATH --as images' or"
    ):
        task().data("real")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (Images(3, 3, 8, 6), r"images = Images\(2, 3, 8, 6\) expected, not Images\(3, 3, 8, 6\)"),
        (Images(2, 3, 6, 8), r"images = Images\(2, 3, 8, 6\) expected, not Images\(2, 3, 6, 8\)"),
        (Images(2, 1, 8, 6), r"images = Images\(2, 3, 8, 6\) expected"),
        (Images(2, 3, 8, 6, users=3), r"'pets' has no natural users: users = 0 expected, not 3"),
    ],
)
def test_data_of_other_images_are_refused(images: Images, words: str, tmp_path: Path) -> None:
    sources.import_own("pets", by_class(tmp_path / "d"), "images")
    with pytest.raises(BenchError, match=words):
        task(images=images).data("real")


def test_data_of_no_images_are_refused() -> None:
    split = Split(np.zeros((3, 7), np.int16), np.array([0, 1, 1]))
    cache.write("pets", split, split, title="Words", classes=2)
    with pytest.raises(BenchError, match=r"'pets' holds no images, but int16 \[3, 7\]"):
        task().data("real")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((1, 3, 8, 6), "classes = 1 is not possible; allowed: a whole number from 2"),
        ((2, 2, 8, 6), r"channels = 2 is not possible; allowed: 1 \(grey\) or 3"),
        ((2, 3, 8, 0), "width = 0 is not possible"),
        ((2, 3, True, 6), "height = True is not possible"),
        ((2, 3, 8, 6, -1), "users = -1 is not possible"),
    ],
)
def test_impossible_images_are_refused(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        Images(*given)


@pytest.mark.parametrize("images", [Images(2, 3, 8, 6), Images(7, 1, 28, 28, users=5), Images(100, 3, 32, 20)])
def test_stand_in_data_have_the_shape_of_the_set_and_depend_on_the_seed_alone(images: Images, tmp_path: Path) -> None:
    dataset = load_like("pets", images, 300, 200)
    images.check(dataset)
    for split, samples in ((dataset.train, 300), (dataset.test, 200)):
        assert split.inputs.shape == (samples, images.channels, *images.size) and split.inputs.dtype == np.uint8
        assert set(split.labels) == set(range(images.classes)) and split.labels.dtype == np.int64
        assert (split.users is None) == (images.users == 0)
    assert (dataset.name, dataset.title, dataset.stand_in) == ("pets", "pets-like stand-in data", True)
    assert load_like("pets", images, 300, 200, seed=1).fingerprint != dataset.fingerprint
    seen = {image.tobytes() for image in dataset.train.inputs}
    assert not seen & {image.tobytes() for image in dataset.test.inputs}
    for path in (tmp_path / "cache" / "standin").glob("*/*"):
        path.unlink()
    assert load_like("pets", images, 300, 200).fingerprint == dataset.fingerprint
    with pytest.raises(BenchError, match=r"stand-in data 'pets': standin_train = \d is not possible; allowed"):
        load_like("pets", images, max(images.users - 1, 0), 5)


def test_stand_in_classes_show_in_waves_and_hardly_in_single_pixels() -> None:
    dataset = load_like("weave", Images(4, 1, 16, 16), 600, 300)
    power = [
        np.abs(np.fft.rfft2(split.inputs[:, 0] - split.inputs.mean((1, 2, 3))[:, None, None]))
        for split in (dataset.train, dataset.test)
    ]
    assert nearest_mean(dataset, *power) > 0.8
    pixels = [np.asarray(split.inputs[:, 0], float) for split in (dataset.train, dataset.test)]
    assert nearest_mean(dataset, *pixels) < 0.65


def nearest_mean(dataset: Dataset, train: np.ndarray, test: np.ndarray) -> float:
    """Return the share of test samples that are nearest to the mean of the training samples of their class."""
    means = np.stack([train[dataset.train.labels == label].mean(0) for label in range(dataset.classes)])
    distances = ((test[:, None] - means) ** 2).sum((2, 3))
    return float((distances.argmin(1) == dataset.test.labels).mean())


def test_a_task_without_stand_in_data_says_so() -> None:
    with pytest.raises(BenchError, match="the task 'cnn-pets' has no stand-in data; allowed: data = 'real'"):
        task(stand_in=False).data("stand-in")


def test_costs_are_those_of_the_task_s_images() -> None:
    own = task()
    weights = [(4, 3 * 25, 8 * 6), (6, 4 * 9, 4 * 3), (2, 6 * 2, 1)]
    assert cost_of(initial(own), own).macs == sum(outputs * inputs * places for outputs, inputs, places in weights)
    assert isinstance(initial(own).get_submodule("classifier"), nn.Linear)
