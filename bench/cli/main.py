"""The command line: thin verbs; what is heavy is imported inside them."""

from __future__ import annotations

import io
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from bench.agg import use_agg
from bench.cli.compare import compare
from bench.cli.data import data_app
from bench.cli.kit import check, new
from bench.cli.options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    WRONG_USAGE,
    Deterministic,
    Device,
    Log,
    Plugin,
    Results,
    Verbs,
    number,
    out,
    say,
    whole,
)
from bench.cli.power import power
from bench.cli.report import report, table
from bench.cli.results import gc, results_app
from bench.cli.sweep import plot, status, sweep
from bench.cli.tune import tune
from bench.errors import BenchError, choices

app = typer.Typer(
    cls=Verbs,
    help="A benchmark of sub-model federated learning: interchangeable methods on shared tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    tasks = "tasks"
    sweeps = "sweeps"
    studies = "studies"
    figures = "figures"
    profiles = "profiles"


KINDS = "|".join(Kind)


PartitionKind = Annotated[
    str | None, typer.Option("--partition", help="iid, iid-exact, lda, lda-prior, dirichlet or natural.")
]
Tier = Annotated[str, typer.Option(help="Settings to start from: quick, paper or another tier, see 'list tasks'.")]


def main() -> None:
    """Run the command line; a mistake the user can mend is one sentence and exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    use_agg()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding or a file's name cannot be written in
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except BenchError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(WRONG_USAGE)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # so typer ends a command that is interrupted
            words = "interrupted; finished cells are kept, and a run or sweep goes on from the others' checkpoints"
            Console(stderr=True).print(words, soft_wrap=True)
        raise


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _say_version(wanted: bool) -> None:
    if wanted:
        import bench

        say(f"submodel-bench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """A benchmark of sub-model federated learning: interchangeable methods on shared tasks."""


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="What to list; everything if left out.", metavar=KINDS)] = None,
    name: Annotated[str | None, typer.Argument(help="Of methods or tasks: all that is known of one.")] = None,
    plugin: Plugin = None,
) -> None:
    """Show the methods, tasks, sweeps, studies, figures and capacity profiles there are.

    A broken plugin is shown with its reason.
    """
    from bench.cli import details, listing

    if kind is not None and kind not in list(Kind):
        raise BenchError(f"list: unknown kind {kind!r}; {choices(kind, list(Kind))}")
    if name is not None:
        one = {
            "methods": details.method,
            "tasks": details.task,
        }
        if kind not in one:
            raise BenchError(
                f"list {kind}: {name!r} cannot be shown alone; allowed: a name behind 'methods' or 'tasks'"
            )
        out.print(one[kind](name, plugin or []))
        return
    shown = {
        Kind.methods: lambda: listing.methods(plugin or []),
        Kind.tasks: lambda: listing.tasks(plugin or []),
        Kind.sweeps: lambda: listing.sweeps(Path("sweeps"), plugin or []),
        Kind.studies: lambda: listing.studies(Path("sweeps") / "studies", plugin or []),
        Kind.figures: lambda: listing.figures(plugin or []),
        Kind.profiles: listing.profiles,
    }
    for one_kind in Kind if kind is None else [Kind(kind)]:
        out.print(shown[one_kind]())


@app.command()
def run(
    task: Annotated[str, typer.Option(help="Name of the task, see 'list tasks'.")],
    method: Annotated[str, typer.Option(help="Name of the method, see 'list methods'.")],
    keep: Annotated[
        str,
        typer.Option(help="Keep ratio of every client, or of shares as in 0.2:0.6,0.4:0.4, or see 'list profiles'."),
    ] = "1",
    capacity: Annotated[
        str, typer.Option(help="fixed, or dynamic: keep ratios of a profile are drawn anew each round.")
    ] = "fixed",
    alpha: Annotated[
        float | None,
        typer.Option(
            **number("--alpha"), help="Dirichlet concentration per class; inf is iid; left out: the task's own."
        ),
    ] = None,
    partition: PartitionKind = None,
    seed: Annotated[int, typer.Option(**whole("--seed"), help="Seed of every random stream.")] = 0,
    rounds: Annotated[
        int | None, typer.Option(**whole("--rounds"), help="Communication rounds; the tier's number if left out.")
    ] = None,
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
        int | None,
        typer.Option(
            **whole("--workers", 1), help="Processes that train the clients of a round; all cores if left out."
        ),
    ] = None,
    deterministic: Deterministic = False,
    log: Log = None,
    results: Results = Path("results"),
) -> None:
    """Run one cell with a live table of its rounds; the result goes to results/runs/."""
    from bench import kernels
    from bench.analysis.chance import at_chance, final_accuracy
    from bench.config.cells import make_cell
    from bench.config.duration import long_waits
    from bench.config.possible import check_possible, slow_precisions
    from bench.config.settings import number_or_words, split_settings
    from bench.launch.apart import Order, Seen, run_apart
    from bench.listeners.hearing import Hearing
    from bench.numerics import runtime
    from bench.numerics.runtime import cores, device_named
    from bench.plugins import registry
    from bench.store.cells import Store
    from bench.store.leases import Leases
    from bench.store.wholeness import whole
    from bench.terminal.display import RunDisplay

    plugins = plugin or []
    given = {"alpha": alpha, "partition": partition, "data": data}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    values |= {"task": task, "method": method, "keep": number_or_words(keep), "seed": seed, "tier": tier}
    values |= {"capacity": capacity, "diagnostics": diagnostics}
    values |= split_settings(set_ or [], task, method, plugins)
    if rounds is not None:
        values["training"] = {**values["training"], "rounds": rounds}
    cell = make_cell(values, "command line", plugins)
    place, workers = device_named(device), workers or cores()
    check_possible([cell], place, plugins)
    say(
        *registry.replaced(plugins),
        *slow_precisions([cell], place, plugins),
        *long_waits([cell], place, workers, plugins),
        *(kernels.to_be_built() if place == "cpu" else ()),
    )
    store = Store(results / "runs")
    store.prepare()
    hearing = Hearing.of(log or [], store.folder, [cell], say)
    title = f"{cell.task}, {cell.label}" if cell.capacities else f"{cell.task}, {cell.label}, keep ratio {cell.keep:g}"
    leases = Leases(store.unfinished)
    lease = leases.take(cell.folder, os.getpid())
    if lease is None:
        raise BenchError(f"{cell.folder}: {leases.holder(cell.folder)} runs this cell now; wait for it or end it")
    display = RunDisplay(out, f"{title}, seed {cell.seed}")

    def show(seen: Seen) -> None:
        display.show(seen)
        hearing.round(cell.folder, seen.row)

    with runtime.deterministic(deterministic), lease.held(), hearing, display:
        order = Order(cell, store, tuple(plugins), place, workers, lease)
        outcome = run_apart(order, show, display.note)
        hearing.ended(cell.folder, outcome.status, outcome.reason)
    if outcome.status != "done":
        out.print(f"{outcome.status}: {outcome.reason}", style="yellow", highlight=False, soft_wrap=True, markup=False)
    say(f"saved in {store.path(cell)}")
    final = final_accuracy(outcome.rounds) if outcome.status == "done" else None
    for line in [] if final is None else at_chance([(cell.task, final, whole(store.path(cell)))]):
        out.print(line, highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(SOME_FAILED if outcome.status == "failed" else OK)


app.command()(sweep)
app.command()(tune)
app.command()(status)
app.command()(plot)
app.command()(report)
app.command()(table)
app.command()(compare)
app.command()(power)
app.command()(gc)


@app.command()
def partition(
    task: Annotated[str, typer.Option(help="Name of the task.")],
    alpha: Annotated[
        float | None, typer.Option(**number("--alpha"), help="Dirichlet concentration; inf is iid.")
    ] = None,
    kind: PartitionKind = None,
    seed: Annotated[int, typer.Option(**whole("--seed"), help="Seed of the partition.")] = 0,
    tier: Tier = "quick",
    data: Annotated[str | None, typer.Option(help="real or stand-in.")] = None,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Draw who holds what: a picture of clients by classes, in results/partitions/."""
    from bench.cli.partition_picture import draw
    from bench.config.cells import make_cell

    given = {"alpha": alpha, "partition": kind, "data": data}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    values |= {"task": task, "method": "fedavg", "seed": seed, "tier": tier}
    cell = make_cell(values, "command line", plugin or [])
    words, paths = draw(cell, results / "partitions", plugin or [])
    say(words, *(f"wrote {path}" for path in paths))


@app.command()
def perf(
    device: Device = "cpu",
    repetitions: Annotated[
        int, typer.Option(**whole("--repetitions", 1), help="Interleaved repetitions; the median counts.")
    ] = 5,
    part: Annotated[
        list[str] | None,
        typer.Option(help="Only this part: training, keep, round, clients or mixed; may be given repeatedly."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task in the part training; may be given repeatedly.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="Only this: fp32, bf16, or tf32 on CUDA; may be given repeatedly.")
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            **whole("--samples"), help="Samples of a client in the part round; fewer than the paper's are scaled up."
        ),
    ] = 500,
    deterministic: Deterministic = False,
    results: Results = Path("results"),
) -> None:
    """Time the harness beside a bare PyTorch loop in the same run, and how its cost grows with size."""
    from bench.numerics import runtime
    from bench.numerics.precision import emulation
    from bench.perf.command import measure
    from bench.perf.plan import plan_of

    with runtime.deterministic(deterministic):
        plan = plan_of(runtime.device_named(device), repetitions, part or [], task or [], precision or [], samples)
        say(*(line for precision in plan.precisions if (line := emulation(precision, plan.device))))
        measure(plan, results / "perf", out)


app.command()(check)
app.command()(new)
