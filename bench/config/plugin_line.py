"""The line ``plugins = ["mine.py"]`` of sweep and study files: the files that a user names in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError, at, choices
from bench.files import expanded
from bench.plugins import registry


def plugins_of(values: Mapping[str, Any], path: Path, given: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Return the plugins that a file names, and behind them those that were given with ``--plugin``.

    Args:
        values: what the file says.
        path: the file; the names are relative to its folder, and a leading ``~`` is the user's home.
        given: with ``--plugin``.

    Raises:
        BenchError: the line is no list of names, or one of them is no file that can be used.
    """
    names, place = values.get("plugins", []), f"{path}, plugins"
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BenchError(
            f'{path}: plugins = {names!r} is not possible; allowed: a list of files in quotation marks, as ["mine.py"]'
        )
    with at(place):
        own = tuple(_file(name, path.parent) for name in names)
        registry.check(own)
    return (*own, *given)


def _file(name: str, folder: Path) -> Path:
    place = folder / expanded(name)
    try:
        if place.is_file():
            return place
        if place.is_dir():
            raise BenchError(f"{str(place)!r} is a folder; name the files in it")
        near = sorted(str(file.relative_to(folder)) for file in folder.glob("*.py")) if place.suffix == ".py" else []
    except (OSError, ValueError):  # a name that cannot be
        near = []
    raise BenchError(f"there is no file {str(place)!r}" + (f"; {choices(name, near)}" if near else ""))
