"""Finds methods, tasks and figures: files in their folders, ``--plugin`` files, entry points.

A file that cannot be imported is an entry with its reason, not a crash: one broken plugin leaves the others usable.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import bench.tasks
from bench import revisions
from bench.errors import BenchError, choices
from bench.plugins import beside, within
from bench.plugins.entries import HARNESS, Broken, FigureEntry, MethodEntry, TaskEntry
from bench.plugins.figure_files import names_in
from bench.plugins.reading import Found, own_methods, read_module, read_plugin

__all__ = [
    "Broken",
    "FigureEntry",
    "MethodEntry",
    "TaskEntry",
    "broken_figures",
    "broken_tasks",
    "check",
    "colours",
    "figure_names",
    "figures",
    "files_of",
    "method",
    "methods",
    "own_methods",
    "sources_of",
    "task",
    "tasks",
]

ENTRY_POINTS = {"method": "bench.methods", "task": "bench.tasks", "figure": "bench.figures"}
"""The groups of entry points, one for each kind: a package's figures are imported where figures are asked for alone."""
EMPTY = {
    "method": "it defines no subclass of bench.api.Method",
    "task": "it defines no subclass of bench.tasks.base.Task",
    "figure": "it defines no bench.figure_spec.FigureSpec",
}
"""Why a module of an entry point, or a file of ``methods/``, is broken that does not hold what it should."""


def methods(plugins: Iterable[Path] = ()) -> dict[str, MethodEntry]:
    """Return all methods by name, broken files included; a plugin file takes the place of a built-in name."""
    installed = _installed_methods()
    found = {entry.name: entry for file in installed for entry in _method_entries(file)}
    found |= {twice.name: MethodEntry(twice.name, twice.source, None, twice.reason) for twice in _twice(installed)}
    for file in files_of(plugins):
        found |= {entry.name: entry for entry in _method_entries(file)}
    return found


def method(name: str, plugins: Iterable[Path] = ()) -> MethodEntry:
    """Return one method.

    Raises:
        BenchError: no file defines it, its file is broken, or a file that the user named is.
    """
    plugins = tuple(plugins)
    check(plugins)
    found = methods(plugins)
    if name not in found:
        working = sorted(entry.name for entry in found.values() if entry.kind)
        raise BenchError(f"unknown method {name!r}; {choices(name, working)}; a file of yours is named by --plugin")
    entry = found[name]
    if entry.kind is None:
        raise BenchError(f"method {name!r} cannot be used: {entry.source}: {entry.reason}")
    return entry


def colours(plugins: Iterable[Path] = ()) -> dict[str, str]:
    """Return the colours that methods name for themselves, by the methods' names."""
    return {name: entry.kind.colour for name, entry in methods(plugins).items() if entry.kind and entry.kind.colour}


def tasks(plugins: Iterable[Path] = ()) -> dict[str, TaskEntry]:
    """Return all tasks by name, without broken files; a plugin file takes the place of a built-in name."""
    installed, own = _installed_tasks(), files_of(plugins)
    unclear = {twice.name for twice in _twice(installed)} - {kind.name for file in own for kind in file.tasks}
    return {
        kind.name: TaskEntry(kind.name, file.source, kind, file.helpers, file.imports)
        for file in (*installed, *own)
        if not file.reason
        for kind in file.tasks
        if kind.name not in unclear
    }


def task(name: str, plugins: Iterable[Path] = ()) -> TaskEntry:
    """Return one task.

    Raises:
        BenchError: no file defines it, its file is broken, or a file that the user named is.
    """
    plugins = tuple(plugins)
    check(plugins)
    found = tasks(plugins)
    if name in found:
        return found[name]
    for broken in broken_tasks():
        if broken.name == name:
            raise BenchError(f"task {name!r} cannot be used: {broken.source}: {broken.reason}")
    raise BenchError(f"unknown task {name!r}; {choices(name, sorted(found))}; a file of yours is named by --plugin")


def broken_tasks(plugins: Iterable[Path] = ()) -> list[Broken]:
    """Return the files that should hold tasks, or whatever a plugin may hold, and cannot be read."""
    return _broken([*_installed_tasks(), *files_of(plugins)]) + _twice(_installed_tasks())


def figures(plugins: Iterable[Path] = ()) -> dict[str, FigureEntry]:
    """Return the figures of installed packages and of plugins by name; those of ``bench/figures`` are found there."""
    installed, own = _of_packages("figure"), files_of(plugins)
    unclear = {twice.name for twice in _twice(installed)} - {spec.name for file in own for spec in file.figures}
    return {
        spec.name: FigureEntry(spec, file.source)
        for file in (*installed, *own)
        if not file.reason
        for spec in file.figures
        if spec.name not in unclear
    }


def figure_names(plugins: Iterable[Path] = ()) -> tuple[str, ...]:
    """Return the names of all figures, those of ``bench/figures`` first, without importing these."""
    return tuple(dict.fromkeys((*names_in(HARNESS / "figures"), *figures(plugins))))


def broken_figures(plugins: Iterable[Path] = ()) -> list[Broken]:
    """Return the files of installed packages that should hold figures, and the plugins, that cannot be read."""
    installed = _of_packages("figure")
    return _broken([*installed, *files_of(plugins)]) + _twice(installed)


def replaced(plugins: Iterable[Path]) -> list[str]:
    """Return a line for each method and task that is a user's file's and not the one of that name that is built in."""
    lines = []
    for word, built_in in (("method", methods()), ("task", tasks())):
        named = {
            kind.name: file for file in files_of(plugins) for kind in (file.methods if word == "method" else file.tasks)
        }
        lines += [
            f"{word} {name!r} is that of {file.source}, not the built-in one"
            for name, file in named.items()
            if name in built_in
        ]
    return lines


def check(plugins: Iterable[Path]) -> None:
    """Refuse files that the user named and that cannot be used; a BenchError says which and why."""
    for file in files_of(plugins):
        if file.reason:
            raise BenchError(f"plugin {file.source}: it cannot be used: {file.reason}")


def files_of(plugins: Iterable[Path]) -> list[Found]:
    """Return what files of the user hold, each file once, in their order.

    Of two that define the same name the second is broken: which is meant, only the user knows.
    """
    found: list[Found] = []
    taken: dict[tuple[str, str], Found] = {}
    once: dict[Path, Path] = {}
    for path in plugins:
        once.setdefault(_place(path), path)
    for file in map(read_plugin, once.values()):
        twice = next((of for of in file.names() if _differs(of, file, taken.get(of))), None)
        if twice:
            word, name = twice
            other = taken[twice].source
            file = replace(
                file, reason=f"it defines the {word} {name!r}, as {other} does; give one of them another name"
            )
        found.append(file)
        taken |= {} if file.reason else dict.fromkeys(file.names(), file)
    return found


def sources_of(plugin: Path) -> tuple[tuple[str, bytes], ...]:
    """Return name and contents of a plugin's file and of those that it imports from beside it, as seen from there."""
    place = plugin.resolve()
    helpers = ((file.relative_to(place.parent).as_posix(), file) for file in beside.helpers_of(place))
    return tuple((name, file.read_bytes()) for name, file in ((plugin.name, place), *helpers))


def _broken(files: Iterable[Found]) -> list[Broken]:
    return [Broken(file.source.stem, file.source, file.reason) for file in files if file.reason]


def _twice(installed: Iterable[Found]) -> list[Broken]:
    """Return each name that two of the installed files define: which is meant, only the user knows."""
    taken: dict[tuple[str, str], Found] = {}
    twice: list[Broken] = []
    for file in installed:
        for word, name in file.names():
            other = taken.setdefault((word, name), file)
            if other is not file and _differs((word, name), file, other):
                both = f"the {word} {name!r} is defined by {other.source} and by {file.source}"
                twice.append(Broken(name, file.source, f"{both}; uninstall one of them, or give it another name"))
    return twice


def _place(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # it cannot be read, and reading it says why
        return path


def _differs(of: tuple[str, str], file: Found, other: Found | None) -> bool:
    """Return whether two files mean different things by a name; a figure may be in both, imported by one of them."""
    if other is None:
        return False
    figures = {id(spec) for spec in other.figures}
    return not any(of == ("figure", spec.name) and id(spec) in figures for spec in file.figures)


def _method_entries(file: Found) -> list[MethodEntry]:
    if file.reason:
        return [MethodEntry(file.source.stem, file.source, None, file.reason)]
    return [
        MethodEntry(kind.name, file.source, kind, helpers=file.helpers, imports=file.imports) for kind in file.methods
    ]


@functools.cache
def _installed_methods() -> tuple[Found, ...]:
    package = own_methods()
    files = [path for folder in package.__path__ for path in sorted(Path(folder).glob("[!_]*.py"))]
    own = [_holding("method", _in_folder(f"{package.__name__}.{path.stem}", path)) for path in files]
    return (*own, *_of_packages("method"))


@functools.cache
def _installed_tasks() -> tuple[Found, ...]:
    files = [path for folder in bench.tasks.__path__ for path in sorted(Path(folder).glob("[!_]*.py"))]
    files = [path for path in files if path.stem not in revisions.TASK_PARTS]  # they hold bases, whole ones too
    found = (_in_folder(f"bench.tasks.{path.stem}", path) for path in files)
    return (*found, *_of_packages("task"))


def _in_folder(module: str, path: Path) -> Found:
    found = read_module(module, path)
    return found.with_imports(within.of_folder(module, path))


def _of_packages(word: str) -> list[Found]:
    """Return what installed packages offer of one kind."""
    return [_holding(word, _of_package(point)) for point in entry_points(group=ENTRY_POINTS[word])]


def _of_package(point: EntryPoint) -> Found:
    found = read_module(point.module, Path(f"{point.module.rpartition('.')[2]}.py"))
    if found.reason or not (found.methods or found.tasks):  # a figure alone is part of no result
        return found
    name = point.dist.name if point.dist else None
    return found.with_imports(within.of_package(point.module, found.source, name))


def _holding(word: str, file: Found) -> Found:
    """Return what a file holds, broken where it holds nothing of the kind that it should."""
    held = file.reason or any(kind == word for kind, _ in file.names())
    return file if held else replace(file, reason=file.loose or EMPTY[word])
