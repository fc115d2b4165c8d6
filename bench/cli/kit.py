"""The commands of those who write methods, tasks and figures: ``check`` and ``new``."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from bench.cli.options import PATH, one_of
from bench.errors import BenchError, choices

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Methods and tasks to check; if left out those of --plugin, or without one all methods."
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", **PATH, help="A Python file of methods, tasks or figures; may be given repeatedly."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        help="Only this task, of the file or to check methods on; may be given repeatedly. Left out: one a kind.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="name=value: a parameter of the method or task; may be given repeatedly."),
]


class Family(StrEnum):
    """What a new method starts from."""

    spectral = "spectral"
    width = "width"
    plain = "plain"


def check(name: Names = None, plugin: Plugins = None, task: Tasks = None, set_: Settings = None) -> None:
    """Check that methods and tasks keep what each of them promises, on tiny federations.

    Methods are checked on stand-in data of a task of each kind, tasks on their own data with the full model. Ends with
    code 0 if they do, 1 if a check fails, 2 if a method or task cannot be read.
    """
    from bench.conformance import TASKS, Subject, TaskSubject
    from bench.conformance.apart import Checker
    from bench.conformance.report import show, show_task

    plugins, tasks, out = plugin or [], tuple(dict.fromkeys(task or TASKS)), Console()
    methods, own_tasks = _named(name, plugins) if name else _of_files(plugins, task)
    given = {method: _parameters(set_ or [], tasks[0], method, plugins) for method in methods}
    shaped = {own: _parameters(set_ or [], own, "fedavg", plugins, "model") for own in own_tasks}
    for method in methods:
        for known in tasks:
            Subject(method, known, plugins, given[method])  # what is wrong is said before anything is run
    for own in own_tasks:
        TaskSubject(own, plugins, shaped[own])
    passed, checker = True, Checker(tuple(plugins), tasks)
    with contextlib.closing(checker):
        for own in own_tasks:
            with _working(out, f"checking {own}"):
                of_task = checker.check_task(own, shaped[own])
            show_task(of_task, out)
            passed = passed and not of_task.failures
        for method in methods:
            with _working(out, f"checking {method} on {', '.join(tasks)}"):
                report = checker.check(method, given[method])
            show(report, out)
            passed = passed and not report.failures
    raise typer.Exit(0 if passed else 1)


def _working(out: Console, what: str) -> contextlib.AbstractContextManager[object]:
    """Say what is being done: live on a terminal, in a line elsewhere, where nothing else shows for a minute."""
    if out.is_terminal:
        return out.status(escape(what))
    out.print(what, highlight=False, soft_wrap=True, markup=False)
    return contextlib.nullcontext()


def new(
    what: Annotated[str, typer.Argument(metavar="[method|task|figure]", help="What to write; a method if left out.")],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Its name, which is also its file's.")] = None,
    family: Annotated[
        Family | None,
        typer.Option(
            **one_of("--family", Family), help="What a method starts from; spectral if left out.", show_default=False
        ),
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
        "task": [f"check {name}{by_file}", f"run --task {name} --method prism --keep 0.5{by_file}"],
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


def _named(names: list[str], plugins: list[Path]) -> tuple[list[str], list[str]]:
    """Return which of the names are methods, and which are tasks; what is neither is taken for a method."""
    from bench.plugins import registry

    registry.check(plugins)
    methods, tasks = registry.methods(plugins), registry.tasks(plugins)
    for name in names:
        if name not in methods and name not in tasks:
            usable = sorted(entry.name for entry in methods.values() if entry.kind)
            raise BenchError(
                f"unknown method {name!r}, and no task; {choices(name, [*usable, *sorted(tasks)])}; a file of yours is "
                "named by --plugin"
            )
    once = list(dict.fromkeys(names))
    return [name for name in once if name in methods], [name for name in once if name not in methods]


def _of_files(plugins: list[Path], only: list[str] | None) -> tuple[list[str], list[str]]:
    """Return the methods and tasks of the files that the user named, or all methods where there are none.

    Args:
        plugins: the files.
        only: the names of tasks to which the user keeps; None for all.
    """
    from bench.plugins import registry

    files = {path.resolve() for path in plugins}
    found = registry.methods(plugins).values()
    methods = sorted(entry.name for entry in found if not plugins or entry.source.resolve() in files)
    own = sorted(entry.name for entry in registry.tasks(plugins).values() if entry.source.resolve() in files)
    tasks = [name for name in own if only is None or name in only]
    for name in only or []:
        registry.task(name, plugins)  # a BenchError where there is none
    if plugins and not methods and not tasks:
        registry.check(plugins)
        held = f"its tasks are {', '.join(map(repr, own))}" if own else "it has no method and no task"
        raise BenchError(f"{', '.join(map(str, plugins))}: {held}, so that there is nothing to check")
    return methods, tasks


def _parameters(
    words: list[str], task: str, method: str, plugins: list[Path], table: str = "parameters"
) -> dict[str, Any]:
    """Return what ``--set`` says of a method, or of a task (``table`` is then "model")."""
    from bench.config.settings import split_settings

    tables = split_settings(words, task, method, plugins)
    if any(values for name, values in tables.items() if name != table):
        whose = f"the method {method!r}" if table == "parameters" else f"the task {task!r}"
        raise BenchError(f"--set {' '.join(words)}: 'check' takes parameters of {whose} alone")
    return tables[table]
