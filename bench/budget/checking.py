"""Whether a cell's clients stay within their budget, counted again where the cell is run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.api import Skip
from bench.budget.finder import Finder
from bench.budget.fitting import LEAST, Counted
from bench.budget.written import ALL, Limit, read_budget
from bench.cell import Cell
from bench.plugins import registry


def counted_rows(cell: Cell, plugins: Iterable[Path] = ()) -> list[dict[str, Any]]:
    """Return what each level of a cell's budget allows and what its client takes, a row for each limit and level.

    Returns:
        Rows of ``level`` (from 0, the least first), ``share`` (of the clients), ``quantity``, ``keep`` (the client's
        keep ratio), ``allowed``, ``taken``, ``full`` (what the full model takes) and ``least`` (what the client of the
        least keep ratio takes), in the quantity's own unit.

    Raises:
        Skip: the method is not defined for the task.
    """
    budget, finder = read_budget(cell.budget), Finder(plugins)
    counted, scale = finder.counted(cell)
    if len(cell.levels) > 1:  # what a client takes may depend on who else is there
        entry = registry.method(cell.method, finder.plugins)
        together = Counted(lambda: entry.build(cell), scale, cell.levels)
    else:
        together = counted
    keeps = [keep for keep, _ in cell.capacities] or [cell.keep] * len(budget.shares)
    smallest = LEAST if _uses_keep(finder, cell) else 1.0
    return [
        {
            "level": level,
            "share": share,
            "quantity": limit.quantity,
            "keep": keep,
            "allowed": limit.allowed(level, scale.full.of(limit.quantity)),
            "taken": together.at(keep).of(limit.quantity),
            "full": scale.full.of(limit.quantity),
            "least": counted.at(smallest).of(limit.quantity),
        }
        for level, (keep, share) in enumerate(zip(keeps, budget.shares, strict=True))
        for limit in budget.limits
    ]


def check_fits(cell: Cell, rows: Iterable[dict[str, Any]]) -> None:
    """Make sure that every client stays within the budget.

    Args:
        cell: with a budget.
        rows: of :func:`counted_rows`.

    Raises:
        Skip: one does not: no sub-model of the method fits. The reason names the least budget that the method needs.
    """
    over = next((row for row in rows if row["taken"] > ALL * row["allowed"]), None)
    if over is None:
        return
    limit = next(limit for limit in read_budget(cell.budget).limits if limit.quantity == over["quantity"])
    raise Skip(
        f"no sub-model of {cell.method} fits {_one(limit, over['level'])}: its smallest client takes "
        f"{over['least'] / over['full']:.3g} of the full model's {over['quantity']}, "
        f"allowed are {over['allowed'] / over['full']:.3g}"
    )


def _one(limit: Limit, level: int) -> str:
    return f"{limit.quantity}={limit.levels[level][0]:.12g}{limit.unit}"


def _uses_keep(finder: Finder, cell: Cell) -> bool:
    kind = registry.method(cell.method, finder.plugins).kind
    assert kind is not None
    return kind.uses_keep
