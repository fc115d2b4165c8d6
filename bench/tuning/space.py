"""What a study searches: the parameters of one method on one task, and where the paper stands among their values."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from bench import registry
from bench.api import Method
from bench.cell import Cell
from bench.config import make_cell, table
from bench.errors import BenchError, choices
from bench.parameters import about
from bench.tasks.base import Recipe
from bench.validation import checked, without_defaults

RANGE = ("low", "high", "log", "choices", "paper")


@dataclass(frozen=True)
class Dimension:
    """One searched parameter.

    Attributes:
        name: its field's name.
        owner: "parameters" (of the method) or "training".
        low, high: the range, both ends included; None where there are ``choices``.
        log: True where the search is on a logarithmic scale.
        whole: True for whole numbers.
        choices: the allowed values; empty where there is a range.
        paper: what trial 0 has.
        implied: True where ``paper`` is what the parameter means on the task when it is left out.
    """

    name: str
    owner: str
    paper: Any
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()
    implied: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of a dimension that has one."""
        assert self.low is not None and self.high is not None
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of those that are searched."""
        return value in self.choices if self.choices else self.bounds[0] <= value <= self.bounds[1]

    @property
    def extent(self) -> str:
        """What is searched, in words."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        return f"{self.bounds[0]:g} to {self.bounds[1]:g}"


@dataclass(frozen=True)
class Search:
    """One method on one task: what is fixed, and what is searched.

    Attributes:
        task: the task's name.
        method: the method's name.
        label: what the study file calls it: the method, or a variant of it.
        common: axes and tables of its cells.
        fixed: parameters of the method that are not searched, by name.
        space: what is searched.
    """

    task: str
    method: str
    label: str
    common: Mapping[str, Any]
    fixed: Mapping[str, Any]
    space: tuple[Dimension, ...]

    @property
    def paper(self) -> dict[str, Any]:
        """The values that the papers have: those of trial 0."""
        return {dimension.name: dimension.paper for dimension in self.space}

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return searched values as the keys of a cell; the papers' are left out where that means the same."""
        chosen: dict[str, dict[str, Any]] = {
            "parameters": dict(self.fixed),
            "training": dict(self.common.get("training", {})),
        }
        for dimension in self.space:
            value = values[dimension.name]
            if not (dimension.implied and values == self.paper):
                chosen[dimension.owner][dimension.name] = value
        return {**self.common, "task": self.task, "method": self.method, **chosen}

    def cell(self, values: Mapping[str, Any], seed: int, validation: float = 0.0, plugins: Iterable[Path] = ()) -> Cell:
        """Return the cell with these values of the searched parameters."""
        settings = self.settings(values)
        if validation:
            settings["training"] = {**settings["training"], "validation": validation}
        return make_cell({**settings, "seed": seed}, f"{self.label} on {self.task}", plugins)


def make_search(
    task: str, label: str, values: Mapping[str, Any], common: Mapping[str, Any], place: str, plugins: Iterable[Path]
) -> Search:
    """Return a checked search.

    Args:
        task: the task's name.
        label: what the study file calls the method or its variant.
        values: its table in the study file: ``method`` (the label if left out), fixed values, and tables of ranges.
        common: axes and tables of its cells.
        place: where it was written, for errors.
        plugins: files of methods the user named.

    Raises:
        BenchError: something is unknown, a range is empty or nothing is searched.
    """
    method = str(values.get("method", label))
    bare = make_cell({**common, "task": task, "method": method}, place, plugins)
    kind = registry.method(method, plugins).kind
    assert kind is not None
    task_kind = registry.task(task).kind
    recipe = dataclasses.replace(task_kind.tiers[bare.tier], **bare.training)
    owners: dict[str, type] = {"parameters": kind.Params, "training": Recipe}
    wanted: dict[str, dict[str, Any]] = {"parameters": {}, "training": {}}
    for name, value in values.items():
        if name != "method":
            owner, field = _field(name, owners, place)
            wanted[owner][field] = value
    fixed = {
        owner: checked(
            owners[owner],
            {name: value for name, value in given.items() if not isinstance(value, dict)},
            f"{place}, {owner} of {method}",
        )
        for owner, given in wanted.items()
    }
    usual = _usual(kind, recipe, task_kind(recipe), fixed["parameters"])
    for name, value in usual["parameters"].items():
        if value is not None and _about(kind.Params, name).search and name not in wanted["parameters"]:
            wanted["parameters"][name] = {}
    space = tuple(
        _dimension(name, owner, given, owners[owner], usual[owner][name], fixed[owner], f"{place}, {name}")
        for owner in owners
        for name, given in sorted(wanted[owner].items())
        if isinstance(given, dict)
    )
    if not space:
        raise BenchError(
            f"{place}: nothing is searched; name a parameter and its range, for example lr = {{ low = 0.01, high = 1 }}"
        )
    own = {**common, "training": {**common.get("training", {}), **fixed["training"]}}
    search = Search(task, method, label, own, without_defaults(kind.Params, fixed["parameters"]), space)
    search.cell(search.paper, 0, plugins=plugins)
    return search


def _usual(kind: type[Method], recipe: Recipe, task: Any, fixed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the papers' values by owner and name: a default, or what a missing value means on the task."""
    implied = kind.implied(task)
    parameters = {
        field.name: implied.get(field.name) if field.default is None else field.default
        for field in dataclasses.fields(kind.Params)
    }
    return {"parameters": {**parameters, **fixed}, "training": dataclasses.asdict(recipe)}


def _field(name: str, owners: Mapping[str, type], place: str) -> tuple[str, str]:
    """Return whose a parameter is and its field's name; the method's come first."""
    allowed: list[str] = []
    for owner, kind in owners.items():
        for field in dataclasses.fields(kind):
            names = [field.name, *filter(None, [about(field).alias])]
            if name in names:
                return owner, field.name
            allowed += names
    raise BenchError(f"{place}: unknown parameter {name!r}; {choices(name, ['method', *allowed])}")


def _dimension(
    name: str, owner: str, given: Mapping[str, Any], kind: type, usual: Any, fixed: Mapping[str, Any], place: str
) -> Dimension:
    """Return a searched parameter; what the file leaves out is as the parameter itself says."""
    for key in table(given, place):
        if key not in RANGE:
            raise BenchError(f"{place}: unknown key {key!r}; {choices(key, RANGE)}")
    own = _about(kind, name)
    paper = given.get("paper", usual)
    if paper is None:
        raise BenchError(f"{place}: what the paper's value is does not follow from the method; say paper = VALUE")
    implied = _default(kind, name) is None and paper == usual
    low, high = (given.get(end, bound) for end, bound in zip(("low", "high"), own.search or (None, None), strict=True))
    found = tuple(given.get("choices", _words(kind, name) if low is None and high is None else ()))
    if "choices" in given and ("low" in given or "high" in given):
        raise BenchError(f"{place}: choices and a range exclude each other; leave one out")
    if "choices" in given and len(set(map(repr, found))) < 2:
        raise BenchError(f"{place}: choices = {list(found)!r} leave nothing to search; at least two are needed")
    if not found and (low is None or high is None):
        raise BenchError(f"{place}: it has no range of its own; say low and high, or choices")
    whole = int in _types(kind, name)
    checks = {"paper": paper, **({"choices": found} if found else {"low": low, "high": high})}
    for key, values in checks.items():
        for value in values if key == "choices" else [values]:
            checked(kind, {**fixed, name: value}, f"{place}, {key}")
    if found:
        dimension = Dimension(name, owner, paper, choices=found, implied=implied)
    else:
        log = given.get("log", own.log)
        if low >= high:
            raise BenchError(f"{place}: low = {low!r} is not below high = {high!r}")
        if not isinstance(log, bool):
            raise BenchError(f"{place}: log = {log!r} is not possible; allowed: true or false")
        if log and low <= 0:
            raise BenchError(f"{place}: low = {low!r} has no logarithm; say log = false, or a low above 0")
        ends = (int(low), int(high)) if whole else (float(low), float(high))
        dimension = Dimension(
            name, owner, paper if whole else float(paper), *ends, log=log, whole=whole, implied=implied
        )
    if not dimension.holds(paper):
        raise BenchError(
            f"{place}: trial 0 has the paper's value, {paper!r}, which is not among those searched "
            f"({dimension.extent}); widen them, or say paper = VALUE"
        )
    return dimension


def _about(kind: type, name: str) -> Any:
    return about(next(field for field in dataclasses.fields(kind) if field.name == name))


def _default(kind: type, name: str) -> Any:
    return next(field.default for field in dataclasses.fields(kind) if field.name == name)


def _types(kind: type, name: str) -> tuple[Any, ...]:
    """Return the types that a field may have, None left out."""
    hint = typing.get_type_hints(kind)[name]
    parts = (hint,) if get_origin(hint) is Literal else get_args(hint) or (hint,)
    return tuple(part for part in parts if part is not NoneType)


def _words(kind: type, name: str) -> tuple[Any, ...]:
    """Return the values of a field that has but a few."""
    only = _types(kind, name)[0]
    if only is bool:
        return (False, True)
    return get_args(only) if get_origin(only) is Literal else ()
