"""Reading the text files that users write."""

from __future__ import annotations

import codecs
import contextlib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import BenchError, at, choices
from bench.written import plain

OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Byte-order marks of what is not UTF-8, the longer ones first: the shorter are their beginnings."""
LARGEST_BYTES = 10_000_000


class Kind(NamedTuple):
    """A kind of TOML file that a user writes.

    Attributes:
        name: what it is.
        command: the command that takes it.
        marks: keys at its head that the other kind has not; a file with none of them is no such file.
    """

    name: str
    command: str
    marks: frozenset[str]

    @property
    def file(self) -> str:
        """What a file of it is called in errors."""
        return f"{self.name} file"


SWEEP = Kind("sweep", "bench sweep", frozenset({"cells", "figures"}))
STUDY = Kind("study", "bench tune", frozenset({"methods", "trials", "report_seeds"}))
STATEMENTS = Kind("set of statements", "bench statements", frozenset({"statements"}))
FOLDER = Path("sweeps")
"""Where sweeps and studies are kept, seen from where the user stands."""


def read_toml(path: Path, kind: Kind) -> dict[str, Any]:
    """Return the contents of a file.

    Raises:
        BenchError: it cannot be read, is not TOML, or is a file of the other kind.
    """
    text = read_text(path, kind.file, lambda: _files_of(kind, path))
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"{path}: not a TOML file: {error}") from None
    except ValueError:  # of int(), which reads no number of so many digits
        raise BenchError(f"{path}: a number in it has thousands of digits; allowed: whole numbers of 64 bits") from None
    except RecursionError:
        raise BenchError(f"{path}: lists or tables are nested in it hundreds of times, which nothing here is") from None
    for other in (SWEEP, STUDY):
        if kind.marks.isdisjoint(values) and not other.marks.isdisjoint(values):
            raise BenchError(f"{path}: this is a {other.name}: use '{other.command}'")
    with at(str(path)):
        return dict(plain(values))


def is_study(path: Path) -> bool:
    """Return whether a file looks like a study, and not like a sweep."""
    return _looks_like(STUDY, path) and not _looks_like(SWEEP, path)


def read_text(path: Path, what: str, others: Callable[[], Iterable[Path]] = list) -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark.

    Args:
        path: the file.
        what: what it is, for errors ("sweep file").
        others: returns what could have been meant where there is no such file.

    Raises:
        BenchError: it cannot be read, is no file, is larger than anybody writes, or is in another encoding.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a device may never end
            raise BenchError(f"{path}: the {what} cannot be read (it is a device or a pipe)")
        if path.is_file() and path.stat().st_size > LARGEST_BYTES:
            raise BenchError(f"{path}: the {what} cannot be read (it is larger than {LARGEST_BYTES / 1e6:.0f} MB)")
        content = path.read_bytes()
    except IsADirectoryError:
        raise BenchError(f"{path}: the {what} cannot be read (it is a folder){_allowed('', others())}") from None
    except (OSError, ValueError, RuntimeError) as error:  # its name holds a null character, or links lead in a circle
        raise BenchError(f"{path}: the {what} cannot be read ({why(error)}){_allowed(path, others())}") from None
    for mark, encoding in OTHER_ENCODINGS.items():
        if content.startswith(mark):
            raise BenchError(f"{path}: the {what} is in {encoding}; save it in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BenchError(
            f"{path}: the {what} is not in UTF-8 but in another encoding, most likely Latin-1 or Windows-1252 "
            f"(byte 0x{content[error.start]:02x} in line {line}); save it in UTF-8"
        ) from None
    if "\0" in text:
        raise BenchError(f"{path}: the {what} holds null characters, as a file in UTF-16 does; save it in UTF-8")
    return text


def why(error: BaseException) -> str:
    """Return why the file system refused."""
    return getattr(error, "strerror", None) or str(error)


def _allowed(value: object, files: Iterable[Path]) -> str:
    """Return the end of the sentence on a file that cannot be read: those that can."""
    names = [str(file) for file in files]
    return f"; {choices(value, names)}" if names else ""


def _files_of(kind: Kind, path: Path) -> list[Path]:
    """Return the files of a kind beside a path, or in it where it is a folder, and in the folder of sweeps."""
    files: set[Path] = set()
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # a name that cannot be
        files |= {*(path if path.is_dir() else path.parent).glob("*.toml"), *FOLDER.glob("**/*.toml")}
    return sorted(file for file in files if _looks_like(kind, file))


def _looks_like(kind: Kind, file: Path) -> bool:
    """Return whether a file has a mark of a kind; what is not read has none."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if file.is_file() and file.stat().st_size <= LARGEST_BYTES:
            return not kind.marks.isdisjoint(tomllib.loads(file.read_text(encoding="utf-8-sig")))
    return False


def check_keys(values: Mapping[str, Any], allowed: Iterable[str], place: str) -> None:
    """Refuse keys that mean nothing at a place; a BenchError names the first with its nearest match."""
    allowed = tuple(allowed)
    for name in values:
        if name not in allowed:
            raise BenchError(f"{place}: unknown key {name!r}; {choices(name, allowed)}")
