"""From what a user writes to checked cells."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import registry
from bench.cell import Cell
from bench.errors import BenchError, choices
from bench.tasks.base import Recipe
from bench.validation import checked, without_defaults

PARTITIONS = ("iid", "lda", "dirichlet", "natural")
DATA = ("stand-in", "real")
AXES = ("task", "method", "keep", "partition", "alpha", "seed", "tier", "data")
TABLES = ("training", "model", "parameters")


@dataclass(frozen=True)
class Sweep:
    """A set of cells with a name.

    Attributes:
        name: the file's stem; results go to ``results/<name>``.
        title: what the figures are headed with.
        cells: the checked cells, each once, in the order of the file.
        figures: names of the figures to draw; None for all that can be drawn.
        last: how many of the last evaluations make the headline accuracy.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    figures: tuple[str, ...] | None = None
    last: int = 3


def make_cell(values: Mapping[str, Any], place: str, plugins: Iterable[Path] = ()) -> Cell:
    """Return a checked cell.

    Args:
        values: the axes ``task method keep partition alpha seed tier data`` and the tables ``training model
            parameters``; what is left out is the task's or method's default.
        place: where they were written, for errors.
        plugins: files of methods the user named.

    Raises:
        BenchError: something is unknown, of the wrong type or impossible.
    """
    for name in values:
        if name not in (*AXES, *TABLES):
            raise BenchError(f"{place}: unknown key {name!r}; {choices(name, (*AXES, *TABLES))}")
    for name in ("task", "method"):
        if name not in values:
            raise BenchError(f"{place}: {name!r} is missing; every cell names a task and a method")
    task = _named(lambda: registry.task(str(values["task"])), place)
    method = _named(lambda: registry.method(str(values["method"]), plugins), place)
    assert method.kind is not None
    tier = _one_of("tier", values.get("tier", "quick"), tuple(task.kind.tiers), place)
    partition, alpha = _partition(values, task.kind.partition, place)
    recipe, usual_model = task.kind.tiers[tier], task.kind.tier_params.get(tier, {})
    usual_recipe = dataclasses.asdict(recipe)
    training = checked(Recipe, values.get("training", {}), f"{place}, training")
    model = checked(task.kind.Params, values.get("model", {}), f"{place}, model of {task.name}")
    parameters = checked(method.kind.Params, values.get("parameters", {}), f"{place}, parameters of {method.name}")
    return Cell(
        task=task.name,
        method=method.name,
        keep=_keep(values.get("keep", 1.0), place) if method.kind.uses_keep else 1.0,
        partition=partition,
        alpha=alpha,
        seed=_seed(values.get("seed", 0), place),
        tier=tier,
        data=_one_of("data", values.get("data", "stand-in" if tier == "quick" else "real"), DATA, place),
        training=without_defaults(Recipe, training, usual_recipe),
        model=without_defaults(task.kind.Params, model, usual_model),
        parameters=without_defaults(method.kind.Params, parameters),
    )


def read_sweep(path: Path, plugins: Iterable[Path] = ()) -> Sweep:
    """Read a sweep file.

    ``[common]`` holds for all cells; each ``[[cells]]`` table is a grid: every value that is a list is an axis, in the
    tables ``training`` and ``model`` too; ``[cells.parameters.<method>]`` sets parameters of one method. Cells that
    come out equal are run once (a method that trains the full model ignores the keep ratio).

    Raises:
        BenchError: the file is missing, not TOML, or names something that does not exist.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        near = choices(path, sorted(str(file) for file in path.parent.glob("*.toml"))) if path.parent.is_dir() else ""
        raise BenchError(f"{path}: cannot be read: {error.strerror}; {near}".rstrip("; ")) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: not a TOML file: {error}") from None
    allowed = ("title", "common", "cells", "figures", "last")
    for name in values:
        if name not in allowed:
            raise BenchError(f"{path}: unknown key {name!r}; {choices(name, allowed)}")
    grids = values.get("cells")
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise BenchError(f"{path}: it has no [[cells]] table; at least one is needed")
    common = _table(values.get("common", {}), f"{path}, common")
    plugins = tuple(plugins)
    cells: dict[Cell | str, Cell] = {}
    for number, grid in enumerate(grids, 1):
        place = f"{path}, cells {number}"
        for values_ in _expanded({**common, **grid}, place):
            cell = make_cell(values_, place, plugins)
            cells.setdefault(cell.identity, cell)
    return Sweep(
        name=path.stem,
        title=str(values.get("title", path.stem)),
        cells=tuple(cells.values()),
        figures=tuple(values["figures"]) if "figures" in values else None,
        last=_whole("last", values.get("last", 3), str(path)),
    )


def _expanded(grid: Mapping[str, Any], place: str) -> Iterator[dict[str, Any]]:
    """Yield the cells of one grid, the first axis slowest."""
    tables = {name: _table(grid.get(name, {}), f"{place}, {name}") for name in TABLES}
    for name in grid:
        if name not in (*AXES, *TABLES):
            raise BenchError(f"{place}: unknown key {name!r}; {choices(name, (*AXES, *TABLES))}")
    methods = _as_list(grid.get("method", []))
    for name in tables["parameters"]:
        if name not in methods:
            raise BenchError(f"{place}, parameters: {name!r} is not a method of this grid; {choices(name, methods)}")
    axes = {name: grid[name] for name in AXES if name in grid}
    for values in _product(axes, place):
        own = _table(tables["parameters"].get(str(values.get("method")), {}), f"{place}, parameters")
        for training, model, parameters in itertools.product(
            _product(tables["training"], place), _product(tables["model"], place), _product(own, place)
        ):
            yield {**values, "training": training, "model": model, "parameters": parameters}


def _product(axes: Mapping[str, Any], place: str) -> Iterator[dict[str, Any]]:
    for name, value in axes.items():
        if value == []:
            raise BenchError(f"{place}: {name} is an empty list; at least one value is needed")
    for values in itertools.product(*(_as_list(value) for value in axes.values())):
        yield dict(zip(axes, values, strict=True))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _table(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BenchError(f"{place}: {value!r} is not a table of names and values")
    return value


def _named(find: Any, place: str) -> Any:
    try:
        return find()
    except BenchError as error:
        raise BenchError(f"{place}: {error}") from None


def _one_of(name: str, value: Any, allowed: tuple[str, ...], place: str) -> str:
    if value not in allowed:
        raise BenchError(f"{place}: {name} = {value!r} is not possible; {choices(value, allowed)}")
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keep(value: Any, place: str) -> float:
    if not _is_number(value) or not 0 < value <= 1:
        raise BenchError(f"{place}: keep = {value!r} is not possible; allowed: a keep ratio above 0 and up to 1")
    return float(value)


def _seed(value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BenchError(f"{place}: seed = {value!r} is not possible; allowed: a whole number from 0")
    return value


def _whole(name: str, value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BenchError(f"{place}: {name} = {value!r} is not possible; allowed: a whole number from 1")
    return value


def _partition(values: Mapping[str, Any], usual: str, place: str) -> tuple[str, float | None]:
    """Return kind and concentration: alpha = inf is iid, and natural or iid partitions have none."""
    alpha = values.get("alpha")
    if alpha is not None and (not _is_number(alpha) or math.isnan(alpha) or alpha <= 0):
        raise BenchError(f"{place}: alpha = {alpha!r} is not possible; allowed: a number above 0, or inf for iid")
    kind = values.get("partition")
    if kind is None:
        kind = "lda" if alpha is not None and usual == "natural" else usual
    kind = _one_of("partition", kind, PARTITIONS, place)
    if kind == "natural" and alpha is not None:
        raise BenchError(f"{place}: alpha = {alpha!r} has no meaning for the partition 'natural'; leave it out")
    if kind == "iid" or (alpha is not None and math.isinf(alpha)) or (kind == "lda" and alpha is None):
        if kind == "iid" and alpha is not None and not math.isinf(alpha):
            raise BenchError(f"{place}: alpha = {alpha!r} has no meaning for the partition 'iid'; leave it out")
        return "iid", math.inf
    if kind == "dirichlet" and alpha is None:
        raise BenchError(f"{place}: the partition 'dirichlet' needs alpha, a number above 0")
    return kind, None if alpha is None else float(alpha)
