"""Checks what the cells of a sweep have in common once: thousands of cells are made of few tables of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config.validation import checked, without_defaults
from bench.errors import BenchError, at
from bench.plugins import registry
from bench.plugins.registry import MethodEntry, TaskEntry
from bench.tasks.base import Recipe

if TYPE_CHECKING:
    from bench.budget.finder import Finder

Table = Mapping[str, Any]


class Checks:
    """What was found to be right so far, by what was written.

    Args:
        plugins: files of methods and tasks the user named.
        finds: whether the keep ratios of cells at a budget are found, which may take a while.
    """

    def __init__(self, plugins: Iterable[Path] = (), finds: bool = True) -> None:
        self.plugins, self.finds = tuple(plugins), finds
        self._methods: dict[str, MethodEntry] = {}
        self._tasks: dict[str, TaskEntry] = {}
        self._recipes: dict[tuple[str, ...], tuple[Recipe, dict[str, Any]]] = {}
        self._tables: dict[tuple[str, ...], dict[str, Any]] = {}

    @cached_property
    def finder(self) -> Finder:
        """Finds the keep ratios of cells at a budget, each once."""
        from bench.budget.finder import Finder  # counting needs PyTorch, and most sweeps have no budget

        return Finder(self.plugins)

    def method(self, name: str, place: str) -> MethodEntry:
        """Return a method; a BenchError where there is none of that name that can be used."""
        if name not in self._methods:
            with at(place):
                self._methods[name] = registry.method(name, self.plugins)
        return self._methods[name]

    def task(self, name: str, place: str) -> TaskEntry:
        """Return a task; a BenchError where there is none of that name that can be used."""
        if name not in self._tasks:
            with at(place):
                self._tasks[name] = registry.task(name, self.plugins)
        return self._tasks[name]

    def training(self, task: TaskEntry, tier: str, given: Table, place: str) -> tuple[Recipe, dict[str, Any]]:
        """Return the recipe of a tier with the changes given, and those that change something."""
        key = task.name, tier, _written(given)
        if key not in self._recipes:
            usual = task.kind.tiers[tier]
            changes = checked(Recipe, given, f"{place}, training")
            recipe = dataclasses.replace(usual, **changes)
            if recipe.cohort > recipe.clients:
                raise BenchError(
                    f"{place}, training: cohort = {recipe.cohort} is not possible; "
                    f"allowed: 1 to clients = {recipe.clients}"
                )
            self._recipes[key] = recipe, without_defaults(Recipe, changes, dataclasses.asdict(usual))
        return self._recipes[key]

    def model(self, task: TaskEntry, tier: str, given: Table, place: str) -> dict[str, Any]:
        """Return the parameters of a task that differ from its tier's."""
        key = "model", task.name, tier, _written(given)
        if key not in self._tables:
            usual = task.kind.tier_params.get(tier, {})
            right = checked(task.kind.Params, given, f"{place}, model of {task.name}", usual)
            self._tables[key] = without_defaults(task.kind.Params, right, usual)
        return self._tables[key]

    def parameters(self, method: MethodEntry, given: Table, place: str) -> dict[str, Any]:
        """Return the parameters of a method that differ from the paper's."""
        assert method.kind is not None
        key = "parameters", method.name, _written(given)
        if key not in self._tables:
            right = checked(method.kind.Params, given, f"{place}, parameters of {method.name}")
            self._tables[key] = without_defaults(method.kind.Params, right)
        return self._tables[key]


def _written(given: Table) -> str:
    """Return a table as it was written: 1, 1.0 and true are equal, and not the same."""
    return repr(dict(given))
