"""Finds methods and tasks: files in their folders, ``--plugin`` files, entry points.

A file that cannot be imported is an entry with its reason, not a crash: one broken plugin leaves the others usable.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import typing
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from bench.api import Method
from bench.cell import Cell
from bench.errors import BenchError, choices
from bench.tasks.base import Task

ENTRY_POINTS = "bench.methods"


@dataclass(frozen=True)
class MethodEntry:
    """A method that was found, or a file that should have held one.

    Attributes:
        name: what users type.
        source: the file it comes from.
        kind: the class, None if the file is broken.
        reason: why the file is broken, one line; empty if it is not.
    """

    name: str
    source: Path
    kind: type[Method] | None
    reason: str = ""

    def files(self) -> list[Path]:
        """Return the method's file and those of the methods it inherits from, the harness's own bases left out."""
        assert self.kind is not None
        bases = [kind for kind in self.kind.__mro__[1:] if issubclass(kind, Method)]
        found = [self.source, *(Path(str(inspect.getsourcefile(kind))) for kind in bases)]
        harness = Path(__file__).resolve().parent
        return list(dict.fromkeys(file for file in found if harness not in file.resolve().parents))

    def build(self, cell: Cell) -> Method:
        """Return an instance with the cell's parameters, which are expected to be checked."""
        assert self.kind is not None
        method = self.kind(self.kind.Params(**cell.parameters))
        method.levels, method.seed = cell.levels, cell.seed
        return method


@dataclass(frozen=True)
class TaskEntry:
    """A task that was found."""

    name: str
    source: Path
    kind: type[Task]

    def build(self, cell: Cell) -> Task:
        """Return an instance with the cell's tier and changes, which are expected to be checked."""
        recipe = replace(self.kind.tiers[cell.tier], **cell.training)
        return self.kind(recipe, self.kind.Params(**{**self.kind.tier_params.get(cell.tier, {}), **cell.model}))


def methods(plugins: Iterable[Path] = ()) -> dict[str, MethodEntry]:
    """Return all methods by name, broken files included; a plugin file takes the place of a built-in name."""
    found = dict(_installed_methods())
    for path in plugins:
        found |= _plugin_methods(path)
    return found


def method(name: str, plugins: Iterable[Path] = ()) -> MethodEntry:
    """Return one method.

    Raises:
        BenchError: no file defines it, its file is broken, or a file that the user named is.
    """
    plugins = tuple(plugins)
    for path in plugins:
        for broken in (entry for entry in _plugin_methods(path).values() if entry.kind is None):
            raise BenchError(f"plugin {path}: no method can be read from it: {broken.reason}")
    found = methods(plugins)
    if name not in found:
        working = sorted(entry.name for entry in found.values() if entry.kind)
        raise BenchError(f"unknown method {name!r}; {choices(name, working)}")
    entry = found[name]
    if entry.kind is None:
        raise BenchError(f"method {name!r} cannot be used: {entry.source}: {entry.reason}")
    return entry


@functools.cache
def tasks() -> dict[str, TaskEntry]:
    """Return all tasks by name."""
    import bench.tasks

    found = {}
    for info in pkgutil.iter_modules(bench.tasks.__path__, "bench.tasks."):
        module = importlib.import_module(info.name)
        for kind in (kind for kind in _classes(module, Task) if not inspect.isabstract(kind)):
            found[kind.name] = TaskEntry(kind.name, Path(str(module.__file__)), kind)
    return found


def task(name: str) -> TaskEntry:
    """Return one task.

    Raises:
        BenchError: there is no such task.
    """
    if name not in tasks():
        raise BenchError(f"unknown task {name!r}; {choices(name, sorted(tasks()))}")
    return tasks()[name]


@functools.cache
def _installed_methods() -> dict[str, MethodEntry]:
    package = own_methods()
    found: dict[str, MethodEntry] = {}
    for path in (path for folder in package.__path__ for path in sorted(Path(folder).glob("[!_]*.py"))):
        found |= _methods_of(f"{package.__name__}.{path.stem}", path)
    for point in entry_points(group=ENTRY_POINTS):
        found |= _methods_of(point.module, Path(f"{point.module.rpartition('.')[2]}.py"))
    return found


def own_methods() -> ModuleType:
    """Return the package of the built-in methods, wherever the user stands.

    A plain ``import methods`` would take a folder of that name in the current directory for it.
    """
    folder = Path(__file__).resolve().parents[1] / "methods"
    loaded = sys.modules.get("methods")
    if loaded is not None and loaded.__file__ and Path(loaded.__file__).parent == folder:
        return loaded
    spec = importlib.util.spec_from_file_location(
        "methods", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = sys.modules["methods"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package


def _plugin_methods(path: Path) -> dict[str, MethodEntry]:
    # An edited file is read anew, which matters in a notebook.
    changed_ns = path.stat().st_mtime_ns if path.is_file() else 0
    return _methods_of(f"bench_plugin_{_short_hash(path)}_{path.stem}", path, changed_ns)


@functools.cache
def _methods_of(module_name: str, path: Path, changed_ns: int = 0) -> dict[str, MethodEntry]:
    """Return the methods that one module defines, or one broken entry."""
    try:
        module = _import(module_name, path)
    except (Exception, SystemExit) as error:
        return {path.stem: MethodEntry(path.stem, path, None, _one_line(error))}
    path = Path(module.__file__ or path)
    kinds = [kind for kind in _classes(module, Method) if not inspect.isabstract(kind)]
    for kind in kinds:
        kind.name = kind.__dict__.get("name") or path.stem
    fault = _fault(_classes(module, Method))
    if fault:
        return {path.stem: MethodEntry(path.stem, path, None, fault)}
    return {kind.name: MethodEntry(kind.name, path, kind) for kind in kinds}


def _import(module_name: str, path: Path) -> ModuleType:
    own_methods()  # plugins import from them too
    if not module_name.startswith("bench_plugin_"):
        return importlib.import_module(module_name)
    if not path.is_file():
        raise BenchError("there is no such file")
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise BenchError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, so that dataclasses and pickled sub-models find their module by name.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _classes(module: ModuleType, base: type) -> list[Any]:
    """Return the subclasses of ``base`` that a module itself defines, in the order of the file."""
    own = (kind for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__)
    return [cast(Any, kind) for kind in own if issubclass(kind, base)]


def _fault(kinds: list[type[Method]]) -> str:
    """Return why the classes of a file cannot be used; empty if they can."""
    complete = [kind for kind in kinds if not inspect.isabstract(kind)]
    if not complete:
        lacking = [f"{kind.__name__} lacks {', '.join(sorted(kind.__abstractmethods__))}" for kind in kinds]
        return "; ".join(lacking) or "it defines no subclass of bench.api.Method"
    if len({kind.name for kind in complete}) < len(complete):
        names = ", ".join(kind.__name__ for kind in complete)
        return f"{names} have the same name; give each its own as the class attribute 'name'"
    for kind in complete:
        if not dataclasses.is_dataclass(kind.Params):
            return f"Params of {kind.__name__} is not a dataclass"
        try:
            kind.Params()
            typing.get_type_hints(kind.Params)
        except (TypeError, NameError) as error:
            return f"Params of {kind.__name__} need a default and a known type for each field: {error}"
    return ""


def _short_hash(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]


def _one_line(error: BaseException) -> str:
    place = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
    return f"{place}{type(error).__name__}: {str(error) or 'no message'}".splitlines()[0]
