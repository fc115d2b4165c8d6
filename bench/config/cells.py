"""From what a user writes to checked cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.budget.written import budgets_in
from bench.cell import Cell
from bench.config.checks import Checks
from bench.config.drawing import FULL_MODEL, colours_of, known_reference
from bench.config.plugin_line import plugins_of
from bench.errors import BenchError, at, choices
from bench.federation import pachinko
from bench.federation.capacity import Capacities, mean_keep
from bench.federation.partition import CONCENTRATED, CONVENTIONS, LARGEST_ALPHA, LEAST_ALPHA
from bench.federation.profiles import KEEP_RATIO, read_profile
from bench.plugins import registry
from bench.tasks.base import Task
from bench.toml_files import SWEEP, check_keys, read_toml
from bench.written import LARGEST_WHOLE, LEAST_KEEP, plain, rounded

DATA = ("stand-in", "real")
DIAGNOSTICS = ("basic", "errors", "cosine", "all")
CAPACITY = ("fixed", "dynamic", "dealt")
ALPHA = f"a number from {LEAST_ALPHA:g} to {LARGEST_ALPHA:g}, or inf for iid"
AXES = ("task", "method", "keep", "budget", "capacity", "partition", "alpha", "seed", "tier", "data", "diagnostics")
TABLES = ("training", "model", "parameters")
KEYS = ("title", "common", "cells", "figures", "last", "plugins", "colours", "reference")


@dataclass(frozen=True)
class Sweep:
    """A set of cells with a name.

    Attributes:
        name: the file's stem; results go to ``results/<name>``.
        title: what the listing and the log call it.
        cells: the checked cells, each once, in the order of the file.
        figures: names of the figures to draw; None for all that can be drawn.
        last: how many of the last evaluations make the headline accuracy.
        plugins: files of methods, tasks and figures that the file names, and those that were given beside.
        colours: of methods in figures, by name, those that methods name for themselves included.
        reference: a method or label that the figure ``gap`` subtracts.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    figures: tuple[str, ...] | None = None
    last: int = 3
    plugins: tuple[Path, ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    reference: str = "fedavg"


def make_cell(values: Mapping[str, Any], place: str, plugins: Iterable[Path] = ()) -> Cell:
    """Return a checked cell.

    Args:
        values: the axes ``task method keep budget capacity partition alpha seed tier data diagnostics``, the tables
            ``training model parameters``; what is left out is the task's or method's default.
        place: where they were written, for errors.
        plugins: files of methods and tasks the user named.

    Raises:
        BenchError: something is unknown, of the wrong type or impossible.
    """
    with at(place):
        values = plain(values)
    return _cell(table(values, place), place, Checks(plugins))


def read_sweep(path: Path, plugins: Iterable[Path] = (), finds: bool = True) -> Sweep:
    """Read a sweep file.

    ``[common]`` holds for all cells, where a grid does not say otherwise; each ``[[cells]]`` table is a grid: every
    value that is a list is an axis, in the tables ``training`` and ``model`` too; ``[cells.parameters.<method>]`` sets
    parameters of one method. Cells that come out equal are run once (a method that trains the full model ignores the
    keep ratio). ``plugins`` names files of methods, tasks and figures, relative to the sweep file.

    Args:
        path: the file.
        plugins: files of methods, tasks and figures the user named.
        finds: whether the keep ratios of cells at a budget are found; without that such cells can be counted alone.

    Raises:
        BenchError: the file is missing, not TOML, a study, or names something that does not exist.
    """
    values = read_toml(path, SWEEP)
    check_keys(values, KEYS, str(path))
    grids = values.get("cells")
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise BenchError(f"{path}: it has no [[cells]] table; at least one is needed")
    common = table(values.get("common", {}), f"{path}, common")
    check_keys(common, (*AXES, *TABLES), f"{path}, common")
    plugins = plugins_of(values, path, plugins)
    checks = Checks(plugins, finds)
    cells: dict[str, Cell] = {}
    for number, grid in enumerate(grids, 1):
        place = f"{path}, cells {number}"
        for values_ in _expanded(_merged(common, grid), place):
            cell = _cell(values_, place, checks)
            cells.setdefault(cell.identity, cell)
    return Sweep(
        name=path.stem,
        title=_words("title", [values.get("title", path.stem)], str(path))[0],
        cells=tuple(cells.values()),
        figures=known_figures(_words("figures", values["figures"], str(path)), str(path), plugins)
        if "figures" in values
        else None,
        last=_whole("last", values.get("last", 3), str(path)),
        plugins=plugins,
        colours=colours_of(values, path, plugins),
        reference=known_reference(values.get("reference", "fedavg"), cells.values(), f"{path}: reference"),
    )


def _cell(values: Mapping[str, Any], place: str, checks: Checks) -> Cell:
    check_keys(values, (*AXES, *TABLES), place)
    for name in ("task", "method"):
        if name not in values:
            raise BenchError(f"{place}: {name!r} is missing; every cell names a task and a method")
    task = checks.task(str(values["task"]), place)
    method = checks.method(str(values["method"]), place)
    assert method.kind is not None
    tier = _one_of("tier", values.get("tier", "quick"), tuple(task.kind.tiers), place)
    partition, alpha = _partition(values, *task.kind.tier_partitions.get(tier, (task.kind.partition, None)), place)
    tables = {name: table(values.get(name, {}), f"{place}, {name}") for name in TABLES}
    recipe, training = checks.training(task, tier, tables["training"], place)
    model = checks.model(task, tier, tables["model"], place)
    parameters = checks.parameters(method, tables["parameters"], place)
    capacity = _one_of("capacity", values.get("capacity", "fixed"), CAPACITY, place)
    clients = None if capacity == "dynamic" else recipe.clients
    keep, capacities = _keep(values.get("keep", 1.0), clients, place)
    budget = _budget(values, clients, place)
    if not method.kind.uses_keep:
        keep, capacities = 1.0, ()
    if method.name == FULL_MODEL:  # every comparison's reference, whatever the others may take
        budget = ""
    cell = Cell(
        task=task.name,
        method=method.name,
        keep=keep,
        capacities=capacities,
        capacity=capacity if capacities or ":" in budget else "fixed",
        partition=partition,
        alpha=alpha,
        seed=_seed(values.get("seed", 0), place),
        tier=tier,
        data=_data(values, tier, task.kind, place),
        diagnostics=_one_of("diagnostics", values.get("diagnostics", "basic"), DIAGNOSTICS, place),
        training=training,
        model=model,
        parameters=parameters,
        budget=budget,
    )
    return checks.finder.at(cell) if budget and method.kind.uses_keep and checks.finds else cell


def _budget(values: Mapping[str, Any], clients: int | None, place: str) -> str:
    """Return the budget in words, empty where there is none; it takes the place of a keep ratio."""
    if "budget" not in values:
        return ""
    if "keep" in values:
        raise BenchError(f"{place}: keep and budget are both given; allowed: one, since a budget finds the keep ratio")
    with at(place):
        found = budgets_in(values["budget"], clients)
    if len(found) != 1:
        raise BenchError(f"{place}: budget = {values['budget']!r} is not possible; allowed: one budget for a cell")
    return found[0]


def _data(values: Mapping[str, Any], tier: str, task: type[Task], place: str) -> str:
    """Return "real" or "stand-in"; by default generated data for the tier "quick", where the task has some."""
    usual = "stand-in" if tier == "quick" and task.stand_in else "real"
    data = _one_of("data", values.get("data", usual), DATA, place)
    if data == "stand-in" and not task.stand_in:
        raise BenchError(
            f"{place}: data = 'stand-in' is not possible, the task {task.name!r} has none; allowed: 'real'"
        )
    return data


def _expanded(grid: Mapping[str, Any], place: str) -> Iterator[dict[str, Any]]:
    """Yield the cells of one grid, the first axis slowest."""
    tables = {name: table(grid.get(name, {}), f"{place}, {name}") for name in TABLES}
    check_keys(grid, (*AXES, *TABLES), place)
    methods = _as_list(grid.get("method", []))
    for name in tables["parameters"]:
        if name not in methods:
            raise BenchError(
                f"{place}, parameters: {name!r} is not a method of this grid, and parameters stand in a table of "
                f"their method; {choices(name, methods)}"
            )
    axes = {name: grid[name] for name in AXES if name in grid}
    if "budget" in axes:
        with at(place):
            axes["budget"] = budgets_in(axes["budget"])
    for values in _product(axes, place):
        name = str(values.get("method"))
        own = table(tables["parameters"].get(name, {}), f"{place}, parameters of {name}")
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


def table(value: Any, place: str) -> dict[str, Any]:
    """Return a value that has to be a table of names and values; a BenchError where it is not."""
    if not isinstance(value, dict):
        raise BenchError(f"{place}: {value!r} is not a table of names and values")
    return value


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, where they differ the second; tables within are merged alike."""
    both = {
        name: _merged(common[name], own[name])
        for name in common.keys() & own.keys()
        if isinstance(common[name], dict) and isinstance(own[name], dict)
    }
    return {**common, **own, **both}


def _words(name: str, values: Any, place: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BenchError(f"{place}: {name} = {values!r} is not possible; allowed: words in quotation marks")
    return tuple(values)


def known_figures(names: Iterable[str], place: str, plugins: Iterable[Path]) -> tuple[str, ...]:
    """Return names of figures, each once; a BenchError where there is no figure of a name."""
    names, known = tuple(dict.fromkeys(names)), registry.figure_names(plugins)
    for name in names:
        if name not in known:
            raise BenchError(f"{place}: unknown figure {name!r}; {choices(name, known)}")
    return names


def _one_of(name: str, value: Any, allowed: tuple[str, ...], place: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise BenchError(f"{place}: {name} = {value!r} is not possible; {choices(value, allowed)}")
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _keep(value: Any, clients: int | None, place: str) -> tuple[float, Capacities]:
    """Return the mean keep ratio and the capacities, which are empty where all clients are alike."""
    if isinstance(value, str):
        with at(place):
            capacities = read_profile(value, clients)
        return mean_keep(capacities), capacities if len(capacities) > 1 else ()
    if not _is_number(value) or not LEAST_KEEP <= value <= 1:
        raise BenchError(f"{place}: keep = {value!r} is not possible; allowed: {KEEP_RATIO}")
    return rounded(value), ()


def _seed(value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_WHOLE:
        raise BenchError(f"{place}: seed = {value!r} is not possible; allowed: a whole number from 0 to 2**63 - 1")
    return value


def _whole(name: str, value: Any, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BenchError(f"{place}: {name} = {value!r} is not possible; allowed: a whole number from 1")
    return value


def _partition(
    values: Mapping[str, Any], usual: str, usual_alpha: float | None, place: str
) -> tuple[str, float | None]:
    """Return kind and concentration: alpha = inf is iid, and "natural" and "iid-exact" have none."""
    alpha, named = values.get("alpha"), values.get("partition")
    if alpha is not None and not (_is_number(alpha) and (alpha == math.inf or LEAST_ALPHA <= alpha <= LARGEST_ALPHA)):
        raise BenchError(f"{place}: alpha = {alpha!r} is not possible; allowed: {ALPHA}")
    kind = ("lda" if alpha is not None and usual == "natural" else usual) if named is None else named
    with at(place):
        kind, fine_alpha = pachinko.read_kind(kind, LEAST_ALPHA, LARGEST_ALPHA)
    kind = _one_of("partition", kind, tuple(CONVENTIONS), place)
    if kind not in CONCENTRATED:
        if alpha is not None and (kind == "natural" or not math.isinf(alpha)):
            raise BenchError(f"{place}: alpha = {alpha!r} has no meaning for the partition {kind!r}; leave it out")
        return kind, math.inf if kind == "iid" else None
    if alpha is None and kind == usual:
        alpha = usual_alpha
    if alpha is None and named is not None:
        raise BenchError(f"{place}: the partition {kind!r} needs alpha, {ALPHA}")
    if alpha is None or math.isinf(alpha):
        return "iid", math.inf
    return pachinko.written(kind, fine_alpha), rounded(alpha)
