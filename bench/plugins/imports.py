"""Which files a file imports, and these in turn: read from their source, and nothing of it is run."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Callable, Iterable
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES)
"""Endings of a module's file in the order in which Python looks for them: a compiled one goes before its source."""


class Part(NamedTuple):
    """A file that an import reads, the name of its module, and the package that relative imports in it start from."""

    file: Path
    module: str
    package: str


class Reached(NamedTuple):
    """What some files import: the files that are found, and the names of all modules that may be meant."""

    files: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()


Find = Callable[[str], list[Part]]
"""Returns the files that importing a module reads, those of the packages around it first; none for other people's."""


def reached(start: Part, find: Find) -> Reached:
    """Return what a file imports, and what that imports, in the order of the imports.

    An import within a function or a condition counts too. What cannot be read, as a compiled module, ends the search
    there. The packages that a file lies in itself count where it takes a name from them: they import for others too.
    """
    found: dict[Path, None] = {}
    names: dict[str, None] = {}
    waiting = [start]
    while waiting:
        file, _, package = waiting.pop(0)
        for base, name in _imports_of(file, package):
            whole = ".".join(filter(None, (base, name)))
            names |= dict.fromkeys(filter(None, (base, whole)))
            parts = find(whole)
            named = whole if name is None or (parts and parts[-1].module == whole) else base
            for part in parts if named == whole else find(named) if named else []:
                around = f"{package}.".startswith(f"{part.module}.") and part.module != named and name is not None
                if part.file not in found and part.file != start.file and not around:
                    found[part.file] = None
                    waiting.append(part)
    return Reached(tuple(found), tuple(names))


def module_in(place: Path, module: str) -> Part | None:
    """Return the file of the module or package of the name of ``place``, without the ending; None if there is none."""
    for folder, package in ((place / "__init__", module), (place, module.rpartition(".")[0])):
        for suffix in SUFFIXES:
            file = folder.with_name(f"{folder.name}{suffix}")
            if file.is_file():
                return Part(file, module, package)
    return None


def _imports_of(file: Path, package: str) -> tuple[tuple[str, str | None], ...]:
    try:
        status = file.stat()
        return _imports(file, package, (status.st_mtime_ns, status.st_size))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ()


@functools.lru_cache(maxsize=4096)
def _imports(file: Path, package: str, stamp: tuple[int, int]) -> tuple[tuple[str, str | None], ...]:
    """Return what a file imports: (module, None), or (module, name) where a name of it is taken."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(importlib.util.decode_source(file.read_bytes()))):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            above = parts[: max(len(parts) - node.level + 1, 0)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found += [(base, alias.name) for alias in node.names]
    return tuple(dict.fromkeys(found))


def stamps(files: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Return what changes whenever one of these files does."""
    return tuple((str(file), status.st_mtime_ns, status.st_size) for file in files for status in [file.stat()])
