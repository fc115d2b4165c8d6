"""Comparisons whose cells are finished with accuracies that differ by method, keep ratio and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compared import finish
from rich.console import Console

from bench.cell import Cell
from bench.comparison import comparing
from bench.comparison.own_method import own_method
from bench.comparison.plan import Choice, Plan, plan_of
from bench.config.cells import Sweep

QUIET = Console(quiet=True)
LIFT = {"fedavg": 0.3, "prism": 0.2, "orthdrop": 0.0, "uniform": 0.1}


def acc_of(cell: Cell) -> float:
    """Return an accuracy with what a method adds, what a keep ratio adds and what a seed does to all."""
    keep = 0.5 if cell.method == "fedavg" else cell.keep
    return (
        0.3 + LIFT.get(cell.method, 0.15) + 0.1 * keep + 0.05 * cell.seed + 0.001 * (cell.seed * len(cell.method) % 3)
    )


def planned(sweep: Sweep, given: Path | str, choice: Choice | None = None, **how: Any) -> Plan:
    own = own_method(str(given), sweep, **how)
    return plan_of(sweep, own, choice or Choice(), Path("results"))


def compared(plan: Plan, console: Console = QUIET) -> comparing.Compared:
    return comparing.compared(plan, comparing.look_at(plan, "cpu"), console)


def finished(plan: Plan, mine: Any = acc_of, others: Any = acc_of, **facts: Any) -> Plan:
    """Finish all cells of a plan."""
    finish(plan.mine, plan.store, mine, plan.plugins)
    finish(plan.others, plan.store.behind, others, plan.plugins, **facts)
    return plan
