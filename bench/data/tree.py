"""What the user named, whatever holds it: a folder, an archive, or one file, as names with contents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from bench.data import archives
from bench.errors import BenchError

_MOST_NAMED = 6


class Tree:
    """The files that an importer may read; what lies beside them is never touched.

    Folders are followed through links, each real folder once, so that loops end. Hidden files, and what macOS and
    downloaders put beside the data (``__MACOSX``, ``.cache``), do not count.

    Attributes:
        path: what the user named.
        sizes: bytes of each file by its name relative to ``path``, with "/" between, in the order of the names.
        one_file: True where the user named a single file that is no archive; ``sizes`` then holds its name alone.

    Raises:
        BenchError: a folder cannot be read, or the archive is damaged or hostile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._packed = archives.is_archive(path)
        self.one_file = not self._packed and not path.is_dir()
        if self.one_file:
            self._folder, found = path.parent, {path.name: _size(path)}
        elif self._packed:
            found = archives.list_members(path)
        else:
            self._folder, found = path, dict(_walk(path))
        shown = {name: size for name, size in found.items() if self.one_file or not _is_hidden(name)}
        self.sizes: Mapping[str, int] = dict(sorted(shown.items()))

    def place(self, name: str) -> str:
        """Return where a file is, for a sentence."""
        place = f"{self.path}, {name}" if self._packed else str(self._folder / name)
        return place if place.isprintable() else repr(place)  # a name may hold line breaks, or bytes that are no text

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of the named files, in any order.

        Raises:
            BenchError: a file cannot be read, or the archive is damaged.
        """
        if self._packed:
            yield from archives.read_members(self.path, frozenset(names).__contains__)
            return
        for name in names:
            try:
                yield name, (self._folder / name).read_bytes()
            except OSError as error:
                raise BenchError(f"{self.place(name)} cannot be read ({error.strerror or error})") from error

    def tables(self, names: Sequence[str]) -> Iterator[tuple[str, Path | bytes]]:
        """Yield place and file (its content where it is in an archive) of the named files, in the order given."""
        if self._packed:
            contents = dict(self.read(names))
            yield from ((self.place(name), contents.pop(name)) for name in names)
        else:
            yield from ((self.place(name), self._folder / name) for name in names)

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        """Return the SHA-256 of the named files, by their names."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.read(names)}

    def same(self, one: Sequence[str], other: Sequence[str]) -> bool:
        """Tell whether two equally long lists of files hold the same bytes, file by file."""
        if [self.sizes[name] for name in one] != [self.sizes[name] for name in other]:
            return False
        digests = self.digests([*one, *other])
        return [digests[name] for name in one] == [digests[name] for name in other]

    def alike(self, names: Sequence[str]) -> tuple[str, list[str]]:
        """Return the file of the shortest name, which no copy has, and those of the others that hold its bytes."""
        first, *others = sorted(names, key=lambda name: (len(name), name))
        return first, [name for name in others if self.same([first], [name])]

    def few(self, names: Collection[str]) -> str:
        """Return names for a sentence: all of them where they are few, else the first and how many more."""
        named = [repr(name) for name in sorted(names)]
        if len(named) <= _MOST_NAMED:
            return ", ".join(named)
        return f"{', '.join(named[: _MOST_NAMED - 2])} and {len(named) - _MOST_NAMED + 2:,} more"

    def holds(self) -> str:
        """Return what is here, for the sentence that says that nothing of use is."""
        packed = [name for name in self.sizes if not self._packed and name.lower().endswith(archives.ENDINGS)]
        if packed:
            return f"it holds {self.few(packed)}, which is imported by its own path"
        return f"it holds {self.few(self.sizes) or 'no files'}"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise BenchError(f"{file} cannot be read ({error.strerror or error})") from error


def _is_hidden(name: str) -> bool:
    return any((part.startswith(".") and part != ".") or part == "__MACOSX" for part in name.split("/"))


def _walk(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield name and size of all files in and below a folder, through links; a link that leads nowhere is no file."""

    def refuse(error: OSError) -> None:
        raise BenchError(f"{error.filename} cannot be read ({error.strerror})") from error

    seen = set()
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        # Sorted before they are entered: of two ways to one folder the first by name counts, on every machine.
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        here = os.stat(parent)
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        for file in files:
            path = Path(parent, file)
            if path.is_file():
                yield path.relative_to(folder).as_posix(), _size(path)
