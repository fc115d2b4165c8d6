"""The commands of those who write methods, tasks and figures: ``check`` and ``new``."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from bench.cli.options import PATH
from bench.errors import BenchError, choices

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
    what: Annotated[str, typer.Argument(metavar="[method|task|figure]", help="What to write; a method if left out.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Its name, which is also its file's.")] = None,
    family: Annotated[
        Family | None, typer.Option(help="What a method starts from; spectral if left out.", show_default=False)
    ] = None,
    folder: Annotated[
        Path, typer.Option(**PATH, help="Where the folders methods, tasks or figures, and tests are.")
    ] = Path("."),
) -> None:
    """Write methods/NAME.py, tasks/NAME.py or figures/NAME.py, which works as it stands, and tests/test_NAME.py."""
    from bench.scaffold import create

    kind, name = _kind_and_name(what, name)
    if family is not None and kind != "method":
        raise BenchError(f"--family {family.value}: methods alone have families, and this is a {kind}")
    source, test = create(kind, name, folder, (family or Family.spectral).value)
    by_file = "" if source.resolve().parent in _own_folders(kind) else f" --plugin {source}"
    commands = {
        "method": [f"check {name}{by_file}", f"run --task cnn-femnist --method {name} --keep 0.5{by_file}"],
        "task": [f"list tasks {name}{by_file}", f"run --task {name} --method prism --keep 0.5{by_file}"],
        "figure": [f"plot sweeps/quick.toml --figures {name}{by_file}"],
    }[kind]
    yours = {"method": "rule", "task": "data and model", "figure": "drawing"}[kind]
    lines = (
        f"wrote {source}",
        f"wrote {test}",
        f"next: write your own {yours} into {source}, then",
        f"  python -m pytest {test}",
        *(f"  python -m bench {command}" for command in commands),
    )
    for line in lines:
        Console().print(line, highlight=False, soft_wrap=True, markup=False)


def _kind_and_name(what: str, name: str | None) -> tuple[str, str]:
    """Return the kind and the name; a name alone is a method's."""
    from bench.scaffold import FOLDERS

    if name is None and what in FOLDERS:
        raise BenchError(f"new {what}: its name is missing; for example 'new {what} my_{what}'")
    if name is not None and what not in FOLDERS:
        raise BenchError(f"new: unknown kind {what!r}; {choices(what, FOLDERS)}")
    return ("method", what) if name is None else (what, name)


def _own_folders(kind: str) -> set[Path]:
    """Return the folders whose files need no ``--plugin``."""
    import bench.tasks
    from bench.plugins import registry

    figures = Path(str(bench.tasks.__file__)).parents[1] / "figures"
    paths = {"method": registry.own_methods().__path__, "task": bench.tasks.__path__, "figure": [str(figures)]}
    return {Path(path).resolve() for path in paths[kind]}


def _names(plugins: list[Path]) -> list[str]:
    """Return the methods of the files that the user named, or all methods."""
    from bench.plugins import registry

    files = {path.resolve() for path in plugins}
    found = registry.methods(plugins).values()
    return sorted(entry.name for entry in found if not plugins or entry.source.resolve() in files)


def _parameters(words: list[str], task: str, method: str, plugins: list[Path]) -> dict[str, Any]:
    from bench.config.settings import split_settings

    tables = split_settings(words, task, method, plugins)
    if tables["model"] or tables["training"]:
        raise BenchError(f"--set {' '.join(words)}: 'check' takes parameters of the method {method!r} alone")
    return tables["parameters"]
