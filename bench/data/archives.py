"""Reading archives member by member, without unpacking them on the disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from bench.errors import BenchError, choices

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip")
# What unpacks to more than both is a bomb: published archives of pictures and texts stay under 20 times their size.
MOST_TIMES, MOST_BYTES = 200, 1 << 30
_CHUNK = 1 << 20
_SIGNS = {b"\x1f\x8b": "gz", b"\xfd7zXZ\x00": "xz", b"BZh": "bz2", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}


def is_archive(path: Path) -> bool:
    """Tell by its first bytes, else by its name, whether ``path`` is an archive that :func:`read_members` reads."""
    try:
        return path.is_file() and _kind(path) is not None
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror or error})") from error


def read_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted files of a tar (plain, gz, xz, bz2) or zip in their order there.

    Every member is looked at, wanted or not: an archive that could write outside its folder is not trusted at all.
    The kind is that of the first bytes: browsers rename what they save, and unpack a gz on the way.

    Raises:
        BenchError: a member's path is absolute or holds "..", a member is a link or a device, the archive is cut off
            or damaged, it claims or unpacks to more than it can hold, or it cannot be read.
    """
    for name, _, content in _members(path, wanted):
        if content is not None:
            yield name, content


def list_members(path: Path) -> dict[str, int]:
    """Return the size in bytes of every file of an archive by its name, in their order there.

    Raises:
        BenchError: as :func:`read_members`, or two members have one name.
    """
    sizes: dict[str, int] = {}
    for name, size, _ in _members(path, lambda name: False):
        if name in sizes:
            raise BenchError(f"archive {path}: two members are called {name!r}, nothing was read from it")
        sizes[name] = size
    return sizes


def _members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bytes | None]]:
    try:
        kind = _kind(path)
        if kind is None:
            raise BenchError(f"archive {path}: unknown kind of file, {choices(path.suffix, ENDINGS)}")
        yield from _zip_members(path, wanted) if kind == "zip" else _tar_members(path, kind, wanted)
    except BenchError:
        raise
    except (NotImplementedError, RuntimeError) as error:  # zipfile's words for rare compressions and passwords
        raise BenchError(f"archive {path} cannot be read ({error})") from error
    except OSError as error:
        if error.errno is None:  # such as gzip's and bz2's own
            raise _damaged(path, error) from error
        raise BenchError(f"archive {path} cannot be read ({error.strerror or error})") from error
    except Exception as error:  # the readers of damaged headers raise almost anything
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> BenchError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return BenchError(f"archive {path} is cut off or damaged ({reason}); get it again")


def _kind(path: Path) -> str | None:
    """Return "zip", or the compression of a tar ("tar" for none); None for no archive."""
    with path.open("rb") as file:
        start = file.read(512)
    for sign, kind in _SIGNS.items():
        if start.startswith(sign):
            return kind
    if start[257:262] == b"ustar":
        return "tar"
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
    return {None: None, ".tgz": "gz", ".txz": "xz", ".tbz2": "bz2"}.get(ending, (ending or "").rsplit(".", 1)[-1])


class _Counted(io.RawIOBase):
    """Counts what a decompressor gives, and stops where it is more than the archive can hold in earnest."""

    def __init__(self, source: IO[bytes], path: Path) -> None:
        self._source, self._path = source, path
        self.most = _most_bytes(path)
        self.given = 0  # bytes so far
        self.last = 0  # bytes up to the last that is not zero

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = min(size, _CHUNK) if size >= 0 else _CHUNK
        content = self._source.read(wanted)
        if filled := len(content.rstrip(b"\0")):
            self.last = self.given + filled
        self.given += len(content)
        if self.given > self.most:
            raise _bomb(self._path, self.most)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _most_bytes(path: Path) -> int:
    return max(MOST_BYTES, MOST_TIMES * path.stat().st_size)


def _bomb(path: Path, most: int) -> BenchError:
    return BenchError(
        f"archive {path} unpacks to more than {most:,} bytes, {MOST_TIMES} times its size, which no data set does;"
        " nothing was kept of it"
    )


def _unpacking(path: Path, kind: str) -> IO[bytes]:
    if kind == "gz":
        return cast(IO[bytes], gzip.open(path))
    if kind == "bz2":
        return bz2.open(path)
    return lzma.open(path) if kind == "xz" else path.open("rb")


def _tar_members(path: Path, kind: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bytes | None]]:
    with _unpacking(path, kind) as source:
        counted = _Counted(source, path)
        with _opened(path, kind, counted) as archive:
            for member in archive:
                _refuse_escape(path, member.name)
                if not member.isfile() and not member.isdir():
                    raise BenchError(
                        f"archive {path}: member {member.name!r} is a link or a device, only files allowed"
                    )
                # A header may claim any size; what does not come is missed before any room is made for it.
                if not 0 <= member.size <= counted.most:
                    raise BenchError(
                        f"archive {path}: the header of member {member.name!r} claims {member.size:,} bytes,"
                        " more than the archive can hold; get it again"
                    )
                if member.isfile():
                    content = _content(archive, member) if wanted(member.name) else None
                    yield member.name, member.size, content
        # The tar ends before the compressed stream does; only reading on to that end checks the stream's checksum.
        while counted.read():
            pass
        # tarfile takes a header that it cannot read for the end, and a missing end for one.
        if counted.last > archive.offset or counted.given < archive.offset + tarfile.BLOCKSIZE:
            raise _damaged(path, ValueError(f"no header and no end at byte {archive.offset:,}"))


def _opened(path: Path, kind: str, counted: _Counted) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=io.BufferedReader(counted, _CHUNK), mode="r|")
    except tarfile.ReadError as error:
        if kind == "tar" or not counted.given or path.name.lower().endswith(ENDINGS):
            raise
        raise BenchError(f"{path} is one compressed file ({kind}) and no archive, unpack it first") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    parts = []
    while part := file.read(_CHUNK):
        parts.append(part)
    return b"".join(parts)


def _zip_members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, int, bytes | None]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > _most_bytes(path):
            raise _bomb(path, _most_bytes(path))
        for member in members:
            _refuse_escape(path, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BenchError(
                    f"archive {path}: member {member.filename!r} is a link or a device, only files allowed"
                )
            if not member.is_dir():
                yield member.filename, member.file_size, archive.read(member) if wanted(member.filename) else None


def _refuse_escape(path: Path, name: str) -> None:
    # Backslashes and drive letters are separators and roots for some systems, and no published archive holds them.
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name.split("/")[0]:
        raise BenchError(f"archive {path}: member {name!r} would leave the archive's folder, nothing was read from it")
