"""Looking at a comparison, running what it lacks, and writing what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.console import Console

from bench.cell import Cell
from bench.comparison.pairable import Pairable, pairable
from bench.comparison.plan import Plan
from bench.errors import BenchError, several
from bench.launch import sweep as sweeps
from bench.launch.events import Event
from bench.launch.standing import Standing, standing
from bench.launch.tables import USABLE
from bench.store.cells import Record
from bench.store.made import made
from bench.store.provenance import environment

if TYPE_CHECKING:
    import pandas as pd

    from bench.config.cells import Sweep
    from bench.report.plotting import Written


@dataclass(frozen=True)
class Look:
    """What is known of a comparison's cells.

    Attributes:
        mine: of the method's cells.
        others: of the others', as they are found.
        pairable: which of the others' may be paired.
    """

    mine: list[Record]
    others: list[Record]
    pairable: Pairable

    def to_run(self, run_missing: bool) -> list[Cell]:
        """Return the cells that a comparison runs: the method's, then those of others that are missing, if asked."""
        return sweeps.to_run(self.mine) + ([record.cell for record in self.pairable.missing] if run_missing else [])


def look_at(plan: Plan, device: str) -> Look:
    """Return what is known of a comparison's cells.

    Raises:
        StorageError: results cannot lie where they are to go.
    """
    known = sweeps.records(plan.sweep, plan.store, plan.plugins)
    mine, others = known[: len(plan.mine)], known[len(plan.mine) :]

    def now(cell: Cell) -> dict[str, int]:
        return dict(made(cell, plan.plugins).revisions)

    return Look(mine, others, pairable(others, mine, plan.store, environment(device), now))


def check(plan: Plan, look: Look, run_missing: bool, file: str) -> None:
    """Refuse a comparison with nothing, before anything is run.

    Raises:
        BenchError: no cell of another method is finished that could be paired, and none will be run.
    """
    if look.pairable.records or (run_missing and look.pairable.missing):
        return
    found = ", ".join(f"{number} {state}" for state, number in sweeps.counts(look.others).items())
    why = f"; {look.pairable.lines[0]}" if look.pairable.lines[:1] and "not paired" in look.pairable.lines[0] else ""
    raise BenchError(
        f"{plan.store.behind.folder}: there is nothing to compare with: of {several(len(look.others), 'cell')} of "
        f"other methods none can be paired ({found}){why}; 'python -m bench sweep {file}' runs them, and so does "
        "--run-missing"
    )


def standing_of(plan: Plan, look: Look, run_missing: bool) -> Standing:
    """Return how long a comparison will take, by the finished cells of the others."""
    missing = look.pairable.missing if run_missing else []
    again = [record if record.state != "stale" else replace(record, state="to do") for record in missing]
    return standing([*look.mine, *again, *look.pairable.records], plan.store, plan.plugins, any_family=True)


def run(
    plan: Plan,
    cells: Sequence[Cell],
    *,
    device: str,
    jobs: int | None,
    on_event: Callable[[Event], None],
    stop: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Run cells of a comparison and return how many ended with which status.

    Those of the method go to the folder of one's own; those of others, of which a sweep has all, to the sweep's.

    Args:
        plan: what is compared.
        cells: some of the plan's.
        device, jobs, on_event, stop: see :func:`bench.launch.sweep.run`.

    Raises:
        BenchError: results cannot be written; finished cells are untouched.
    """
    ended: Counter[str] = Counter()
    own = {cell.identity for cell in plan.mine}
    for store, some in (
        (plan.store, [cell for cell in cells if cell.identity in own]),
        (plan.store.behind, [cell for cell in cells if cell.identity not in own]),
    ):
        if some and not stop():
            ended += sweeps.run(
                some, store, plugins=plan.plugins, device=device, jobs=jobs, on_event=on_event, stop=stop
            )  # fmt: skip
    return ended


@dataclass(frozen=True)
class Compared:
    """What came of a comparison.

    Attributes:
        table: a row for each other series that the method meets, see :data:`bench.comparison.table.ORDER`.
        lines: what a reader has to know before it.
        used: the sweep's settings with the cells that are in the tables.
        own: names of those of the method.
        written: the tables of both sides.
    """

    table: pd.DataFrame
    lines: list[str]
    used: Sweep
    own: frozenset[str]
    written: Written


def compared(plan: Plan, look: Look, console: Console) -> Compared:
    """Write the tables of a comparison, the method in front, and return the paired one; figures are :func:`draw`'s.

    Args:
        plan: what is compared.
        look: what is known of its cells after the run.
        console: where to say what was left out.

    Raises:
        BenchError: the method has no result, or none of its cells meets one of another method.
    """
    from bench.comparison import shown, table
    from bench.report.manifest import include
    from bench.report.plotting import write_tables

    mine = [record for record in look.mine if record.state in USABLE]
    _check_mine(plan, look, mine)
    known = [*mine, *look.pairable.records]
    used = replace(plan.sweep, cells=tuple(record.cell for record in known))
    written = write_tables(used, plan.store, console, known)
    assert written is not None  # the method has finished cells
    rows = table.table_of(plan, written.tables["cells"].to_pandas())
    if rows.empty:
        raise BenchError(
            f"{plan.store.folder}: no cell of {plan.own.name!r} shares its setting and keep ratio with a finished cell "
            "of another method: nothing can be paired"
        )
    lines = [*_lines(look), *look.pairable.lines]
    tables = plan.store.folder / "tables"
    table.write(rows, [*lines, *written.at_chance(), *(heading for heading, _ in shown.parts(rows))], tables)
    include(plan.store.folder, tables.glob(f"{table.NAME}.*"))
    return Compared(rows, lines, used, frozenset(record.cell.folder for record in mine), written)


def figures_of(plan: Plan, made: Compared) -> list[str]:
    """Return the names that :func:`draw` tells, in their order."""
    from bench.report.figures import figures_with

    of_sweep = figures_with(plan.plugins) if made.used.figures is None else made.used.figures
    return ["compare", "footprint", *of_sweep]


def draw(plan: Plan, made: Compared, console: Console, on_figure: Callable[[str], None] = lambda name: None) -> None:
    """Draw the figures of a comparison: its own first, then those of the sweep with the method in front.

    Args:
        plan: what is compared.
        made: what came of it.
        console: where to say what was written and what was left out.
        on_figure: told the name of each figure before it is drawn.

    Raises:
        BenchError: a figure cannot be drawn from these tables, or the folder cannot be written.
    """
    from bench.comparison import figure
    from bench.figure_spec import Options
    from bench.report.manifest import include
    from bench.report.plotting import write_figures

    on_figure("compare")
    folder = plan.store.folder
    rounds, used = made.written.tables["rounds"].to_pandas(), made.used
    own = figure.write(made.table, rounds, folder / "figures", used.last, used.colours)
    options = Options(reference=used.reference)
    write_figures(used, plan.store, made.written, options, console, made.own, on_figure, [plan.store.behind.folder])
    include(folder, [*own, *(folder / "tables").glob("compare.*")])


def _check_mine(plan: Plan, look: Look, mine: list[Record]) -> None:
    """Refuse a comparison without a result of the method; a BenchError that says why there is none."""
    if mine:
        return
    counts = ", ".join(f"{number} {state}" for state, number in sweeps.counts(look.mine).items())
    reasons = dict.fromkeys(record.reason for record in look.mine if record.reason)
    why = f": {'; '.join(reasons)}" if reasons else ""
    if all(record.state == "skipped" for record in look.mine):
        counts = f"it is not defined for any of the {several(len(look.mine), 'cell')}"
    raise BenchError(f"{plan.own.name!r} on {plan.sweep.name}: there is nothing to compare: {counts}{why}")


def _lines(look: Look) -> list[str]:
    """Return a line for each way in which cells of the method have ended without an accuracy."""
    lines = []
    for state in ("skipped", "diverged", "failed"):
        records = [record for record in look.mine if record.state == state]
        tasks = Counter(record.cell.task for record in records)
        words = ", ".join(f"{number} on {task}" for task, number in tasks.items())
        if records:
            label = records[0].cell.label
            lines.append(f"{label}: {len(records)} of {len(look.mine)} cells {state} ({words}): {records[0].reason}")
    return lines
