"""The command line: thin verbs; what is heavy is imported inside them."""

from __future__ import annotations

import io
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from bench.agg import use_agg
from bench.budget.told import telling
from bench.cli.compare import compare
from bench.cli.data import data_app
from bench.cli.estimate import estimate
from bench.cli.kit import check, new
from bench.cli.options import (
    INTERRUPTED,
    WRONG_USAGE,
    Deterministic,
    Device,
    PartitionKind,
    Plugin,
    Results,
    Tier,
    Verbs,
    number,
    out,
    say,
    whole,
)
from bench.cli.power import power
from bench.cli.report import report, statements, table
from bench.cli.results import gc, results_app
from bench.cli.run import run
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


def main() -> None:
    """Run the command line; a mistake the user can mend is one sentence and exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)
    use_agg()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding or a file's name cannot be written in
            stream.reconfigure(errors="backslashreplace")
    try:
        with telling(lambda line: Console(stderr=True).print(line, soft_wrap=True, highlight=False)):
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


app.command()(run)
app.command()(sweep)
app.command()(tune)
app.command()(status)
app.command()(plot)
app.command()(report)
app.command()(table)
app.command()(statements)
app.command()(compare)
app.command()(estimate)
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
        typer.Option(help="Only this part: training, keep, round, clients, mixed or memory; may be given repeatedly."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task in the parts training and memory; may be given repeatedly.")
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
