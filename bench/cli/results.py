"""The commands that keep results in order: ``gc`` and ``results merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import OK, SOME_FAILED, Plugin, Results, SweepFile, Verbs, say
from bench.files import expanded

results_app = typer.Typer(cls=Verbs, help="Folders of results.", no_args_is_help=True)


@results_app.callback()
def _group() -> None:
    """Folders of results."""


def gc(
    file: SweepFile,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what would be deleted.")] = False,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Show what of a sweep's results is of no use to it any more; with --yes, delete it."""
    from bench.config.cells import read_sweep
    from bench.launch.sweep import records
    from bench.store.cells import Store
    from bench.store.leftovers import delete, leftovers
    from bench.store.origin import shared_by

    sweep = read_sweep(file, plugin or [])
    store = Store(results / sweep.name)
    found = leftovers(store, records(sweep, store, sweep.plugins))
    say(*shared_by(store.folder, file=file))
    size = sum(leftover.size for leftover in found)
    for leftover in found:
        say(f"{'deletes' if yes else 'would delete'} {leftover.path}: {leftover.reason}")
    kept = delete(found, store) if yes else []
    for leftover in kept:
        say(f"kept {leftover.path}: its cell is being run now")
    if not found:
        say(f"nothing to delete in {store.folder}")
    elif not yes:
        say(f"{len(found)} in all, {size / 1e6:.1f} MB; delete them with --yes")


@results_app.command()
def merge(
    into: Annotated[
        Path,
        typer.Argument(metavar="A", parser=expanded, help="Results that take cells in, for example results/quick."),
    ],
    other: Annotated[
        Path, typer.Argument(metavar="B", parser=expanded, help="Results of the same sweep from elsewhere.")
    ],
) -> None:
    """Copy the finished cells of B that A lacks into A; what both have with other numbers is named and left alone."""
    from bench.store.cells import Store
    from bench.store.merge import merge as join
    from bench.store.origin import shared_by

    merged = join(Store(into), Store(other))
    say(*shared_by(into, other))
    for name, reason in merged.conflicts.items():
        say(f"conflict: {name}: {reason}")
    for name, reason in merged.damaged.items():
        say(f"damaged in {other}: {name}: {reason}")
    say(
        f"{len(merged.taken)} taken over, {len(merged.same)} the same in both, {len(merged.conflicts)} in conflict, "
        f"{len(merged.damaged)} damaged; 'python -m bench plot' writes the tables and figures anew"
    )
    raise typer.Exit(SOME_FAILED if merged.conflicts or merged.damaged else OK)
