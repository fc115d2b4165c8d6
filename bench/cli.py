"""The command line: thin verbs; what is heavy is imported inside them."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from bench.cli_data import data_app
from bench.cli_kit import check, new
from bench.errors import BenchError

OK, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="A benchmark of sub-model federated learning: interchangeable methods on shared tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(data_app, name="data")
out = Console()


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    tasks = "tasks"
    sweeps = "sweeps"
    figures = "figures"


class Axis(StrEnum):
    """Horizontal axes of the training curves."""

    round = "round"
    bytes = "bytes"
    macs = "macs"
    seconds = "seconds"


class Stale(StrEnum):
    """What to do with results of other code."""

    rerun = "rerun"
    keep = "keep"


Plugin = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A Python file that defines a method; may be given repeatedly.")
]
Device = Annotated[str, typer.Option(help="Where models are trained: auto, cpu, cuda or mps.")]
PartitionKind = Annotated[
    str | None, typer.Option("--partition", help="iid, iid-exact, lda, lda-prior, dirichlet or natural.")
]
Tier = Annotated[str, typer.Option(help="Settings to start from: quick, paper or another tier, see 'list tasks'.")]
Results = Annotated[Path, typer.Option(help="Folder of the results.")]
SweepFile = Annotated[Path, typer.Argument(metavar="FILE", help="A sweep file, for example sweeps/quick.toml.")]


def main() -> None:
    """Run the command line; a mistake the user can mend is one sentence and exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except BenchError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(WRONG_USAGE)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # so typer ends a command that is interrupted
            words = "interrupted; finished cells are kept, and the same command goes on with the others"
            Console(stderr=True).print(words, soft_wrap=True)
        raise


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; everything if left out.")] = None,
    plugin: Plugin = None,
) -> None:
    """Show the methods, tasks, sweeps and figures there are; a broken plugin is shown with its reason."""
    from bench import listing

    shown = {
        Kind.methods: lambda: listing.methods(plugin or []),
        Kind.tasks: listing.tasks,
        Kind.sweeps: lambda: listing.sweeps(Path("sweeps")),
        Kind.figures: listing.figures,
    }
    for name in Kind if kind is None else [kind]:
        out.print(shown[name]())


@app.command()
def run(
    task: Annotated[str, typer.Option(help="Name of the task, see 'list tasks'.")],
    method: Annotated[str, typer.Option(help="Name of the method, see 'list methods'.")],
    keep: Annotated[
        str, typer.Option(help="Keep ratio of every client, or of shares of the clients as in 0.2:0.6,0.4:0.4.")
    ] = "1",
    alpha: Annotated[
        float | None,
        typer.Option(help="Dirichlet concentration per class; inf is iid; left out: the task's own."),
    ] = None,
    partition: PartitionKind = None,
    seed: Annotated[int, typer.Option(help="Seed of every random stream.")] = 0,
    rounds: Annotated[int | None, typer.Option(help="Communication rounds; the tier's number if left out.")] = None,
    tier: Tier = "quick",
    data: Annotated[
        str | None, typer.Option(help="real or stand-in; left out: stand-in for quick, real for the other tiers.")
    ] = None,
    diagnostics: Annotated[
        str, typer.Option(help="What is measured beside the usual: basic (nothing), errors, cosine or all.")
    ] = "basic",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="name=value: a parameter of the method, the task's model or the training; may be given repeatedly.",
        ),
    ] = None,
    plugin: Plugin = None,
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that train the clients of a round; all cores if left out.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Run one cell with a live table of its rounds; the result goes to results/runs/."""
    from bench.config import make_cell
    from bench.display import RunDisplay
    from bench.federation import check_possible
    from bench.leases import Leases
    from bench.running import Hooks, run_cell
    from bench.runtime import cores, device_named
    from bench.settings import number_or_words, split_settings
    from bench.store import Store

    plugins = plugin or []
    given = {"alpha": alpha, "partition": partition, "data": data}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    values |= {"task": task, "method": method, "keep": number_or_words(keep), "seed": seed, "tier": tier}
    values["diagnostics"] = diagnostics
    values |= split_settings(set_ or [], task, method, plugins)
    if rounds is not None:
        values["training"] = {**values["training"], "rounds": rounds}
    cell = make_cell(values, "command line", plugins)
    place, workers = device_named(device), workers or cores()
    check_possible([cell])
    store = Store(results / "runs")
    store.prepare()
    title = f"{cell.task}, {cell.label}" if cell.capacities else f"{cell.task}, {cell.label}, keep ratio {cell.keep:g}"
    leases = Leases(store.unfinished)
    lease = leases.take(cell.folder, os.getpid())
    if lease is None:
        raise BenchError(f"{cell.folder}: {leases.holder(cell.folder)} runs this cell now; wait for it or end it")
    with lease.held(), RunDisplay(out, f"{title}, seed {cell.seed}") as display:
        hooks = Hooks(display.show, display.note, lease.check)
        outcome = run_cell(cell, store=store, plugins=plugins, device=place, workers=workers, hooks=hooks)
    if outcome.status != "done":
        out.print(f"{outcome.status}: {outcome.reason}", style="yellow", highlight=False, soft_wrap=True, markup=False)
    out.print(f"saved in {store.path(cell)}", highlight=False, soft_wrap=True)
    raise typer.Exit(SOME_FAILED if outcome.status == "failed" else OK)


@app.command()
def sweep(
    file: SweepFile,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells run at once; all cores if left out.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="name=value: only the cells that have it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and stop.")] = False,
    stale: Annotated[Stale, typer.Option(help="Results of other code: run again, or leave as they are.")] = Stale.rerun,
    plugin: Plugin = None,
    device: Device = "auto",
    results: Results = Path("results"),
) -> None:
    """Run what is left of a sweep, then write its tables and figures under results/NAME/."""
    from bench import sweep as sweeps
    from bench.config import read_sweep
    from bench.display import SweepDisplay
    from bench.federation import check_possible
    from bench.plotting import write_results
    from bench.runtime import cores, device_named
    from bench.store import Store

    plugins = plugin or []
    chosen = whole = read_sweep(file, plugins)
    for condition in only or []:
        chosen = sweeps.only(chosen, condition)
    place = device_named(device)
    store = Store(results / whole.name)
    known = sweeps.records(chosen, store, plugins)
    cells = sweeps.to_run(known, stale)
    _say_counts(whole.title, known)
    if dry_run:
        for cell in cells:
            out.print(f"would run {cell.folder}", highlight=False, soft_wrap=True)
        return
    failed = 0
    if cells:
        check_possible(cells)
        # On an accelerator cells share the device: one at a time unless the user asks for more.
        parallel = jobs or (cores() if place == "cpu" else 1)
        with SweepDisplay(out, len(cells)) as display:
            ended = sweeps.run(cells, store, plugins=plugins, device=place, jobs=parallel, on_event=display.show)
        failed = ended["failed"]
    else:
        whole_sweep = all(record.state == "done" for record in known)
        out.print(f"all {len(known)} cells are done: nothing to run" if whole_sweep else "nothing to run")
    write_results(whole, store, plugins, Axis.round.value, out)
    if failed:
        out.print(f"failed cells: {failed}; see 'python -m bench status {file}'", style="red", soft_wrap=True)
    raise typer.Exit(SOME_FAILED if failed else OK)


@app.command()
def status(file: SweepFile, plugin: Plugin = None, results: Results = Path("results")) -> None:
    """Show how many cells of a sweep are done, failed, stale or to do, and why."""
    from bench import sweep as sweeps
    from bench.config import read_sweep
    from bench.store import Store

    chosen = read_sweep(file, plugin or [])
    known = sweeps.records(chosen, Store(results / chosen.name), plugin or [])
    _say_counts(chosen.title, known)
    for record in known:
        if record.state not in ("done", "to do"):
            text = f"{record.state}: {record.cell.folder}: {record.reason}"
            out.print(text, highlight=False, soft_wrap=True, markup=False)


@app.command()
def plot(
    file: SweepFile,
    x: Annotated[Axis, typer.Option(help="Horizontal axis of the training curves.")] = Axis.round,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Write the tables and figures of a sweep from its finished cells."""
    from bench.config import read_sweep
    from bench.plotting import write_results
    from bench.store import Store

    chosen = read_sweep(file, plugin or [])
    write_results(chosen, Store(results / chosen.name), plugin or [], x.value, out)


@app.command()
def partition(
    task: Annotated[str, typer.Option(help="Name of the task.")],
    alpha: Annotated[float | None, typer.Option(help="Dirichlet concentration; inf is iid.")] = None,
    kind: PartitionKind = None,
    seed: Annotated[int, typer.Option(help="Seed of the partition.")] = 0,
    tier: Tier = "quick",
    data: Annotated[str | None, typer.Option(help="real or stand-in.")] = None,
    results: Results = Path("results"),
) -> None:
    """Draw who holds what: a picture of clients by classes, in results/partitions/."""
    from bench.config import make_cell
    from bench.partition_picture import draw

    given = {"alpha": alpha, "partition": kind, "data": data}
    values = {name: value for name, value in given.items() if value is not None}
    cell = make_cell({**values, "task": task, "method": "fedavg", "seed": seed, "tier": tier}, "command line")
    for path in draw(cell, results / "partitions"):
        out.print(f"wrote {path}", highlight=False, soft_wrap=True)


@app.command()
def perf(
    device: Device = "cpu",
    repetitions: Annotated[int, typer.Option(min=1, help="Interleaved repetitions; the median counts.")] = 5,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given repeatedly.")] = None,
    results: Results = Path("results"),
) -> None:
    """Time the harness against a bare PyTorch loop on the same models and batches in the same run."""
    from bench.perf import measure
    from bench.runtime import device_named

    out.print(measure(device_named(device), repetitions, task or [], results / "perf", out))


app.command()(check)
app.command()(new)


def _say_counts(title: str, known: list[Any]) -> None:
    from bench.sweep import counts

    noun = "cell" if len(known) == 1 else "cells"
    words = ", ".join(f"{number} {state}" for state, number in counts(known).items())
    out.print(
        f"{title}: {len(known)} {noun}: {words}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
