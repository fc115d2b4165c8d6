"""What a method or task imports of its user's own: from beside it, or from the package that it lies in.

Modules that the harness ships count by declared revisions (:mod:`bench.revisions`) and are none of these.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from bench import revisions
from bench.plugins.beside import finder
from bench.plugins.imports import Part, Reached, reached

SHIPPED = {
    "methods": {"", *revisions.METHODS},
    "bench.tasks": {"", *revisions.TASK_PARTS, *(name.replace("-", "_") for name in revisions.TASKS)},
}
"""The modules of the harness's own folders that are built in, by the folder's package; "" is the package itself."""


def is_shipped(module: str) -> bool:
    """Return whether a module of the harness's own folders of methods and tasks is built in."""
    return any(
        module.removeprefix(home).lstrip(".") in names for home, names in SHIPPED.items() if _is_in(module, home)
    )


def in_harness(name: str) -> list[Part]:
    """Return the files of the user's own that an import reads from the harness's folders of methods and tasks."""
    for home in SHIPPED:
        if _is_in(name, home) and home in sys.modules:
            return [part for part in _walked(name, home, sys.modules[home].__path__) if not is_shipped(part.module)]
    return []


def of_plugin(file: Path) -> Reached:
    """Return what a plugin imports from beside it, and of the user's own from the harness's folders."""
    beside = finder(file.parent)
    return reached(Part(file, file.stem, ""), lambda name: beside(name) or in_harness(name))


def of_folder(module: str, file: Path) -> Reached:
    """Return what a user's file in one of the harness's own folders imports from there; nothing for one built in."""
    return Reached() if is_shipped(module) else reached(Part(file, module, module.rpartition(".")[0]), in_harness)


def of_package(module: str, file: Path, distribution: str | None) -> Reached:
    """Return what a module of an installed package imports from that package, at whatever depth.

    The package is the one at the top of the module's name. Where that is a namespace of several packages, the files of
    the others are left out.

    Args:
        module: it has been imported.
        file: its file.
        distribution: the name of what it was installed with, if that is known.
    """
    top = module.partition(".")[0]
    path = getattr(sys.modules.get(top), "__path__", None)
    package = module if file.stem == "__init__" else module.rpartition(".")[0]
    if path is None:  # a file that is installed without a package has nothing beside it
        return reached(Part(file, module, package), in_harness)
    importlib.invalidate_caches()
    others = _files_of_others(top, distribution) if getattr(sys.modules[top], "__file__", None) is None else set()

    def find(name: str) -> list[Part]:
        if not _is_in(name, top):
            return in_harness(name)
        parts = [*_head(top), *_walked(name, top, list(path))]
        return [part for part in parts if part.file.resolve() not in others]

    return reached(Part(file, module, package), find)


def _is_in(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def _head(top: str) -> list[Part]:
    """Return the file of an imported package itself; none where it is a namespace."""
    file = getattr(sys.modules[top], "__file__", None)
    return [Part(Path(file), top, top)] if file else []


def _walked(name: str, top: str, path: Sequence[str]) -> list[Part]:
    """Return the files of all modules on the way from a package to a module below it, as far as there are any."""
    found: list[Part] = []
    module, places = top, list(path)
    for step in name.removeprefix(top).split(".")[1:]:
        module = f"{module}.{step}"
        spec = PathFinder.find_spec(module, places)
        if spec is None:
            break
        inside = spec.submodule_search_locations
        if spec.origin and spec.has_location:
            found.append(Part(Path(spec.origin), module, module.rpartition(".")[0] if inside is None else module))
        places = list(inside or ())
    return found


def _files_of_others(top: str, distribution: str | None) -> set[Path]:
    """Return the files of a namespace that were installed with another distribution than this one."""
    if distribution is None:
        return set()
    names = set(importlib.metadata.packages_distributions().get(top, ())) - {distribution}
    files = (file for name in names for file in importlib.metadata.files(name) or () if file.parts[0] == top)
    return {Path(str(file.locate())).resolve() for file in files}
