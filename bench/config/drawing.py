"""What a sweep file says of its figures beside their names: colours of methods, and what differences are taken to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.cell import Cell
from bench.colours import fault
from bench.errors import BenchError, at, choices
from bench.plugins import registry

FULL_MODEL = "fedavg"


def colours_of(values: Mapping[str, Any], path: Path, plugins: Iterable[Path]) -> dict[str, str]:
    """Return the colours of methods: those of the table ``[colours]``, and those that methods name for themselves.

    Raises:
        BenchError: a method is unknown, or a colour cannot be seen or is no colour.
    """
    plugins, place = tuple(plugins), f"{path}, colours"
    given = values.get("colours", {})
    if not isinstance(given, dict):
        raise BenchError(f"{place}: {given!r} is not a table; allowed: a colour for each method, as prism = '#0072b2'")
    for name, colour in given.items():
        if name == FULL_MODEL:
            raise BenchError(f"{place}: {name!r} is the full model, which is black in all figures; leave it out")
        with at(place):
            registry.method(name, plugins)
        if wrong := fault(colour):
            raise BenchError(f"{place}: {name} = {colour!r} is not possible; {wrong}")
    return {**registry.colours(plugins), **given}


def known_reference(name: Any, cells: Iterable[Cell], place: str) -> str:
    """Return the name of a method or series that some of the cells have.

    Raises:
        BenchError: none has it; the full model alone may be missing, for then there is nothing to subtract.
    """
    known = dict.fromkeys(word for cell in cells for word in (cell.method, cell.label))
    if isinstance(name, str) and (name in known or name == FULL_MODEL):
        return name
    raise BenchError(f"{place}: no cell of the sweep is of {name!r}; {choices(name, known)}")
