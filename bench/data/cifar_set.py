"""What CIFAR-10 and CIFAR-100 have in common, and what sets them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.data.labels import ClassNames


@dataclass(frozen=True)
class CifarSet:
    """One of the two sets, as its publisher gives it (https://www.cs.toronto.edu/~kriz/cifar.html).

    Attributes:
        title: its published name.
        stem: its name in the names of archives, "cifar-10".
        objects: its classes.
        url, archive_md5: of the archive of the python version.
        batches: MD5 of the pickled files by name, those of the training split in the official order, then the test one.
        labels: the key of the labels in a pickled file.
        coarse_labels: the key of the coarse labels; None where there are none.
        names: file of the python version with the classes' names, and their key in it; None where it is not needed.
        records: names of the binary version's files, in the same order.
        record_names: file of the binary version with the classes' names.
        label_bytes: bytes in front of a record's pixels, the last of which is the label, the first the coarse label.
        column: column of the labels in parquet files.
        records_sha1: of the binary version's files, in the same order.
        train_samples, test_samples: how many there are.
        train_copies, test_copies: how many of them are another one's copy.
        coarse: the coarse class of each class; empty where there are none.
    """

    title: str
    stem: str
    objects: ClassNames
    url: str
    archive_md5: str
    batches: Mapping[str, str]
    labels: bytes
    records: tuple[str, ...]
    record_names: str
    column: str
    records_sha1: tuple[str, ...]
    coarse_labels: bytes | None = None
    names: tuple[str, bytes] | None = None
    label_bytes: int = 1
    train_samples: int = 50_000
    test_samples: int = 10_000
    train_copies: int = 0
    test_copies: int = 0
    coarse: tuple[int, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.objects.names)

    @property
    def per_file(self) -> tuple[int, ...]:
        """Number of samples of each of the pickled or binary files, in the official order."""
        parts = len(self.batches) - 1
        return (self.train_samples // parts,) * parts + (self.test_samples,)
