"""The method that is compared: one of a file of the user's, or one that is built in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config.cells import Sweep, make_cell
from bench.config.settings import split_settings
from bench.errors import BenchError, choices
from bench.files import expanded
from bench.plugins import registry


@dataclass(frozen=True)
class OwnMethod:
    """The method that is compared.

    Attributes:
        name: what users type.
        parameters: those that differ from its defaults, checked.
        uses_keep: False where it trains the full model whatever the keep ratio.
        plugins: all files that the sweep and the method need, those of the sweep first.
    """

    name: str
    parameters: Mapping[str, Any]
    uses_keep: bool
    plugins: tuple[Path, ...]


def own_method(
    given: str, sweep: Sweep, only: str | None = None, parameters: Mapping[str, Any] | Iterable[str] = ()
) -> OwnMethod:
    """Return the method that a user means.

    Args:
        given: the path of a file that defines it, or its name.
        sweep: what it is compared on.
        only: which one, where the file holds several.
        parameters: of the method, by name, or as words "name=value".

    Raises:
        BenchError: there is no such file or method, the file holds none or several, it takes the name of another
            method, or it has no such parameters.
    """
    if _is_file(given, sweep.plugins):
        name, plugins = _of_file(expanded(given), sweep.plugins, only)
    elif only is not None and only != given:
        raise BenchError(f"--method {only!r}: it picks one of a file's methods, and {given!r} is a method itself")
    else:
        name, plugins = given, sweep.plugins
    kind = registry.method(name, plugins).kind
    assert kind is not None
    task = sweep.cells[0].task
    if not isinstance(parameters, Mapping):
        tables = split_settings(parameters, task, name, plugins)
        for table in ("model", "training"):
            if tables[table]:
                word = next(iter(tables[table]))
                raise BenchError(
                    f"--set {word}: it is a setting of the {table}, which all methods of {sweep.name!r} share; "
                    f"allowed: parameters of the method {name!r}"
                )
        parameters = tables["parameters"]
    checked = make_cell({"task": task, "method": name, "parameters": dict(parameters)}, "compare", plugins)
    return OwnMethod(name, checked.parameters, kind.uses_keep, plugins)


def _is_file(given: str, plugins: tuple[Path, ...]) -> bool:
    """Return whether a word means a file: it looks like one, or there is one and no method of that name."""
    path = expanded(given)
    return path.suffix == ".py" or len(path.parts) > 1 or (path.exists() and given not in registry.methods(plugins))


def _of_file(path: Path, known: tuple[Path, ...], only: str | None) -> tuple[str, tuple[Path, ...]]:
    """Return the name of a file's method, and the plugins with it."""
    if not path.exists():
        near = sorted(file.name for file in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise BenchError(f"{path}: there is no such file" + (f"; {choices(path.name, near)}" if near else ""))
    shared = path.resolve() in {other.resolve() for other in known}
    plugins = known if shared else (*known, path)
    registry.check(plugins)
    built_in = next((name for name, entry in registry.methods().items() if _same(entry.source, path)), None)
    if built_in is not None:  # the file of a method that is known by name
        return built_in, known
    [found] = registry.files_of([path])
    names = [kind.name for kind in found.methods]
    if not names:
        raise BenchError(f"{path}: it holds no method, that is no subclass of bench.api.Method")
    if only is not None and only not in names:
        raise BenchError(f"--method {only!r}: {path} has no such method; {choices(only, names)}")
    if only is None and len(names) > 1:
        raise BenchError(f"{path}: it holds {len(names)} methods; say which with --method; {choices('', names)}")
    name = only or names[0]
    if not shared and name in registry.methods(known):
        raise BenchError(
            f"{path}: its method has the name {name!r}, which another one has already; give it one of its own, "
            f'as name = "my-{name}", so that the two can be told apart'
        )
    return name, plugins


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
