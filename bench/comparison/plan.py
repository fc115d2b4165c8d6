"""What a comparison takes: the others' cells of a sweep, and a cell of the method for each of their settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.budget.finder import Finder
from bench.budget.written import read_budget
from bench.cell import Cell
from bench.comparison.beside import Beside
from bench.comparison.own_method import OwnMethod
from bench.config.cells import Sweep
from bench.errors import BenchError, choices
from bench.federation.profiles import in_numbers
from bench.plugins import registry
from bench.store.cells import Store
from bench.written import number_in, rounded

FULLEST = {
    frozenset[str](): "basic",
    frozenset({"errors"}): "errors",
    frozenset({"cosine"}): "cosine",
    frozenset({"errors", "cosine"}): "all",
}


@dataclass(frozen=True)
class Choice:
    """Which cells of the sweep are compared; what is empty or None leaves out none.

    Attributes:
        against: names or labels of the other methods.
        keep: keep ratios and profiles, as they are written in sweep files.
        task: names of tasks.
        seeds: how many of the sweep's seeds, the smallest first.
        budget: budgets, as they are written in sweep files.
    """

    against: Sequence[str] = ()
    keep: Sequence[str] = ()
    task: Sequence[str] = ()
    seeds: int | None = None
    budget: Sequence[str] = ()


@dataclass(frozen=True)
class Plan:
    """What is compared with what, and where it lies.

    Attributes:
        own: the method.
        sweep: its cells, in front, and those of the others.
        mine: the cells of the method.
        others: those of the others, in the order of the sweep.
        store: results of one's own in front of those of the sweep.
    """

    own: OwnMethod
    sweep: Sweep
    mine: tuple[Cell, ...]
    others: tuple[Cell, ...]
    store: Beside

    @property
    def plugins(self) -> tuple[Path, ...]:
        """The files that the cells need."""
        return self.own.plugins

    def is_whole(self, cell: Cell) -> bool:
        """Return whether a cell's method trains the full model whatever the keep ratio."""
        return not _uses_keep(cell, self.plugins)


def plan_of(sweep: Sweep, own: OwnMethod, choice: Choice, results: Path) -> Plan:
    """Return the plan of a comparison.

    Args:
        sweep: with the settings and the other methods.
        own: the method that is compared.
        choice: which of the sweep's cells.
        results: folder of all results.

    Raises:
        BenchError: the choice names what the sweep lacks, or leaves nothing.
    """
    chosen = _chosen(sweep, own, choice)
    others = tuple(cell for cell in chosen if not is_own(cell, own))
    mine = tuple(own_cells(others, own))
    store = Beside(results / f"{sweep.name}-with-{own.name}", Store(results / sweep.name))
    return Plan(own, replace(sweep, cells=(*mine, *others), plugins=own.plugins), mine, others, store)


def is_own(cell: Cell, own: OwnMethod) -> bool:
    """Return whether a cell of a sweep is one of the method that is compared, with its parameters."""
    return cell.method == own.name and dict(cell.parameters) == dict(own.parameters)


def setting_of(cell: Cell) -> str:
    """Return in one word all that two cells must share to be paired, but keep ratios and seed."""
    plain = cell.canonical()
    names = ("task", "tier", "data", "partition", "alpha", "training", "model")
    return json.dumps({name: plain[name] for name in names if name in plain}, sort_keys=True)


def own_cells(others: Iterable[Cell], own: OwnMethod) -> Iterable[Cell]:
    """Return a cell of a method for each setting of others, each once.

    Methods that ignore keep ratios say nothing of them where others beside them do; where cells differ in nothing but
    what is measured beside, all of that is measured. At a budget the method has the keep ratios that fit it.
    """
    others, finder = list(others), Finder(own.plugins)
    keeping = {(setting_of(cell), cell.seed) for cell in others if _uses_keep(cell, own.plugins)}
    made: dict[str, Cell] = {}
    for other in others:
        if (setting_of(other), other.seed) in keeping and not _uses_keep(other, own.plugins):
            continue
        cell = replace(other, method=own.name, parameters=own.parameters)
        if not own.uses_keep:
            cell = replace(cell, keep=1.0, capacities=(), capacity="fixed")
        elif cell.budget:
            cell = finder.at(cell)
        alike = replace(cell, diagnostics="basic").identity
        known = made.get(alike, cell)
        made[alike] = replace(known, diagnostics=_both(known.diagnostics, cell.diagnostics))
    return made.values()


def _both(one: str, other: str) -> str:
    """Return what is measured beside where one of two is asked for."""
    parts = {word: measured for measured, word in FULLEST.items()}
    return FULLEST[parts[one] | parts[other]]


def _uses_keep(cell: Cell, plugins: tuple[Path, ...]) -> bool:
    kind = registry.method(cell.method, plugins).kind
    assert kind is not None
    return kind.uses_keep


def _chosen(sweep: Sweep, own: OwnMethod, choice: Choice) -> list[Cell]:
    """Return the cells of the sweep that the user has chosen; full models stay, whatever the keep ratios."""
    cells = list(sweep.cells)
    for option, wanted, words in (
        ("--against", choice.against, lambda cell: (cell.method, cell.label)),
        ("--task", choice.task, lambda cell: (cell.task,)),
    ):
        rivals = [cell for cell in sweep.cells if option != "--against" or not is_own(cell, own)]
        _check(option, wanted, (word for cell in rivals for word in words(cell)), sweep)
        cells = [cell for cell in cells if not wanted or set(wanted) & set(words(cell))]
    keeping = [cell for cell in sweep.cells if _uses_keep(cell, own.plugins)]
    places = [_as_keep(word) for word in choice.keep]
    if places:
        known = (_keep_of(cell) for cell in keeping if not cell.budget)
        _check("--keep", places, known, sweep, lambda word: number_in(word) or 0.0)
    if choice.budget:
        budgets = [read_budget(word).words for word in choice.budget]
        _check("--budget", budgets, (cell.budget for cell in keeping if cell.budget), sweep, str)
        places += budgets
    if places:
        cells = [cell for cell in cells if not _uses_keep(cell, own.plugins) or _keep_of(cell) in places]
    if choice.seeds is not None:
        seeds = sorted({cell.seed for cell in sweep.cells})
        if not 1 <= choice.seeds <= len(seeds):
            raise BenchError(f"--seeds {choice.seeds}: {sweep.name} has {len(seeds)}; allowed: 1 to {len(seeds)}")
        cells = [cell for cell in cells if cell.seed in seeds[: choice.seeds]]
    if all(is_own(cell, own) for cell in cells):
        with_words = " that are chosen" if choice != Choice() else ""
        raise BenchError(
            f"{sweep.name}: it has no cells of other methods{with_words}: there is nothing to compare with"
        )
    return cells


def _check(
    option: str,
    wanted: Collection[str],
    known: Iterable[str],
    sweep: Sweep,
    order: Callable[[str], Any] | None = None,
) -> None:
    allowed = list(dict.fromkeys(known)) if order is None else sorted(set(known), key=order)
    for word in wanted:
        if word not in allowed:
            raise BenchError(f"{option} {word!r}: the sweep {sweep.name!r} lacks it; {choices(word, allowed)}")


def _keep_of(cell: Cell) -> str:
    return cell.profile or f"{cell.keep:.12g}"


def _as_keep(word: str) -> str:
    """Return a keep ratio or profile as :func:`_keep_of` has it."""
    number = number_in(word)
    return in_numbers(word.strip()) if number is None else f"{rounded(number):.12g}"
