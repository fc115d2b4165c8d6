"""The keep ratios of cells at a budget, each counted once: in this process, and on disk until the code changes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.budget.fitting import LEAST, Counted, Fit, Scale, fits
from bench.budget.told import say
from bench.budget.written import Budget, read_budget
from bench.cell import Cell
from bench.data.cache import root
from bench.files import write_whole
from bench.plugins import registry

COUNTS = ("batch_size", "momentum", "recompute", "local_epochs", "drop_last", "rounds")
"""What of a recipe a count may depend on: memory, operations, and what methods draw for each step or round."""
ROOMS = ("api", "budget", "cost", "families", "models", "spectral", "tasks")
"""What a count depends on, beside the methods and the user's files."""


class Finder:
    """Finds what fits.

    Args:
        plugins: files of methods and tasks the user named.
    """

    def __init__(self, plugins: Iterable[Path] = ()) -> None:
        self.plugins = tuple(plugins)
        self._scales: dict[str, Scale] = {}
        self._counted: dict[str, Counted] = {}
        self._fits: dict[str, tuple[Fit, ...]] = {}
        self._has_told = False

    def at(self, cell: Cell) -> Cell:
        """Return a cell that has a budget with the keep ratios that were found for it.

        Where no sub-model fits, or the method cannot be counted, the keep ratio is the least that is tried: running the
        cell says why it is skipped or failed.
        """
        budget = read_budget(cell.budget)
        try:
            found = self.fits(cell)
        except Exception:  # a method may raise anything: the cell will say so when it is run
            found = tuple(Fit(None, {}) for _ in budget.shares)
        keeps = [LEAST if fit.keep is None else fit.keep for fit in found]
        if len(keeps) == 1:
            return replace(cell, keep=keeps[0], capacities=())
        pairs = tuple(zip(keeps, budget.shares, strict=True))
        mean = round(sum(keep * share for keep, share in pairs), 12)
        return replace(cell, keep=mean, capacities=pairs)

    def fits(self, cell: Cell) -> tuple[Fit, ...]:
        """Return what was found for each level of a cell's budget, the least first.

        Raises:
            Skip: the method is not defined for the task.
        """
        key = f"{self._of_method(cell)} {cell.budget}"
        if key not in self._fits:
            file = self._file(cell, key)
            budget = read_budget(cell.budget)
            known = _read(file, len(budget.shares))
            if known is None:
                known = self._count(cell, budget)
                _write(file, known)
            self._fits[key] = known
        return self._fits[key]

    def counted(self, cell: Cell) -> tuple[Counted, Scale]:
        """Return what a cell's method takes by keep ratio, and the task it is counted on."""
        of_task, of_method = self._of_task(cell), self._of_method(cell)
        if of_task not in self._scales:
            self._scales[of_task] = Scale(registry.task(cell.task, self.plugins).build(cell))
        scale = self._scales[of_task]
        if of_method not in self._counted:
            entry = registry.method(cell.method, self.plugins)
            self._counted[of_method] = Counted(lambda: entry.build(cell), scale)
        return self._counted[of_method], scale

    def _count(self, cell: Cell, budget: Budget) -> tuple[Fit, ...]:
        if not self._has_told:
            self._has_told = True
            say("finding the keep ratios that fit the budgets; they are kept for later")
        counted, scale = self.counted(cell)
        return tuple(fits(counted, scale, budget, level) for level in range(len(budget.shares)))

    def _of_task(self, cell: Cell) -> str:
        recipe = registry.task(cell.task, self.plugins).build(cell).recipe
        counts = {name: getattr(recipe, name) for name in COUNTS}
        return repr((cell.task, cell.tier, sorted(cell.model.items()), counts))

    def _of_method(self, cell: Cell) -> str:
        return f"{self._of_task(cell)} {cell.method} {sorted(cell.parameters.items())}"

    def _file(self, cell: Cell, key: str) -> Path:
        digest = hashlib.sha256(f"{self._code} {key}".encode())
        of_cell = registry.method(cell.method, self.plugins).files() + registry.task(cell.task, self.plugins).files()
        for file in of_cell:  # those of an installed package too
            digest.update(file.read_bytes())
        return root() / "budgets" / f"{digest.hexdigest()[:24]}.json"

    @cached_property
    def _code(self) -> str:
        """What the code that counts is, with the methods and the user's files."""
        import torch

        import methods

        folder = Path(__file__).parents[1]
        files = [file for room in ROOMS for file in sorted((folder / room).rglob("*.py"))]
        files += [file for place in methods.__path__ for file in sorted(Path(place).glob("*.py"))]
        digest = hashlib.sha256(torch.__version__.encode())
        for file in files:
            digest.update(file.name.encode() + file.read_bytes())
        for plugin in self.plugins:
            for name, source in registry.sources_of(plugin):
                digest.update(name.encode() + source)
        return digest.hexdigest()


def _read(file: Path, levels: int) -> tuple[Fit, ...] | None:
    """Return what was kept of an earlier count; None where there is nothing that can be used."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, list) and len(found) == levels and all(map(_is_fit, found)):
            return tuple(Fit(fit["keep"], dict(fit["used"])) for fit in found)
    return None


def _is_fit(fit: Mapping[str, Any]) -> bool:
    keep, used = fit["keep"], fit["used"]
    numbers = [*used.values()] + ([] if keep is None else [keep])
    possible = all(isinstance(number, float) and math.isfinite(number) for number in numbers)
    return bool(used) and possible and (keep is None or LEAST <= keep <= 1)


def _write(file: Path, found: Iterable[Fit]) -> None:
    """Keep a count for later, where there is room for it."""
    kept: list[dict[str, Any]] = [{"keep": fit.keep, "used": dict(fit.used)} for fit in found]
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(kept).encode())
