"""CIFAR-100 in any of its published forms, with the fine classes as labels and the coarse ones as their hierarchy.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.data import cifar
from bench.data.cifar100_classes import COARSE, OBJECTS
from bench.data.cifar_set import CifarSet
from bench.data.imported import Imported

PUBLISHED = CifarSet(
    title="CIFAR-100",
    stem="cifar-100",
    objects=OBJECTS,
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    # The checksums are the ones that torchvision lists.
    batches={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    labels=b"fine_labels",
    coarse_labels=b"coarse_labels",
    names=("meta", b"fine_label_names"),
    records=("train.bin", "test.bin"),
    record_names="fine_label_names.txt",
    label_bytes=2,
    column="fine_label",
    # As in Apache MXNet's gluon.data.vision.CIFAR100; they hold the coarse labels too.
    records_sha1=("e207cd2e05b73b1393c74c7f5e7bea451d63e08e", "8fb6623e830365ff53cf14adec797474f5478006"),
    train_copies=14,
    test_copies=2,
    coarse=COARSE,
)


def read(path: Path, progress: Callable[[str], None] | None = None, published: bool = True) -> Imported:
    """Decode CIFAR-100 into uint8 ``[n, 3, 32, 32]`` in the official order, see :func:`bench.data.cifar.read`."""
    return cifar.read(PUBLISHED, path, progress, published)
