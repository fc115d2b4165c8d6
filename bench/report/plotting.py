"""From the finished cells of a sweep to its tables and figures."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.console import Console

from bench.analysis.chance import at_chance
from bench.config.cells import Sweep
from bench.figures import Options, draw_all
from bench.launch import sweep as sweeps
from bench.launch.footprint import write_footprint
from bench.launch.tables import USABLE
from bench.report.figures import figures_with
from bench.report.manifest import write_manifest
from bench.store.cells import Record, Store


def write_results(
    sweep: Sweep,
    store: Store,
    x: str,
    console: Console,
    known: Sequence[Record] | None = None,
    front: Collection[str] = (),
) -> None:
    """Write tables and figures of a sweep's finished cells and say where they are.

    Args:
        sweep: its cells, figures and plugins.
        store: where its results are.
        x: horizontal axis of the training curves: "round", "bytes", "macs" or "seconds".
        console: where to say what was written and what was left out.
        known: what is known of its cells, where that is not to be looked up.
        front: names of cells whose series stand first in legends and are drawn with more weight.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    known = sweeps.records(sweep, store, sweep.plugins) if known is None else known
    if not any(record.state in USABLE for record in known):
        found = ", ".join(f"{number} {state}" for state, number in sweeps.counts(known).items())
        say(f"no cell can be drawn ({found}): tables and figures are left as they are")
        return
    left_out = [record for record in known if record.state not in USABLE]
    if left_out:
        say(f"{len(left_out)} of {len(known)} cells are not in the tables: 'status' says why")
    store.prepare()
    tables = sweeps.write_tables(sweep, store, known)
    tables["footprint"] = write_footprint(
        store.folder / "tables" / "footprint.parquet",
        sweep.cells,
        sweep.plugins,
        on_skip=lambda label, reason: say(f"footprint of {label} is left out: {reason}"),
    )
    labels = zip(tables["cells"]["cell"].to_pylist(), tables["cells"]["label"].to_pylist(), strict=True)
    first = dict.fromkeys(label for cell, label in labels if cell in front)
    written = draw_all(
        {name: table.to_pandas() for name, table in tables.items()},
        store.folder / "figures",
        sweep.figures,
        Options(x=x, last=sweep.last, front=tuple(first)),
        known=figures_with(sweep.plugins),
        on_skip=lambda name, reason: say(f"figure {name} is left out: {reason}"),
    )
    in_tables = [record for record in known if record.state in USABLE]
    of_tables = [store.folder / "tables" / f"{name}.parquet" for name in tables]
    write_manifest(store, sweep.title, in_tables, [*of_tables, *written])
    say(f"{len(tables)} tables and {len(written)} figure files in {store.folder}")
    facts = {record.cell.folder: record.facts for record in known}
    rows = tables["cells"].select(["cell", "task", "final_acc"]).to_pylist()
    finals = [(row["task"], row["final_acc"], facts[row["cell"]]) for row in rows if row["final_acc"] is not None]
    for line in at_chance(finals):
        say(line)
