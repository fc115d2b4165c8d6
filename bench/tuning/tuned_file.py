"""The sweep file that a study ends with: the papers' values and the chosen ones, on seeds that no trial has seen."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from bench.cell import Cell
from bench.errors import StorageError
from bench.files import write_whole
from bench.tuning.space import Search
from bench.tuning.study_file import Study
from bench.tuning.tables import Trials, best_of

PAPER, TUNED = "paper", "tuned"


@dataclass(frozen=True)
class Choice:
    """The values of one search that are compared on the report's seeds.

    Attributes:
        search: the method on a task.
        best: its best trial; None where none is complete.
    """

    search: Search
    best: FrozenTrial | None

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """Values by what they are called; "tuned" is left out where there is none, or where it is the papers'."""
        paper = self.search.paper
        if self.best is None or self.best.params == paper:
            return {PAPER: paper}
        return {PAPER: paper, TUNED: {name: self.best.params[name] for name in paper}}

    def cells(self, study: Study, plugins: tuple[Path, ...]) -> dict[str, list[Cell]]:
        """Return the cells by what their values are called: evaluated on the test set, without a validation split."""
        return {
            name: [self.search.cell(values, seed, plugins=plugins) for seed in study.report_seeds]
            for name, values in self.values.items()
        }


def chosen(trials: Trials) -> list[Choice]:
    """Return what is to be compared."""
    return [Choice(search, best_of(own)) for search, own in trials]


def check_place(path: Path) -> None:
    """Make sure that the sweep file can be written, before hours are spent on what it is to say.

    Raises:
        StorageError: it cannot.
    """
    probe = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"{path}: the sweep file cannot be written: {error.strerror or error}") from None


def write_tuned(path: Path, study: Study, choices: list[Choice]) -> None:
    """Write the sweep file; the same study gives the same bytes.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, tuned_text(study, choices, path.parent).encode())
    except OSError as error:
        raise StorageError(f"{path}: the sweep file cannot be written: {error.strerror or error}") from None


def tuned_text(study: Study, choices: list[Choice], folder: Path = Path()) -> str:
    """Return the text of the sweep file, which names its plugins as they are seen from a folder."""
    plugins = [Path(os.path.relpath(plugin, folder)).as_posix() for plugin in study.plugins]
    lines = [
        f"# Written by 'bench tune {study.path.as_posix()}': change that file and not this one, which it writes anew.",
        "# The papers' values and those chosen on held-out samples of the clients, on seeds that no trial has seen,",
        "# evaluated on the test set.",
        "",
        f"title = {toml(f'{study.title}: tuned')}",
        f"last = {study.budget.last}",
        'figures = ["training-curves"]',
        *([f"plugins = {toml(plugins)}"] if plugins else []),
        "",
        "[common]",
        f"seed = {toml(list(study.report_seeds))}",
    ]
    for choice in choices:
        for name, values in choice.values.items():
            lines += ["", _comment(choice, name, values), "[[cells]]", *_grid(choice.search.settings(values))]
    return "\n".join(lines) + "\n"


def _comment(choice: Choice, name: str, values: Mapping[str, Any]) -> str:
    search, best = choice.search, choice.best
    whose = f"# {search.name}, {name}: {search.in_words(values)}"
    if best is None:
        return f"{whose}; no trial is complete"
    if name == TUNED or TUNED not in choice.values:
        return f"{whose}; the best is trial {best.number}, validation accuracy {best.value:.2%}"
    return whose


def _grid(settings: Mapping[str, Any]) -> list[str]:
    """Return the lines of a grid."""
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    tables = {name: value for name, value in settings.items() if isinstance(value, Mapping) and value}
    if "parameters" in tables:
        tables["parameters"] = {settings["method"]: tables["parameters"]}
    ordered = {name: plain.pop(name) for name in ("task", "method")} | plain
    return [f"{name} = {toml(value)}" for name, value in {**ordered, **tables}.items()]


def toml(value: Any) -> str:
    """Return a value as TOML has it.

    >>> toml({"lr": 1e-05, "sigma": "frozen", "drop_last": True})
    '{ lr = 1e-05, sigma = "frozen", drop_last = true }'
    """
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {toml(item)}" for name, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _key(name: str) -> str:
    bare = all(character.isascii() and (character.isalnum() or character in "_-") for character in name)
    return name if bare and name else json.dumps(name, ensure_ascii=False)
