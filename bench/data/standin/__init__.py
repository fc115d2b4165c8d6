"""Stand-in data: generated samples of the shapes of the real sets, for work without a network.

They let every part of a simulation run and learn; no number from them says anything about the real data, so every
title speaks of "stand-in data".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.data import cache
from bench.data.characters import LENGTH, VOCABULARY
from bench.data.cifar100_classes import COARSE
from bench.data.dataset import Dataset, Split
from bench.data.image_shape import Images
from bench.errors import BenchError, choices
from bench.numerics.limits import check_memory

# Part of every cache key: raise it with any change of a generator that changes a sample.
GENERATOR = 1


@dataclass(frozen=True)
class StandIn:
    """What is fixed for one stand-in.

    Attributes:
        title: what figures call the data.
        classes: number of classes.
        shape: what may be chosen besides the sizes, with the usual values.
        coarse: the coarse class of each class; empty where there are none.
    """

    title: str
    classes: int
    shape: Mapping[str, int]
    coarse: tuple[int, ...] = ()


STAND_INS = {
    "cifar10": StandIn("CIFAR-10-like stand-in data", 10, {}),
    "cifar100": StandIn("CIFAR-100-like stand-in data", 100, {}, COARSE),
    "femnist": StandIn("FEMNIST-like stand-in data", 62, {"writers": 300}),
    "imdb": StandIn("IMDB-like stand-in data", 2, {"length": 500}),
    "tinyimagenet": StandIn("Tiny-ImageNet-like stand-in data", 200, {}),
    "shakespeare-tff": StandIn("Shakespeare-like stand-in data", VOCABULARY, {"roles": 100}),
}
FAMILIES = {
    "cifar100": (Images(100, 3, 32, 32), COARSE),
    "tinyimagenet": (Images(200, 3, 64, 64), tuple(number // 5 for number in range(200))),
}
"""The images of those whose classes are weaves in hues, and the weave of each class."""

logger = logging.getLogger(__name__)


def load_standin(name: str, train: int, test: int, seed: int = 0, **shape: int) -> Dataset:
    """Return a stand-in data set; it is generated once, kept in the data cache and memory-mapped from there.

    A damaged copy in the cache is generated anew with a warning in the log. Where the cache cannot be written the
    arrays stay in memory.

    Args:
        name: "cifar10" (uint8 ``[n, 3, 32, 32]``, 10 classes), "cifar100" (100 classes of 20 kinds), "tinyimagenet"
            (uint8 ``[n, 3, 64, 64]``, 200 classes), "femnist" (uint8 ``[n, 1, 28, 28]``, 62 classes, users), "imdb"
            (int16 ``[n, length]``, 2 classes) or "shakespeare-tff" (int16 ``[n, 80]`` with labels ``[n, 80]``, 90
            classes, users).
        train, test: number of samples of each split.
        seed: another seed gives other samples of the same kind.
        shape: ``writers`` (default 300) for "femnist", ``length`` in tokens (default 500) for "imdb",
            ``roles`` (default 100) for "shakespeare-tff".

    Raises:
        BenchError: an unknown name or shape, a size below 1, more writers than training samples, or more samples than
            this machine has room for.
    """
    sizes = _complete_shape(name, train, test, shape)
    standin = STAND_INS[name]
    extra = "".join(f"-{key}{value}" for key, value in sizes.items())
    key = f"standin/{name}-{train}-{test}{extra}-seed{seed}-v{GENERATOR}"
    size = (train + test) * _sample_bytes(name, sizes)

    def generate() -> tuple[Split, Split]:
        _check_room(train, test, size)
        return _generate(name, train, test, seed, sizes)

    return _kept(key, name, standin, seed, generate)


def load_like(name: str, images: Images, train: int, test: int, seed: int = 0) -> Dataset:
    """Return generated images in the place of a data set of the user's own, kept as :func:`load_standin` keeps them.

    Args:
        name: the data set's name.
        images: its images.
        train, test: number of samples of each split.
        seed: another seed gives other samples of the same kind.

    Raises:
        BenchError: a size below 1, more users than training samples, or more samples than this machine has room for.
    """
    _check_sizes(name, train, test, images.users, "users")
    shape = "x".join(map(str, (images.classes, images.channels, *images.size, images.users)))
    key = f"standin/{name}-like-{shape}-{train}-{test}-seed{seed}-v{GENERATOR}"
    size = (train + test) * (images.channels * images.height * images.width + 8)
    standin = StandIn(f"{name}-like stand-in data", images.classes, {})

    def generate() -> tuple[Split, Split]:
        from bench.data.standin.textures import textures

        _check_room(train, test, size)
        return textures(images, train, seed, "train"), textures(images, test, seed, "test")

    return _kept(key, name, standin, seed, generate)


def _check_room(train: int, test: int, size: int) -> None:
    check_memory(f"stand-in data of {train} training and {test} test samples", 2 * size)  # while it is generated


def _kept(key: str, name: str, standin: StandIn, seed: int, generate: Callable[[], tuple[Split, Split]]) -> Dataset:
    """Return a stand-in from the data cache, generated where it is not there or damaged."""
    try:
        if cache.exists(key):
            return cache.read(key, verify=True)
    except BenchError as error:
        logger.warning("%s: generating it again (%s)", standin.title, error)
    splits = generate()
    try:
        return cache.write(
            key,
            *splits,
            title=standin.title,
            classes=standin.classes,
            stand_in=True,
            source=f"generated from seed {seed} by generator version {GENERATOR}",
            dataset_name=name,
            coarse=standin.coarse,
        )
    except BenchError as error:
        logger.warning("%s: kept in memory (%s)", standin.title, error)
        of = standin.title, *splits, standin.classes, True, cache.fingerprint(*splits)
        return Dataset(name, *of, coarse=standin.coarse)


def _sample_bytes(name: str, sizes: Mapping[str, int]) -> int:
    """Return the bytes of a sample and its label."""
    if name == "shakespeare-tff":
        return (2 + 8 + 8) * LENGTH  # and the chain
    pixels = {"cifar10": 3 * 32 * 32, "cifar100": 3 * 32 * 32, "tinyimagenet": 3 * 64 * 64, "femnist": 28 * 28}
    return pixels.get(name, 2 * sizes.get("length", 0)) + 8


def _complete_shape(name: str, train: int, test: int, shape: Mapping[str, int]) -> dict[str, int]:
    """Return the shape with the usual values filled in, and refuse what cannot be generated."""
    if name not in STAND_INS:
        raise BenchError(f"stand-in data: there is none for {name!r}; {choices(name, STAND_INS)}")
    usual = STAND_INS[name].shape
    for key in shape:
        if key not in usual:
            allowed = choices(key, usual) if usual else "none is allowed here"
            raise BenchError(f"stand-in data {name!r}: unknown shape parameter {key!r}; {allowed}")
    sizes = {**usual, **shape}
    for key, value in sizes.items():
        if value < 1:
            raise BenchError(f"stand-in data {name!r}: {key} = {value} is not possible; allowed: a whole number from 1")
    people = next((noun for noun in ("writers", "roles") if noun in sizes), "users")
    _check_sizes(name, train, test, sizes.get(people, 0), people)
    return sizes


def _check_sizes(name: str, train: int, test: int, people: int, noun: str) -> None:
    """Refuse splits that are too small, by the names that the settings of a task have for them."""
    for setting, value, least in (("standin_train", train, max(people, 1)), ("standin_test", test, 1)):
        if value < least:
            why = f", since each of its {people} {noun} has a sample" if least > 1 else ""
            allowed = f"allowed: a whole number from {least}{why}"
            raise BenchError(f"stand-in data {name!r}: {setting} = {value} is not possible; {allowed}")


def _generate(name: str, train: int, test: int, seed: int, sizes: Mapping[str, int]) -> tuple[Split, Split]:
    """Return both splits; the generators are imported here, as they need more than reading the cache does."""
    if name == "imdb":
        from bench.data.standin.reviews import reviews

        return reviews(train, test, seed, **sizes)
    if name == "femnist":
        from bench.data.standin.glyphs import glyphs

        return glyphs(train, seed, "train", **sizes), glyphs(test, seed, "test", **sizes)
    if name == "shakespeare-tff":
        from bench.data.standin.dialogue import dialogue

        return dialogue(train, seed, "train", **sizes), dialogue(test, seed, "test", **sizes)
    if name in FAMILIES:
        from bench.data.standin.textures import families

        of = FAMILIES[name]
        return families(*of, train, seed, "train"), families(*of, test, seed, "test")
    from bench.data.standin.images import images

    return images(train, seed, "train"), images(test, seed, "test")
