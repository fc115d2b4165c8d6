"""The commands that keep results in order: ``gc`` and those of ``results``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import OK, PATH, SOME_FAILED, Plugin, Results, SweepFile, Verbs, say
from bench.cli.options import whole as number_of
from bench.errors import BenchError, several
from bench.files import expanded

if TYPE_CHECKING:
    from bench.store.merge import Merged

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
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", parser=expanded, help="A folder of results, as results/quick.")
    ],
) -> None:
    """Say what the tables and figures of a folder were made of, and which of them are not as they were written."""
    from bench.report.manifest import differences, read_manifest

    manifest = read_manifest(folder)
    lines, cells, environments = differences(folder), manifest["cells"], manifest["environments"]
    revisions = {
        f"{name} {number}" for cell in cells.values() for name, number in dict(cell.get("revisions") or {}).items()
    }
    say(f"{manifest.get('title', folder)}: {several(len(cells), 'cell')} in {several(len(manifest['files']), 'file')}")
    say(f"revisions: {', '.join(sorted(revisions))}")
    made = Counter(_made_on(environments[cell["environment"]]) for cell in cells.values())
    say(*(f"{words}: {several(number, 'cell')}" for words, number in made.most_common()))
    say(*lines or ["all of them are as they were written"])
    raise typer.Exit(SOME_FAILED if lines else OK)


def _made_on(environment: Mapping[str, Any]) -> str:
    versions = dict(environment.get("packages") or {})
    commit = str(environment.get("git_commit"))[:10]
    return f"made on {environment.get('processor')} with torch {versions.get('torch')}, commit {commit}"


Bundled = Annotated[Path, typer.Argument(metavar="NAME.bench", parser=expanded, help="A bundle of results.")]


@results_app.command()
def pack(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", parser=expanded, help="Results of a sweep, for example results/quick.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", **PATH, help="The bundle; left out: FOLDER/NAME.bench, NAME the folder's own."),
    ] = None,
    layers_every: Annotated[
        int,
        typer.Option(
            **number_of("--layers-every", 1),
            help="Keep the tables by layer at every so manieth evaluated round, the first and the last: most of a "
            "bundle is theirs.",
        ),
    ] = 1,
) -> None:
    """Put all finished cells of a folder into one file for others: no paths, no names of machines or users."""
    from bench.bundle.pack import pack as write
    from bench.store.cells import Store

    path = output or folder / f"{folder.resolve().name}.bench"
    done = write(Store(folder), path, layers_every)
    say(*(f"left out: {name}: {reason}" for name, reason in done.left_out.items()))
    say(*(f"note: {note}" for note in done.notes))
    parts = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in done.parts.items() if size >= 5000)
    say(f"{several(len(done.cells), 'cell')} in {path}, {done.size / 1e6:.2f} MB" + (f" ({parts})" if parts else ""))


@results_app.command()
def unpack(
    bundle: Bundled,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", **PATH, help="Folder of results; left out: results/NAME.")
    ] = None,
) -> None:
    """Write the cells of a bundle as folders of their own; what is there already is left alone."""
    from bench.bundle.unpack import unpack as put
    from bench.store.bundle import Bundle
    from bench.store.cells import Store

    opened = Bundle(bundle)
    into = Store(output or Path("results") / bundle.stem)
    _say_merged(put(opened, into), bundle, into.folder)


@results_app.command()
def show(bundle: Bundled) -> None:
    """Say what a bundle claims: its cells, their revisions, and by what and where they were made."""
    from bench.bundle.show import described
    from bench.store.bundle import Bundle

    say(*described(Bundle(bundle)))


@results_app.command()
def merge(
    into: Annotated[
        Path,
        typer.Argument(metavar="A", parser=expanded, help="Results that take cells in, for example results/quick."),
    ],
    other: Annotated[
        Path,
        typer.Argument(metavar="B", parser=expanded, help="Results of the same sweep from elsewhere, or a bundle."),
    ],
) -> None:
    """Copy the finished cells of B that A lacks into A; what both have with other numbers is named and left alone."""
    from bench.bundle.unpack import merge_all
    from bench.bundle.unpack import unpack as put
    from bench.store.bundle import Bundle
    from bench.store.cells import Store
    from bench.store.origin import shared_by

    if into.is_file():
        raise BenchError(f"{into}: A takes cells in and must be a folder; 'results unpack' makes one of a bundle")
    if other.is_file():
        if not into.is_dir():
            raise BenchError(f"{into}: there are no results here; 'results unpack {other} -o {into}' makes a folder")
        merged = put(Bundle(other), Store(into))
    else:
        merged = merge_all(Store(into), Store(other))
        say(*shared_by(into, other))
    _say_merged(merged, other, into)


@results_app.command()
def upgrade(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", parser=expanded, help="Results of a sweep, for example results/quick.")
    ],
    sweep: Annotated[
        Path | None,
        typer.Option(**PATH, help="The sweep file of the tables: what it says of their cells is filled in."),
    ] = None,
    plugin: Plugin = None,
) -> None:
    """Bring cells and tables of earlier versions to the present columns: recomputed where possible, else empty."""
    from bench.config.cells import read_sweep
    from bench.launch.upgrade import upgrade as bring
    from bench.store.cells import Store

    read = None if sweep is None else read_sweep(sweep, plugin or [])
    done = bring(Store(folder), read.plugins if read else plugin or [], read.cells if read else ())
    say(*(f"{name}: {words}" for name, words in done.changed.items()))
    say(*(f"left as it is: {name}: {reason}" for name, reason in done.left.items()))
    say(f"{len(done.changed)} upgraded, {done.same} had all columns, {len(done.left)} left as they are, in {folder}")
    raise typer.Exit(SOME_FAILED if done.left else OK)


def _say_merged(merged: Merged, other: Path, into: Path) -> None:
    """Say what became of the other's cells and end with the code for that."""
    for name, reason in merged.conflicts.items():
        say(f"conflict: {name}: {reason}")
    for name, reason in merged.damaged.items():
        say(f"damaged in {other}: {name}: {reason}")
    say(
        f"{len(merged.taken)} taken over, {len(merged.same)} the same in both, {len(merged.conflicts)} in conflict, "
        f"{len(merged.damaged)} damaged, in {into}; 'python -m bench plot' writes the tables and figures anew"
    )
    raise typer.Exit(SOME_FAILED if merged.conflicts or merged.damaged else OK)
