"""CIFAR-10 in any of its published forms: pickled or binary batches, parquet files, or folders of pictures.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.data import cifar
from bench.data.cifar10_classes import OBJECTS
from bench.data.cifar_set import CifarSet
from bench.data.imported import Imported

PUBLISHED = CifarSet(
    title="CIFAR-10",
    stem="cifar-10",
    objects=OBJECTS,
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    # The checksums are the ones that torchvision lists.
    batches={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    labels=b"labels",
    records=(*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
    record_names="batches.meta.txt",
    column="label",
    # As in Apache MXNet's gluon.data.vision.CIFAR10.
    records_sha1=(
        "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "67eb016db431130d61cd03c7ad570b013799c88c",
    ),
)


def read(path: Path, progress: Callable[[str], None] | None = None, published: bool = True) -> Imported:
    """Decode CIFAR-10 into uint8 ``[n, 3, 32, 32]`` in the official order, see :func:`bench.data.cifar.read`."""
    return cifar.read(PUBLISHED, path, progress, published)
