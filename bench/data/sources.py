"""The data sets of the benchmark: who publishes them, how they come here, and whether they are here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.data import cache, cifar10, cifar100, femnist, imdb, own, shakespeare, shakespeare_tff, tiny_imagenet
from bench.data.dataset import Dataset
from bench.data.download import download
from bench.data.imported import Imported
from bench.errors import BenchError, choices

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """A published data set.

    Attributes:
        name: how the commands call it.
        title: its published name.
        page: the publisher's page.
        citation: what the publisher asks to cite.
        licence: the terms in one sentence.
        read: decodes a file or folder of the published layouts.
        archive: address and MD5 of the published archive; None where there is no single file with a known checksum.
        by_hand: how to get the files where there is no archive, up to the import.
    """

    name: str
    title: str
    page: str
    citation: str
    licence: str
    read: Callable[[Path, Progress | None], Imported]
    archive: tuple[str, str] | None = None
    by_hand: str = ""


@dataclass(frozen=True)
class Availability:
    """One row of ``data list``.

    Attributes:
        name: the source's name.
        title: what results call the data that is here, or the published name.
        state: "ready", "not here" or "corrupt".
        samples: training and test samples together; None unless ready.
        size_mb: size of the decoded arrays in MB (10**6 bytes); None unless ready.
        origin: where the data that is here was read from, what is wrong with it, or the publisher's page.
    """

    name: str
    title: str
    state: str
    samples: int | None
    size_mb: float | None
    origin: str


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="cifar10",
            title="CIFAR-10",
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
            citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, Toronto 2009",
            licence="No explicit licence; the publisher asks for the citation.",
            read=cifar10.read,
            archive=(cifar10.PUBLISHED.url, cifar10.PUBLISHED.archive_md5),
        ),
        Source(
            name="cifar100",
            title="CIFAR-100",
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
            citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, Toronto 2009",
            licence="No explicit licence; the publisher asks for the citation.",
            read=cifar100.read,
            archive=(cifar100.PUBLISHED.url, cifar100.PUBLISHED.archive_md5),
        ),
        Source(
            name="femnist",
            title="FEMNIST",
            page=femnist.PAGE,
            citation="S. Caldas et al., LEAF: A Benchmark for Federated Settings, arXiv:1812.01097",
            licence="NIST Special Database 19 is a US government work; LEAF is under the BSD 2-clause licence.",
            read=femnist.read,
            by_hand=f"get the parquet files from {femnist.PAGE}",
        ),
        Source(
            name="imdb",
            title="IMDB",
            page="https://ai.stanford.edu/~amaas/data/sentiment/",
            citation="A. L. Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011",
            licence="Published for research with a request to cite; the texts come from IMDb users.",
            read=imdb.read,
            archive=(imdb.URL, imdb.ARCHIVE_MD5),
        ),
        Source(
            name="shakespeare",
            title="Shakespeare by role",
            page=shakespeare.PAGE,
            citation="J. Bosak, The Plays of Shakespeare, XML mark-up of the Moby text, 1992 to 1998",
            licence="The text is in the public domain; the XML mark-up may be freely copied and distributed.",
            read=shakespeare.read,
            by_hand=(
                f"turn the XML edition at {shakespeare.PAGE} into a parquet file with one speech a row in the columns"
                f" {', '.join(shakespeare.COLUMNS)}"
            ),
        ),
        Source(
            name="shakespeare-tff",
            title="Shakespeare (TFF)",
            page=shakespeare_tff.PAGE,
            citation="S. Caldas et al., LEAF: A Benchmark for Federated Settings, arXiv:1812.01097",
            licence="The text is in the public domain; LEAF is under the BSD 2-clause licence, TFF under Apache 2.0.",
            read=shakespeare_tff.read,
            by_hand=(
                "get TensorFlow Federated's shakespeare.tar.bz2 and write its HDF5 files as parquet by the lines of"
                " docs/tasks-and-data.md"
            ),
        ),
        Source(
            name="tinyimagenet",
            title="Tiny-ImageNet",
            page=tiny_imagenet.PAGE,
            citation="Y. Le and X. Yang, Tiny ImageNet Visual Recognition Challenge, Stanford CS231n, 2015",
            licence="No explicit licence; the pictures are ImageNet's, for research and teaching.",
            read=tiny_imagenet.read,
            archive=(tiny_imagenet.URL, tiny_imagenet.ARCHIVE_MD5),
        ),
    )
}


def find(name: str) -> Source:
    """Return the source called ``name``; a BenchError with the names there are if there is none."""
    if name not in SOURCES:
        known = choices(name, [*SOURCES, *own.names(SOURCES)])
        yours = f"; one of your own is brought by {how_to_get(name)}" if own.is_possible(name) else ""
        raise BenchError(f"data set {name!r} is unknown, {known}{yours}")
    return SOURCES[name]


def available() -> list[Availability]:
    """Return one row for each source, and for each data set of the user's own that is here.

    Sizes and shapes are checked, the bytes are not (see :func:`verify`).
    """
    published = [_availability(source.name, source.title, source.page) for source in SOURCES.values()]
    return published + [_availability(name, name, "") for name in own.names(SOURCES)]


def fetch(name: str, progress: Progress | None = None) -> Dataset:
    """Download a source from its publisher, decode it into the cache and return it.

    Raises:
        BenchError: the source has no single published file, or the download or the import fails.
    """
    if name not in SOURCES and is_here(name):
        raise BenchError(f"data set {name!r} is your own: it is brought by {how_to_get(name)}")
    source = find(name)
    if source.archive is None:
        raise BenchError(
            f"data set {name!r} has no single published file: {source.by_hand},"
            f" then run 'python -m bench data import {name} PATH'"
        )
    url, md5 = source.archive
    archive = download(url, cache.root() / "downloads" / url.split("/")[-1], md5=md5, progress=progress)
    dataset = _store(source, archive, f"downloaded from {url}", progress)
    archive.unlink()  # the decoded arrays are all that is read from now on
    return dataset


def import_path(name: str, path: Path, progress: Progress | None = None) -> Dataset:
    """Decode a file or folder of the user into the cache and return the data set.

    Raises:
        BenchError: the path does not exist or may not be read, or it is none of the source's layouts, incomplete or
            damaged.
    """
    if name not in SOURCES and is_here(name):
        raise BenchError(f"import of {name!r}: it is your own and needs --as; {how_to_get(name)}")
    source = find(name)
    return _store(source, _place(name, path), None, progress)


def import_own(
    name: str, path: Path, kind: str, progress: Progress | None = None, test_share: float | None = None
) -> Dataset:
    """Decode images of the user's own into the cache under a name of hers and return the data set.

    Args:
        name: any that no published data set has.
        path: a folder or archive of images by class, or a ``.npz``.
        kind: "images" or "npz".
        progress: called with lines for people.
        test_share: see :func:`bench.data.own.read`.

    Raises:
        BenchError: the name is taken, or the path cannot be read as what it is said to be.
    """
    own.check_name(name, SOURCES)
    data = own.read(name, _place(name, path), kind, _printing(progress), test_share)
    return _write(name, replace(data, title=name), data.source)


def load(name: str) -> Dataset:
    """Return a data set from the cache, memory-mapped.

    Raises:
        BenchError: it is not here (the sentence names the commands that bring it) or is damaged.
    """
    _must_be_here(name)
    manifest = cache.folder(name) / "manifest.json"
    return _hashed(name, manifest, manifest.stat().st_mtime_ns if manifest.is_file() else 0)


@functools.cache
def _hashed(name: str, manifest: Path, written_ns: int) -> Dataset:
    """Read a copy and hash its bytes, half a second and once in a process."""
    return cache.read(name, verify=True)


def verify(name: str) -> Dataset:
    """Return a data set from the cache after hashing all its bytes; a BenchError if it is not here or is damaged."""
    _must_be_here(name)
    return cache.read(name, verify=True)


def is_here(name: str) -> bool:
    """Tell whether a data set, published or the user's own, is in the cache; it may still be damaged."""
    return (name in SOURCES or own.is_possible(name)) and cache.exists(name)


def how_to_get(name: str) -> str:
    """Return the commands that bring a data set here, published or the user's own."""
    command = f"python -m bench data import {name} PATH"
    if name not in SOURCES:
        return " or ".join(f"'{command} --as {kind}'" for kind in own.KINDS)
    return f"'python -m bench data fetch {name}' or '{command}'" if SOURCES[name].archive else f"'{command}'"


def _must_be_here(name: str) -> None:
    if not is_here(name):
        find(name)
        raise BenchError(f"data set {name!r} is not here: run {how_to_get(name)}")


def _place(name: str, path: Path) -> Path:
    """Return where the user's file or folder is; a BenchError where there is none that can be read."""
    place = path.expanduser().absolute()
    try:
        place.stat()
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise BenchError(f"import of {name!r}: {place} {reason}") from error
    if not place.is_file() and not place.is_dir():
        raise BenchError(f"import of {name!r}: {place} is neither a file nor a folder")
    return place


def _store(source: Source, place: Path, origin: str | None, progress: Progress | None) -> Dataset:
    data = source.read(place, None if progress is None else _printing(progress))
    return _write(source.name, data, origin or data.source)


def _write(name: str, data: Imported, origin: str) -> Dataset:
    return cache.write(
        name,
        data.train,
        data.test,
        title=data.title,
        classes=data.classes,
        source=_printable(origin),
        class_names=data.class_names,
        statistics=data.statistics,
        coarse=data.coarse,
    )


def _printing(progress: Progress | None) -> Progress:
    return lambda line: None if progress is None else progress(_printable(line))


def _printable(line: str) -> str:
    """Return a line that any terminal takes: names of files may hold bytes that are no text."""
    return line.encode("utf-8", "backslashreplace").decode("utf-8")


def _availability(name: str, title: str, page: str) -> Availability:
    try:
        if not cache.exists(name):
            return Availability(name, title, "not here", None, None, page)
        dataset = cache.read(name)
        manifest = cache.describe(name)
    except BenchError as error:
        return Availability(name, title, "corrupt", None, None, str(error))
    size_mb = sum(facts["file_bytes"] for facts in manifest["arrays"].values()) / 1e6
    samples = len(dataset.train) + len(dataset.test)
    return Availability(name, dataset.title, "ready", samples, size_mb, manifest["source"])
