"""The commands of those who write methods: ``check`` and ``new``."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from bench.cli.options import PATH

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="METHOD", help="Methods to check; all of them, or those of --plugin, if left out."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", **PATH, help="A Python file of methods, tasks or figures; may be given repeatedly."),
]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="Only on this task; may be given repeatedly. Left out: one a kind.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="name=value: a parameter of the method; may be given repeatedly.")
]


class Family(StrEnum):
    """What a new method starts from."""

    spectral = "spectral"
    width = "width"
    plain = "plain"


def check(method: Names = None, plugin: Plugins = None, task: Tasks = None, set_: Settings = None) -> None:
    """Check that methods keep what every method promises, on tiny federations of stand-in data.

    Ends with code 0 if they do, 1 if a check fails, 2 if a method cannot be read.
    """
    from bench.conformance import TASKS, Subject
    from bench.conformance.apart import Checker
    from bench.conformance.report import show

    plugins, tasks, out = plugin or [], tuple(dict.fromkeys(task or TASKS)), Console()
    names = list(dict.fromkeys(method or _names(plugins)))
    given = {name: _parameters(set_ or [], tasks[0], name, plugins) for name in names}
    for name in names:
        for known in tasks:
            Subject(name, known, plugins, given[name])  # what is wrong is said before anything is run
    passed, checker = True, Checker(tuple(plugins), tasks)
    with contextlib.closing(checker):
        for name in names:
            with out.status(f"checking {escape(name)}"):
                report = checker.check(name, given[name])
            show(report, out)
            passed = passed and not report.failures
    raise typer.Exit(0 if passed else 1)


def new(
    name: Annotated[str, typer.Argument(help="The method's name, which is also its file's.")],
    family: Annotated[Family, typer.Option(help="What the method starts from.")] = Family.spectral,
    folder: Annotated[Path, typer.Option(**PATH, help="Where the folders methods and tests are.")] = Path("."),
) -> None:
    """Write methods/NAME.py and tests/test_NAME.py: a method that runs and passes its checks as it stands."""
    from bench.plugins import registry
    from bench.scaffold import create

    source, test = create(name, family.value, folder)
    found = source.resolve().parent in {Path(path).resolve() for path in registry.own_methods().__path__}
    by_file = "" if found else f" --plugin {source}"
    lines = (
        f"wrote {source}",
        f"wrote {test}",
        f"next: write your own rule into {source}, then",
        f"  python -m bench check {name}{by_file}",
        f"  python -m pytest {test}",
        f"  python -m bench run --task cnn-femnist --method {name} --keep 0.5{by_file}",
    )
    for line in lines:
        Console().print(line, highlight=False, soft_wrap=True, markup=False)


def _names(plugins: list[Path]) -> list[str]:
    """Return the methods of the files that the user named, or all methods."""
    from bench.plugins import registry

    files = {path.resolve() for path in plugins}
    found = registry.methods(plugins).values()
    return sorted(entry.name for entry in found if not plugins or entry.source.resolve() in files)


def _parameters(words: list[str], task: str, method: str, plugins: list[Path]) -> dict[str, Any]:
    from bench.config.settings import split_settings
    from bench.errors import BenchError

    tables = split_settings(words, task, method, plugins)
    if tables["model"] or tables["training"]:
        raise BenchError(f"--set {' '.join(words)}: 'check' takes parameters of the method {method!r} alone")
    return tables["parameters"]
