"""What a study searches: the parameters of one method on one task."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api import Method
from bench.cell import Cell
from bench.config.cells import make_cell
from bench.config.validation import checked, without_defaults
from bench.errors import BenchError, choices
from bench.plugins import registry
from bench.tasks.base import Recipe
from bench.tuning.dimension import Dimension, Field, read_dimension
from bench.tuning.words import in_words

SHARED = (
    "rounds",
    "clients",
    "cohort",
    "samples_per_client",
    "users_per_client",
    "validation",
    "evaluate_every",
    "evaluation_batch",
    "standin_train",
    "standin_test",
)
"""What of the training no method has for itself: a budget of its own, or other data to learn from or be judged on."""


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
    def name(self) -> str:
        """The search in words."""
        return f"{self.label} on {self.task}"

    @property
    def slug(self) -> str:
        """The same as a part of a file name."""
        return re.sub(r"[^a-z0-9.]+", "-", f"{self.task} {self.label}".lower()).strip("-")

    @property
    def paper(self) -> dict[str, Any]:
        """The values that the papers have: those of trial 0."""
        return {dimension.name: dimension.paper for dimension in self.space}

    def in_words(self, values: Mapping[str, Any]) -> str:
        """Return values of the searched parameters as a line, by the names they have in the papers."""
        return in_words({dimension.symbol: values[dimension.name] for dimension in self.space})

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return searched values as the keys of a cell; the papers' are left out where that means the same."""
        chosen: dict[str, dict[str, Any]] = {
            "parameters": dict(self.fixed),
            "training": dict(self.common.get("training", {})),
        }
        for dimension in self.space:
            if not (dimension.implied and values == self.paper):
                chosen[dimension.owner][dimension.name] = values[dimension.name]
        return {**self.common, "task": self.task, "method": self.method, **chosen}

    def cell(self, values: Mapping[str, Any], seed: int, validation: float = 0.0, plugins: Iterable[Path] = ()) -> Cell:
        """Return the cell with these values of the searched parameters."""
        settings = self.settings(values)
        if validation:
            settings["training"] = {**settings["training"], "validation": validation}
        return make_cell({**settings, "seed": seed}, self.name, plugins)


def make_search(
    task: str, label: str, values: Mapping[str, Any], common: Mapping[str, Any], place: str, plugins: Iterable[Path]
) -> Search:
    """Return a checked search.

    Args:
        task: the task's name.
        label: what the study file calls the method or its variant.
        values: its table in the study file: ``method`` (the label if left out), fixed values, and tables of ranges.
            Parameters that have a range of their own and a known start are searched if they are left out.
        common: axes and tables of its cells.
        place: where it was written, for errors.
        plugins: files of methods and tasks the user named.

    Raises:
        BenchError: something is unknown, a range is empty or nothing is searched.
    """
    method, plugins = str(values.get("method", label)), tuple(plugins)
    bare = make_cell({**common, "task": task, "method": method}, place, plugins)
    kind = registry.method(method, plugins).kind
    assert kind is not None
    task_kind = registry.task(task, plugins).kind
    known = _fields(kind)
    given = {_named(name, known, place): value for name, value in values.items() if name != "method"}
    fixed = {
        owner: checked(
            owner_kind,
            {
                field.name: given[field]
                for field in given
                if field.owner == owner and not isinstance(given[field], dict)
            },
            f"{place}, {owner} of {method}",
        )
        for owner, owner_kind in (("parameters", kind.Params), ("training", Recipe))
    }
    searched = {field: value for field, value in given.items() if isinstance(value, dict)}
    # What a parameter means on the task follows from the training that the method's own cells have in trial 0.
    starting = {field: value["paper"] for field, value in searched.items() if "paper" in value}
    starts = {field.name: value for field, value in starting.items() if field.owner == "training"}
    own_training = checked(Recipe, {**fixed["training"], **starts}, f"{place}, training of {method}")
    recipe = dataclasses.replace(task_kind.tiers[bare.tier], **{**bare.training, **own_training})
    usual = _usual(kind, recipe, kind.implied(task_kind(recipe)))
    for field in known:
        if field.owner == "parameters" and field.about.search and usual[field] is not None and field not in given:
            searched[field] = {}
    if not searched:
        raise BenchError(
            f"{place}: nothing is searched; name a parameter and its range, for example lr = {{ low = 0.01, high = 1 }}"
        )
    space = tuple(
        read_dimension(field, usual[field], searched[field], fixed[field.owner], f"{place}, {field.name}")
        for field in known
        if field in searched
    )
    own = {**common, "training": {**common.get("training", {}), **fixed["training"]}}
    search = Search(task, method, label, own, without_defaults(kind.Params, fixed["parameters"]), space)
    search.cell(search.paper, 0, plugins=plugins)
    return search


def _fields(kind: type[Method]) -> list[Field]:
    """Return what may be fixed or searched: the parameters of the method, then those of the training."""
    own = [Field(field.name, "parameters", kind.Params) for field in dataclasses.fields(kind.Params)]
    taken = {*SHARED, *(field.name for field in own)}
    training = [field.name for field in dataclasses.fields(Recipe) if field.name not in taken]
    return own + [Field(name, "training", Recipe) for name in training]


def _usual(kind: type[Method], recipe: Recipe, implied: Mapping[str, Any]) -> dict[Field, Any]:
    """Return the paper's value of each parameter; None where it is not known."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind.Params)}
    owners = {"parameters": {**defaults, **implied}, "training": dataclasses.asdict(recipe)}
    return {field: owners[field.owner][field.name] for field in _fields(kind)}


def _named(name: str, known: list[Field], place: str) -> Field:
    """Return the parameter with a name, its own or that in the paper."""
    for field in known:
        if name in (field.name, field.about.alias):
            return field
    if name in SHARED:
        where = "at the head of the file" if name == "validation" else "in [common], training"
        raise BenchError(f"{place}: {name} is the same for all methods: it belongs {where}")
    allowed = [field.about.alias or field.name for field in known]
    raise BenchError(f"{place}: unknown parameter {name!r}; {choices(name, ['method', *allowed])}")
