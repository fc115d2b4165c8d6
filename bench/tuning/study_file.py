"""A study file: which methods are tuned on what, with which budget, and what is searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from bench.config.cells import table
from bench.config.plugin_line import plugins_of
from bench.config.validation import checked
from bench.errors import BenchError, choices
from bench.parameters import parameter
from bench.toml_files import STUDY, check_keys, read_toml
from bench.tuning.pruning import PRUNERS, PrunerSettings
from bench.tuning.sampler import SamplerSettings
from bench.tuning.space import Search, make_search

COMMON = ("task", "keep", "capacity", "partition", "alpha", "tier", "data", "training", "model")
Settings = TypeVar("Settings", bound=PrunerSettings | SamplerSettings)


@dataclass(frozen=True)
class Budget:
    """What a study spends: the same for all its methods.

    Attributes:
        trials: of each method on each task.
        validation: share of each client's samples that is held out, and on which trials are judged.
        last: how many of the last evaluations make a cell's accuracy.
    """

    trials: int = parameter(20, "trials of each method on each task", low=1)
    validation: float = parameter(0.2, "share of each client's samples held out", above=0.0, high=0.5)
    last: int = parameter(3, "evaluations that make a cell's accuracy", low=1)


@dataclass(frozen=True)
class Study:
    """A checked study file.

    Attributes:
        path: the file.
        title: what the listing and the log call it.
        searches: one for each task and method, in the order of the file.
        budget: trials, validation share and evaluations averaged.
        seeds: seeds of each trial's cells.
        report_seeds: seeds of the report, which no trial has.
        sampler: how values are suggested.
        pruner: which trials end early; None: none.
        plugins: files of methods and tasks that the file names, and those that were given beside.
    """

    path: Path
    title: str
    searches: tuple[Search, ...]
    budget: Budget
    seeds: tuple[int, ...]
    report_seeds: tuple[int, ...]
    sampler: SamplerSettings
    pruner: PrunerSettings | None
    plugins: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The file's stem; results go to ``results/<name>``."""
        return self.path.stem


def read_study(path: Path, plugins: Iterable[Path] = ()) -> Study:
    """Read a study file.

    Raises:
        BenchError: the file is missing, not TOML, a sweep, or says something impossible.
    """
    values = read_toml(path, STUDY)
    keys = ("title", "seeds", "report_seeds", "common", "methods", "sampler", "pruner", "plugins")
    budget_keys = tuple(field.name for field in fields(Budget))
    check_keys(values, (*keys, *budget_keys), str(path))
    plugins = plugins_of(values, path, plugins)
    budget = {name: values[name] for name in budget_keys if name in values}
    seeds = _seeds("seeds", values.get("seeds", [0]), str(path))
    report_seeds = _seeds("report_seeds", values.get("report_seeds", [100, 101, 102]), str(path))
    both = sorted(set(seeds) & set(report_seeds))
    if both:
        raise BenchError(
            f"{path}: seeds and report_seeds share {', '.join(map(str, both))}; "
            "allowed: report_seeds that no trial has seen"
        )
    return Study(
        path=path,
        title=str(values.get("title", path.stem)),
        searches=_searches(values, path, plugins),
        budget=Budget(**checked(Budget, budget, str(path))),
        seeds=seeds,
        report_seeds=report_seeds,
        sampler=SamplerSettings(**_checked(SamplerSettings, values, "sampler", path)),
        pruner=_pruner(values, path),
        plugins=plugins,
    )


def _searches(values: Mapping[str, Any], path: Path, plugins: tuple[Path, ...]) -> tuple[Search, ...]:
    common = dict(table(values.get("common", {}), f"{path}, common"))
    check_keys(common, COMMON, f"{path}, common")
    tasks = common.pop("task", [])
    tasks = tasks if isinstance(tasks, list) else [tasks]
    if not tasks:
        raise BenchError(f"{path}, common: 'task' is missing; a study names at least one task")
    for name, value in common.items():
        for inner, given in value.items() if isinstance(value, dict) else [(name, value)]:
            if isinstance(given, list):
                raise BenchError(f"{path}, common: {inner} = {given!r} is not possible; allowed: one value, not a list")
    if "validation" in table(common.get("training", {}), f"{path}, common, training"):
        raise BenchError(f"{path}, common, training: validation stands at the head of a study file")
    if "methods" not in values:
        raise BenchError(f"{path}: 'methods' is missing; a study names at least one, for example [methods.prism]")
    methods = values["methods"]
    if isinstance(methods, list) and all(isinstance(name, str) for name in methods):
        methods = {name: {} for name in methods}
    if not isinstance(methods, dict) or not methods:
        raise BenchError(
            f"{path}: methods = {methods!r} is not possible; allowed: a list of names, or a table for each"
        )
    searches = tuple(
        make_search(
            str(task), label, table(own, f"{path}, methods, {label}"), common, f"{path}, methods, {label}", plugins
        )
        for task in dict.fromkeys(tasks)
        for label, own in methods.items()
    )
    first: dict[str, Search] = {}
    for search in searches:
        other = first.setdefault(search.slug, search)
        if other is not search:
            raise BenchError(
                f"{path}, methods: {other.label!r} and {search.label!r} would have the same files, {search.slug!r}; "
                "give one of them another name"
            )
    return searches


def _pruner(values: Mapping[str, Any], path: Path) -> PrunerSettings | None:
    given = table(values.get("pruner", {}), f"{path}, pruner")
    kind = given.get("kind", "median")
    if kind not in (*PRUNERS, "none"):
        raise BenchError(f"{path}, pruner: kind = {kind!r} is not possible; {choices(kind, (*PRUNERS, 'none'))}")
    own = {name: value for name, value in given.items() if name != "kind"}
    if kind == "none":
        if own:
            raise BenchError(f"{path}, pruner: {next(iter(own))!r} means nothing where nothing is pruned; leave it out")
        return None
    return PRUNERS[kind](**_checked(PRUNERS[kind], {"pruner": own}, "pruner", path))


def _checked(kind: type, values: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    place = f"{path}, {name}"
    return checked(kind, table(values.get(name, {}), place), place)


def _seeds(name: str, values: Any, place: str) -> tuple[int, ...]:
    values = values if isinstance(values, list) else [values]
    right = all(isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 for seed in values)
    if not right or not values or len(set(values)) < len(values):
        raise BenchError(f"{place}: {name} = {values!r} is not possible; allowed: different whole numbers from 0")
    return tuple(values)
