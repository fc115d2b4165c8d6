"""Reading the text files that users write."""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the contents of a file.

    Args:
        path: the file.
        what: what it is, for errors ("sweep file").

    Raises:
        BenchError: it cannot be read, or is not TOML.
    """
    text = read_text(path, what)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"{path}: not a TOML file: {error}") from None
    except ValueError:  # of int(), which reads no number of so many digits
        raise BenchError(f"{path}: a number in it has thousands of digits; allowed: whole numbers of 64 bits") from None
    except RecursionError:
        raise BenchError(f"{path}: lists or tables are nested in it hundreds of times, which nothing here is") from None
    with at(str(path)):
        return dict(plain(values))


def read_text(path: Path, what: str) -> str:
    """Return the text of a file in UTF-8, with or without a byte-order mark.

    Raises:
        BenchError: it cannot be read, is no file, is larger than anybody writes, or is in another encoding.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a device may never end
            raise BenchError(f"{path}: the {what} cannot be read (it is a device or a pipe)")
        if path.is_file() and path.stat().st_size > LARGEST_BYTES:
            raise BenchError(f"{path}: the {what} cannot be read (it is larger than {LARGEST_BYTES / 1e6:.0f} MB)")
        content = path.read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # its name holds a null character, or links lead in a circle
        raise BenchError(f"{path}: the {what} cannot be read ({why(error)}){_beside(path)}") from None
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


def _beside(path: Path) -> str:
    """Return the end of the sentence on a file that is not there: those that are."""
    try:
        files = sorted(str(file) for file in path.parent.glob("*.toml") if file.is_file())
    except (OSError, ValueError, RuntimeError):
        return ""
    return f"; {choices(path, files)}" if files else ""


def check_keys(values: Mapping[str, Any], allowed: Iterable[str], place: str) -> None:
    """Refuse keys that mean nothing at a place; a BenchError names the first with its nearest match."""
    allowed = tuple(allowed)
    for name in values:
        if name not in allowed:
            raise BenchError(f"{place}: unknown key {name!r}; {choices(name, allowed)}")
