"""Reading archives member by member, without unpacking them on the disk."""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from bench.errors import BenchError, choices

ENDINGS = (".tar.gz", ".tgz", ".tar.xz", ".zip")
_DAMAGE = (EOFError, gzip.BadGzipFile, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


def is_archive(path: Path) -> bool:
    """Tell by its name whether ``path`` is an archive that :func:`read_members` reads."""
    return path.name.endswith(ENDINGS)


def read_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted files of a ``.tar.gz``, ``.tar.xz`` or ``.zip`` in their order there.

    Every member is looked at, wanted or not: an archive that could write outside its folder is not trusted at all.

    Raises:
        BenchError: a member's path is absolute or holds "..", a member is a link or a device, the archive is cut off
            or damaged, or it cannot be read.
    """
    if not is_archive(path):
        raise BenchError(f"archive {path}: unknown kind of file, {choices(path.suffix, ENDINGS)}")
    members = _zip_members if path.name.endswith(".zip") else _tar_members
    try:
        yield from members(path, wanted)
    except _DAMAGE as error:
        raise BenchError(f"archive {path} is cut off or damaged ({error}); get it again") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile's words for passwords and rare compressions
        raise BenchError(f"archive {path} cannot be read ({error})") from error
    except OSError as error:
        raise BenchError(f"archive {path} cannot be read ({error.strerror or error})") from error


def _tar_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    decompress = lzma.open if path.name.endswith(".xz") else gzip.open
    with decompress(path) as decompressed, tarfile.open(fileobj=decompressed, mode="r:") as archive:
        for member in archive:
            _refuse_escape(path, member.name)
            if not member.isfile() and not member.isdir():
                raise BenchError(f"archive {path}: member {member.name!r} is a link or a device, only files allowed")
            content = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
            if content is not None:
                yield member.name, content.read()
        # The tar ends before the compressed stream does; only reading on to that end checks the stream's checksum.
        while decompressed.read(1 << 20):
            pass


def _zip_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            _refuse_escape(path, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BenchError(
                    f"archive {path}: member {member.filename!r} is a link or a device, only files allowed"
                )
            if not member.is_dir() and wanted(member.filename):
                yield member.filename, archive.read(member)


def _refuse_escape(path: Path, name: str) -> None:
    # Backslashes and drive letters are separators and roots for some systems, and no published archive holds them.
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name.split("/")[0]:
        raise BenchError(f"archive {path}: member {name!r} would leave the archive's folder, nothing was read from it")
