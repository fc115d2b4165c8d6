"""The command that runs one cell: ``run``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import (
    OK,
    SOME_FAILED,
    Deterministic,
    Device,
    Log,
    PartitionKind,
    Plugin,
    Results,
    Tier,
    number,
    out,
    say,
    whole,
)
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.cell import Cell
    from bench.launch.running import Outcome
    from bench.listeners.hearing import Hearing
    from bench.store.cells import Store


def run(
    task: Annotated[str, typer.Option(help="Name of the task, see 'list tasks'.")],
    method: Annotated[str, typer.Option(help="Name of the method, see 'list methods'.")],
    keep: Annotated[
        str,
        typer.Option(
            help="Keep ratio of every client (1 if left out), or of shares as 0.2:0.6,0.4:0.4, or see 'list profiles'."
        ),
    ] = "",
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --keep: what a client may take, as memory=0.2 (of the full model) or bytes=1.5MB; the "
            "largest sub-model that fits is found. Of memory, parameters, bytes, macs; several hold together."
        ),
    ] = None,
    capacity: Annotated[
        str,
        typer.Option(
            help="fixed; dynamic: keep ratios of a profile are drawn anew each round; dealt: shuffled in the cohort."
        ),
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
    from bench.config.cells import make_cell
    from bench.config.settings import number_or_words, split_settings
    from bench.listeners.hearing import Hearing
    from bench.numerics import runtime
    from bench.numerics.runtime import cores, device_named
    from bench.store.cells import Store

    plugins = tuple(plugin or [])
    given = {"alpha": alpha, "partition": partition, "data": data}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    values |= {"task": task, "method": method, "seed": seed, "tier": tier}
    values |= {"keep": number_or_words(keep)} if keep else {}
    values |= {"budget": " ".join(budget)} if budget else {}
    values |= {"capacity": capacity, "diagnostics": diagnostics}
    values |= split_settings(set_ or [], task, method, plugins)
    if rounds is not None:
        values["training"] = {**values["training"], "rounds": rounds}
    cell = make_cell(values, "command line", plugins)
    place, workers = device_named(device), workers or cores()
    _check(cell, place, workers, plugins)
    store = Store(results / "runs")
    store.prepare()
    hearing = Hearing.of(log or [], store.folder, [cell], say)
    with runtime.deterministic(deterministic):
        outcome = _shown(cell, store, plugins, place, workers, hearing)
    _say_how_it_ended(cell, store, outcome)
    raise typer.Exit(SOME_FAILED if outcome.status == "failed" else OK)


def _check(cell: Cell, place: str, workers: int, plugins: Sequence[Path]) -> None:
    """Refuse what is not possible, and say what will take long or is otherwise than one may think."""
    from bench import kernels
    from bench.config.duration import long_waits
    from bench.config.possible import check_possible, slow_precisions
    from bench.plugins import registry

    check_possible([cell], place, plugins)
    say(
        *registry.replaced(plugins),
        *slow_precisions([cell], place, plugins),
        *long_waits([cell], place, workers, plugins),
        *(kernels.to_be_built() if place == "cpu" else ()),
    )


def _shown(cell: Cell, store: Store, plugins: tuple[Path, ...], place: str, workers: int, hearing: Hearing) -> Outcome:
    """Run the cell under its lease, with its rounds on the screen and passed on."""
    from bench.launch.apart import Order, Seen, run_apart
    from bench.store.leases import Leases
    from bench.terminal.display import RunDisplay

    leases = Leases(store.unfinished)
    lease = leases.take(cell.folder, os.getpid())
    if lease is None:
        raise BenchError(f"{cell.folder}: {leases.holder(cell.folder)} runs this cell now; wait for it or end it")
    title = f"{cell.task}, {cell.label}"
    if not cell.capacities:
        title += f" (keep ratio {cell.keep:g})" if cell.budget else f", keep ratio {cell.keep:g}"
    display = RunDisplay(out, f"{title}, seed {cell.seed}")

    def show(seen: Seen) -> None:
        display.show(seen)
        hearing.round(cell.folder, seen.row)

    with lease.held(), hearing, display:
        outcome = run_apart(Order(cell, store, plugins, place, workers, lease), show, display.note)
        hearing.ended(cell.folder, outcome.status, outcome.reason)
    return outcome


def _say_how_it_ended(cell: Cell, store: Store, outcome: Outcome) -> None:
    from bench.analysis.chance import at_chance, final_accuracy
    from bench.store.wholeness import whole as facts_of

    if outcome.status != "done":
        out.print(f"{outcome.status}: {outcome.reason}", style="yellow", highlight=False, soft_wrap=True, markup=False)
    say(f"saved in {store.path(cell)}")
    final = final_accuracy(outcome.rounds) if outcome.status == "done" else None
    for line in [] if final is None else at_chance([(cell.task, final, facts_of(store.path(cell)))]):
        out.print(line, highlight=False, soft_wrap=True, markup=False)
