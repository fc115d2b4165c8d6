"""Reading the TOML files that users write."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError, choices


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the contents of a file.

    Args:
        path: the file.
        what: what it is, for errors ("sweep file").

    Raises:
        BenchError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        files = sorted(str(file) for file in path.parent.glob("*.toml") if file.is_file())
        near = f"; {choices(path, files)}" if files else ""
        raise BenchError(f"{path}: the {what} cannot be read ({error.strerror}){near}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: not a TOML file: {error}") from None


def check_keys(values: Mapping[str, Any], allowed: Iterable[str], place: str) -> None:
    """Refuse keys that mean nothing at a place; a BenchError names the first with its nearest match."""
    allowed = tuple(allowed)
    for name in values:
        if name not in allowed:
            raise BenchError(f"{place}: unknown key {name!r}; {choices(name, allowed)}")
