"""Which declared revisions a method or task depends on: by what it inherits from, and by what its file imports."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import bench.families
from bench import revisions
from bench.api import Method
from bench.plugins import registry
from bench.plugins.imports import Part, reached
from bench.plugins.within import is_shipped
from bench.tasks.base import Task

Kind = type[Method] | type[Task]
FAMILIES = "bench.families"


def declared(kind: Kind) -> Iterator[tuple[str, int]]:
    """Yield name and revision of all that a method or task is made of and that has one."""
    for above in kind.__mro__:
        named = revision(above)
        if named:
            yield named
        family = vars(above).get("family")
        if issubclass(kind, Method) and family in revisions.FAMILIES:
            yield f"family {family}", revisions.FAMILIES[family]


def revision(kind: type) -> tuple[str, int] | None:
    """Return name and revision of a method or task that is built in; None for other classes."""
    for word, base, package, known in (
        ("method", Method, "methods.", revisions.METHODS),
        ("task", Task, "bench.tasks.", revisions.TASKS),
    ):
        name = vars(kind).get("name", "")
        if issubclass(kind, base) and kind.__module__.startswith(package) and name in known:
            return f"{word} {name}", known[name]
    return None


def imported(names: Iterable[str]) -> dict[str, int]:
    """Return the revisions of the built-in methods, tasks and families among modules that a user's files import.

    A module of :mod:`bench.families` without a method of its own counts as the one family that uses it, or as the
    methods that do where no family does; what several families use counts as the harness, on which all depends.
    """
    found: dict[str, int] = {}
    for name in dict.fromkeys(names):
        kinds = _kinds_of(name)
        found |= dict(one for kind in kinds for one in declared(kind))
        found |= {} if kinds else {word: _number(word) for word in _used_by().get(name, ())}
    return dict(sorted(found.items()))


def _kinds_of(name: str) -> list[Kind]:
    """Return the methods and tasks that a module which the harness ships defines; none of other modules."""
    if not is_shipped(name) and name not in _family_modules():
        return []
    module = importlib.import_module(name)
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and kind.__module__ == name]
    return [kind for kind in kinds if issubclass(kind, Method | Task)]


def _family_modules() -> dict[str, Path]:
    folder = Path(bench.families.__path__[0])
    return {f"{FAMILIES}.{file.stem}": file for file in folder.glob("[!_]*.py")}


def _number(word: str) -> int:
    kind, _, name = word.partition(" ")
    return revisions.FAMILIES[name] if kind == "family" else revisions.METHODS[name]


@functools.cache
def _used_by() -> dict[str, tuple[str, ...]]:
    """Return for the modules of families which family or methods they count as; they are read, not run."""
    families, methods = _family_modules(), {}
    for name, entry in registry.methods().items():
        if entry.kind and is_shipped(entry.kind.__module__):
            methods[f"method {name}"] = Part(entry.source, entry.kind.__module__, "methods")

    def find(module: str) -> list[Part]:
        return [Part(families[module], module, FAMILIES)] if module in families else []

    by_family: dict[str, set[str]] = {name: set() for name in families}
    by_method: dict[str, set[str]] = {name: set() for name in families}
    for name, file in families.items():
        words = {word for kind in _kinds_of(name) for word, _ in declared(kind)}
        for used in set(reached(Part(file, name, FAMILIES), find).names) & families.keys():
            by_family[used] |= words
    for word, part in methods.items():
        for used in set(reached(part, find).names) & families.keys():
            by_method[used].add(word)
    found = {name: by_family[name] or by_method[name] for name in families}
    return {name: tuple(sorted(words)) for name, words in found.items() if len(words) == 1 or not by_family[name]}
