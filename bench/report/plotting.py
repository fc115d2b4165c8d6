"""From the finished cells of a sweep to its tables, figures and report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from bench.analysis.chance import at_chance, places_at_chance
from bench.config.cells import Sweep
from bench.figures import Options, draw_all
from bench.launch import sweep as sweeps
from bench.launch.footprint import write_footprint
from bench.launch.tables import USABLE
from bench.report.figures import figures_with
from bench.report.manifest import write_manifest
from bench.report.source import of_records
from bench.report.written import end_with_report
from bench.store.cells import Record, Store

FOOTPRINT = "footprint.parquet"
"""The table of footprints in ``tables/``, and beside a bundle where a folder ships one."""


@dataclass(frozen=True)
class Written:
    """The tables of a sweep that were written, and what they were made of.

    Attributes:
        known: what is known of all cells.
        tables: by name.
    """

    known: Sequence[Record]
    tables: Mapping[str, pa.Table]

    def at_chance(self) -> list[str]:
        """Return a line for each task on which nothing was learnt that could rank anything."""
        return at_chance(self._finals())

    def places_at_chance(self) -> tuple[tuple[str, str], ...]:
        """Return the (task, title of the data) of these."""
        return places_at_chance(self._finals())

    def _finals(self) -> list[tuple[str, float, Mapping[str, Any]]]:
        facts = {record.cell.folder: record.facts for record in self.known}
        rows = self.tables["cells"].select(["cell", "task", "final_acc"]).to_pylist()
        return [(row["task"], row["final_acc"], facts[row["cell"]]) for row in rows if row["final_acc"] is not None]


def write_results(
    sweep: Sweep,
    store: Store,
    options: Options,
    console: Console,
    known: Sequence[Record] | None = None,
    front: Collection[str] = (),
    report: bool = True,
) -> None:
    """Write tables, figures and the report of a sweep's finished cells and say where they are.

    Args:
        sweep: its cells, figures and plugins.
        store: where its results are.
        options: what a reader chooses of the figures; what the sweep says of them goes before.
        console: where to say what was written and what was left out.
        known: what is known of its cells, where that is not to be looked up.
        front: names of cells whose series stand first in legends and are drawn with more weight.
        report: whether the report is written; False where more is to be written before it.
    """
    written = write_tables(sweep, store, console, known)
    if written is None:
        return
    write_figures(sweep, store, written, options, console, front)
    if report:
        tables = {name: table.to_pandas() for name, table in written.tables.items()}
        end_with_report(
            lambda: of_records(sweep, written.known, store, tables),
            lambda line: _say(console, line),
            sweep.plugins,
        )
    _say(console, *written.at_chance())


def write_tables(sweep: Sweep, store: Store, console: Console, known: Sequence[Record] | None = None) -> Written | None:
    """Write the tables of a sweep's finished cells, and what they were made of; None where no cell is finished.

    Args:
        sweep, store, console, known: see :func:`write_results`.
    """
    known = sweeps.records(sweep, store, sweep.plugins) if known is None else known
    if not any(record.state in USABLE for record in known):
        found = ", ".join(f"{number} {state}" for state, number in sweeps.counts(known).items())
        _say(console, f"no cell can be drawn ({found}): tables and figures are left as they are")
        return None
    left_out = [record for record in known if record.state not in USABLE]
    if left_out:
        _say(console, f"{len(left_out)} of {len(known)} cells are not in the tables: 'status' says why")
    store.prepare()
    written = Written(known, sweeps.write_tables(sweep, store, known))
    _write_manifest(sweep, store, written)
    return written


def write_figures(
    sweep: Sweep,
    store: Store,
    written: Written,
    options: Options,
    console: Console,
    front: Collection[str] = (),
    on_figure: Callable[[str], None] = lambda name: None,
    counted_in: Sequence[Path] = (),
) -> None:
    """Write the figures of a sweep's tables and the footprint that one of them shows, and say where they are.

    Args:
        sweep, store, options, console, front: see :func:`write_results`.
        written: the tables, which are there already.
        on_figure: told what is counted or drawn next.
        counted_in: further folders of results whose footprints need not be counted again.
    """
    on_figure("footprint")
    footprint = write_footprint(
        store.folder / "tables" / FOOTPRINT,
        sweep.cells,
        sweep.plugins,
        on_skip=lambda label, reason: _say(console, f"footprint of {label} is left out: {reason}"),
        beside=[place / FOOTPRINT for folder in (store.folder, *counted_in) for place in (folder, folder / "tables")],
    )
    tables = {**written.tables, "footprint": footprint}
    labels = zip(tables["cells"]["cell"].to_pylist(), tables["cells"]["label"].to_pylist(), strict=True)
    first = dict.fromkeys(label for cell, label in labels if cell in front)
    drawn = draw_all(
        {name: table.to_pandas() for name, table in tables.items()},
        store.folder / "figures",
        sweep.figures,
        replace(
            options,
            last=sweep.last,
            front=tuple(first),
            colours=sweep.colours,
            at_chance=written.places_at_chance(),
        ),
        known=figures_with(sweep.plugins),
        on_skip=lambda name, reason: _say(console, f"figure {name} is left out: {reason}"),
        on_figure=on_figure,
    )
    _write_manifest(sweep, store, Written(written.known, tables), drawn)
    _say(console, f"{len(tables)} tables and {len(drawn)} figure files in {store.folder}")


def _write_manifest(sweep: Sweep, store: Store, written: Written, figures: Sequence[Path] = ()) -> None:
    used = [record for record in written.known if record.state in USABLE]
    files = [store.folder / "tables" / f"{name}.parquet" for name in written.tables]
    write_manifest(store, sweep.title, used, [*files, *figures])


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
