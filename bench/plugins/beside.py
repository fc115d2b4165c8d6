"""What a user's plugin imports from beside it: its helper modules and packages, found, named and read anew.

A plugin's folder is not on Python's path, and two folders may have helpers of one name. So a plugin and its helpers
look for what lies beside the plugin first, and load it under a name of this plugin's own: ``my_helper`` beside
``mine.py`` is the module ``bench_beside_<hash of the plugin's path>.my_helper``. Processes that load the same plugin
find pickled objects of its helpers by that name.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.plugins.imports import Find, Part, module_in, reached

PREFIX = "bench_beside_"
HARNESS = ("bench", "methods")
"""Names that mean this package everywhere, in a folder with a copy of it too."""
INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed packages, which are nobody's helpers."""


class Scope:
    """The modules of one plugin.

    Args:
        folder: where the plugin lies.
        key: tells it from other plugins, and is the same in every process.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.name = folder, PREFIX + key
        self._builtins = {**vars(builtins), "__import__": self._import}

    def open(self) -> None:
        """Forget what was loaded under this name before, and be found under it."""
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]
        package = ModuleType(self.name, "What lies beside a plugin.")
        package.__path__ = [str(self.folder)]
        sys.modules[self.name] = package
        _FINDER.scopes[self.name] = self
        if _FINDER not in sys.meta_path:
            sys.meta_path.insert(0, _FINDER)

    def loader(self, name: str, path: str) -> SourceFileLoader:
        """Return what loads a file as a module of this plugin."""
        return _Loader(name, path, self._builtins)

    def _import(
        self,
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import for the plugin and its helpers, as ``builtins.__import__`` does for others."""
        top = name.partition(".")[0]
        if level or not is_beside(self.folder, top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        own = f"{self.name}.{name}"
        if fromlist:
            return builtins.__import__(own, globals, locals, fromlist, 0)
        importlib.import_module(own)
        return sys.modules[f"{self.name}.{top}"]


class _Loader(SourceFileLoader):
    """Loads a file as its text is now, with a way to import of its own."""

    def __init__(self, name: str, path: str, names: dict[str, Any]) -> None:
        super().__init__(name, path)
        self._builtins = names

    def get_code(self, fullname: str) -> Any:
        # Compiled files are told from newer ones by the second: an edit within one would go unnoticed.
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._builtins
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of all scopes."""

    def __init__(self) -> None:
        self.scopes: dict[str, Scope] = {}

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        scope = self.scopes.get(fullname.partition(".")[0])
        spec = PathFinder.find_spec(fullname, path, target) if scope and path else None
        if scope and spec and isinstance(spec.loader, SourceFileLoader) and spec.origin:
            spec.loader = scope.loader(fullname, spec.origin)
        return spec


_FINDER = _Finder()


def without_scope(text: str) -> str:
    """Return a message with the modules of plugins under the names that their users know."""
    for name in _FINDER.scopes:
        text = text.replace(f"{name}.", "")
    return text


def is_beside(folder: Path, name: str) -> bool:
    """Return whether a name means what lies in a folder: never the standard library's or the harness's own.

    A folder without ``__init__.py`` is a package only where nothing of its name is installed.
    """
    if name in sys.stdlib_module_names or name in HARNESS or folder.name in INSTALLED:
        return False
    if module_in(folder / name, name):
        return True
    return any((folder / name).glob("*.py")) and _is_unknown(name)


def _is_unknown(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return False


def helpers_of(plugin: Path) -> tuple[Path, ...]:
    """Return the files that a plugin imports from beside it, and those that these import, in the order of imports."""
    return reached(Part(plugin, plugin.stem, ""), finder(plugin.parent)).files


def finder(folder: Path) -> Find:
    """Return what finds the files that an import reads from a plugin's folder."""

    def find(name: str) -> list[Part]:
        parts = name.split(".")
        if not is_beside(folder, parts[0]):
            return []
        heads = [parts[:depth] for depth in range(1, len(parts) + 1)]
        found = [module_in(folder.joinpath(*head), ".".join(head)) for head in heads]
        return [part for part in found if part]

    return find
