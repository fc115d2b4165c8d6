"""Reads one file or module: which methods, tasks and figures it defines, or why nothing can be read from it."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from bench.api import Method
from bench.errors import BenchError, step_in, words_of
from bench.figure_spec import FigureSpec
from bench.plugins import beside, faults, within
from bench.plugins.imports import Reached, stamps
from bench.plugins.living import living
from bench.tasks.base import Task

NOTHING = (
    "it defines no subclass of bench.api.Method, no subclass of bench.tasks.base.Task and no "
    "bench.figure_spec.FigureSpec"
)


@dataclass(frozen=True)
class Found:
    """What one file holds.

    Attributes:
        source: the file.
        methods, tasks: the complete classes that it defines, in its order.
        figures: the figures that it names.
        reason: why nothing can be read from it, one line; empty where something can.
        helpers: the user's files that it imports: from beside it, or of the package that it lies in.
        imports: the names of all modules that it and its helpers may import.
        loose: what its classes lack that are not complete; empty where none is.
    """

    source: Path
    methods: tuple[type[Method], ...] = ()
    tasks: tuple[type[Task], ...] = ()
    figures: tuple[FigureSpec, ...] = ()
    reason: str = ""
    helpers: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()
    loose: str = ""

    def names(self) -> list[tuple[str, str]]:
        """Return (what it is, its name) of all that the file holds."""
        groups: dict[str, tuple[Any, ...]] = {"method": self.methods, "task": self.tasks, "figure": self.figures}
        return [(word, one.name) for word, group in groups.items() for one in group]

    def with_imports(self, reached: Reached) -> Found:
        """Return the same with what it imports."""
        return replace(self, helpers=reached.files, imports=reached.names)


def read_plugin(path: Path) -> Found:
    """Read a file that the user named; an edited one is read anew, which matters in a notebook."""
    try:
        helpers = beside.helpers_of(path.resolve()) if path.is_file() else ()
        seen = stamps([path, *helpers]) if path.is_file() else ()
        name = f"bench_plugin_{_short_hash(path)}_{path.stem}"
    except (OSError, ValueError, RuntimeError) as error:  # a name that cannot be, or links that lead in a circle
        return Found(path, reason=getattr(error, "strerror", None) or _one_line(error))
    found = read_module(name, path, helpers, seen)
    if found.reason:
        return found
    if not found.names():
        return replace(found, reason=found.loose or NOTHING)
    return found.with_imports(within.of_plugin(path.resolve()))


@functools.cache
def read_module(module_name: str, path: Path, helpers: tuple[Path, ...] = (), seen: tuple[Any, ...] = ()) -> Found:
    """Read a module, which may hold nothing.

    Args:
        module_name: what it is imported as.
        path: its file, or the name of it where that is not known.
        helpers: the files that a plugin imports from beside it.
        seen: what changes whenever one of the files does.
    """
    try:
        module = _import(module_name, path)
    except (Exception, SystemExit) as error:
        return Found(path, reason=beside.without_scope(_one_line(error, (path, *helpers))))
    path = Path(module.__file__ or path)
    methods, tasks = _classes(module, Method), _classes(module, Task)
    figures = list({id(one): one for one in vars(module).values() if isinstance(one, FigureSpec)}.values())
    for kind in (kind for kind in [*methods, *tasks] if not inspect.isabstract(kind)):
        kind.name = kind.__dict__.get("name") or path.stem
    reason = faults.of_methods(methods) or faults.of_tasks(tasks) or faults.of_figures(figures)
    if reason:
        return Found(path, reason=reason)
    loose = faults.unfinished([*methods, *tasks])
    return Found(path, _complete(methods), _complete(tasks), tuple(figures), loose=loose)


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


def _import(module_name: str, path: Path) -> ModuleType:
    own_methods()  # plugins import from them too
    if not module_name.startswith("bench_plugin_"):
        return importlib.import_module(module_name)
    if not path.is_file():
        raise BenchError("it is a folder; name the files in it" if path.is_dir() else "there is no such file")
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
        with living():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _classes(module: ModuleType, base: type) -> list[Any]:
    """Return the subclasses of ``base`` that a module itself defines, in the order of the file."""
    own = (kind for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__)
    return [cast(Any, kind) for kind in own if issubclass(kind, base)]


def _complete(kinds: list[Any]) -> tuple[Any, ...]:
    return tuple(kind for kind in kinds if not inspect.isabstract(kind))


def _short_hash(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]


def _one_line(error: BaseException, files: Iterable[Path] = ()) -> str:
    """Return what an error says, and in which line of some files it was raised."""
    if isinstance(error, BenchError):  # already a sentence
        return str(error)
    if isinstance(error, SyntaxError) and error.lineno:
        return f"line {error.lineno}: {words_of(error)}"
    steps = [(step.filename, step.lineno or 0, step.name) for step in traceback.extract_tb(error.__traceback__)]
    return words_of(error) + step_in(steps, files)
