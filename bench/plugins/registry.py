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
import re
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
from bench.errors import BenchError, choices, words_of
from bench.plugins import beside
from bench.tasks.base import Task

ENTRY_POINTS = "bench.methods"
LONGEST_NAME = 64
NAME = re.compile(rf"\w[\w.+-]{{0,{LONGEST_NAME - 1}}}")
ALLOWED_NAME = (
    f"allowed: letters, digits, '_', '-', '.' and '+', at most {LONGEST_NAME}, the first a letter, digit or '_'"
)


@dataclass(frozen=True)
class MethodEntry:
    """A method that was found, or a file that should have held one.

    Attributes:
        name: what users type.
        source: the file it comes from.
        kind: the class, None if the file is broken.
        reason: why the file is broken, one line; empty if it is not.
        helpers: the files that a plugin imports from beside it.
    """

    name: str
    source: Path
    kind: type[Method] | None
    reason: str = ""
    helpers: tuple[Path, ...] = ()

    def files(self) -> list[Path]:
        """Return the files that a method depends on, the harness's own bases left out.

        They are its own, those of the methods it inherits from, and those that a plugin imports from beside it.
        """
        assert self.kind is not None
        bases = [kind for kind in self.kind.__mro__[1:] if issubclass(kind, Method)]
        found = [self.source, *(Path(str(inspect.getsourcefile(kind))) for kind in bases)]
        found += self.helpers
        harness = Path(__file__).resolve().parents[1]
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
        raise BenchError(f"unknown method {name!r}; {choices(name, working)}; a file of yours is named by --plugin")
    entry = found[name]
    if entry.kind is None:
        raise BenchError(f"method {name!r} cannot be used: {entry.source}: {entry.reason}")
    return entry


def sources_of(plugin: Path) -> tuple[tuple[str, bytes], ...]:
    """Return name and contents of a plugin's file and of those that it imports from beside it, as seen from there."""
    place = plugin.resolve()
    helpers = ((file.relative_to(place.parent).as_posix(), file) for file in beside.helpers_of(place))
    return tuple((name, file.read_bytes()) for name, file in ((plugin.name, place), *helpers))


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
    folder = Path(__file__).resolve().parents[2] / "methods"
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
    try:
        helpers = beside.helpers_of(path.resolve()) if path.is_file() else ()
        # An edited file is read anew, which matters in a notebook.
        stamps = beside.stamps([path, *helpers]) if path.is_file() else ()
        name = f"bench_plugin_{_short_hash(path)}_{path.stem}"
    except (OSError, ValueError, RuntimeError) as error:  # a name that cannot be, or links that lead in a circle
        reason = getattr(error, "strerror", None) or _one_line(error)
        return {path.stem: MethodEntry(path.stem, path, None, reason)}
    return _methods_of(name, path, helpers, stamps)


@functools.cache
def _methods_of(
    module_name: str, path: Path, helpers: tuple[Path, ...] = (), stamps: tuple[Any, ...] = ()
) -> dict[str, MethodEntry]:
    """Return the methods that one module defines, or one broken entry."""
    try:
        module = _import(module_name, path)
    except (Exception, SystemExit) as error:
        return {path.stem: MethodEntry(path.stem, path, None, beside.without_scope(_one_line(error)))}
    path = Path(module.__file__ or path)
    kinds = [kind for kind in _classes(module, Method) if not inspect.isabstract(kind)]
    for kind in kinds:
        kind.name = kind.__dict__.get("name") or path.stem
    fault = _fault(_classes(module, Method))
    if fault:
        return {path.stem: MethodEntry(path.stem, path, None, fault)}
    return {kind.name: MethodEntry(kind.name, path, kind, helpers=helpers) for kind in kinds}


def _import(module_name: str, path: Path) -> ModuleType:
    own_methods()  # plugins import from them too
    if not module_name.startswith("bench_plugin_"):
        return importlib.import_module(module_name)
    if not path.is_file():
        raise BenchError("there is no such file")
    if importlib.util.spec_from_file_location(module_name, path) is None:
        raise BenchError("it is not a Python file")
    scope = beside.Scope(path.resolve().parent, _short_hash(path))
    scope.open()
    loader = scope.loader(module_name, str(path))
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    assert spec is not None and spec.loader is not None
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
    for kind in complete:
        for words in ("name", "family", "summary", "paper"):
            if not isinstance(getattr(kind, words), str):
                return (
                    f"{words} = {getattr(kind, words)!r} of {kind.__name__} is not possible; allowed: a word in quotes"
                )
        if not isinstance(kind.deviations, list | tuple) or not all(isinstance(one, str) for one in kind.deviations):
            return f"deviations of {kind.__name__} are no list of words in quotes"
        if not NAME.fullmatch(kind.name):
            shown = kind.name if len(kind.name) <= LONGEST_NAME else f"{kind.name[:LONGEST_NAME]}..."
            return f"name = {shown!r} of {kind.__name__} is not possible; {ALLOWED_NAME}"
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
    return place + words_of(error)
