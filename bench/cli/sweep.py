"""The commands that run a sweep and look at it: ``sweep``, ``status`` and ``plot``."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    OK,
    PATH,
    SOME_FAILED,
    Deterministic,
    Device,
    Jobs,
    Log,
    Plugin,
    Results,
    SweepFile,
    number,
    one_of,
    out,
    say,
)

if TYPE_CHECKING:
    from bench.launch.sweep import Hire


class Axis(StrEnum):
    """Horizontal axes of the training curves."""

    round = "round"
    bytes = "bytes"
    macs = "macs"
    seconds = "seconds"


class Engine(StrEnum):
    """Who runs the cells."""

    local = "local"
    inline = "inline"
    ray = "ray"


class Stale(StrEnum):
    """What to do with results of another revision."""

    rerun = "rerun"
    keep = "keep"


def sweep(
    file: SweepFile,
    engine: Annotated[
        Engine,
        typer.Option(
            **one_of("--engine", Engine),
            help="Who runs the cells: local (processes), inline (this one) or ray (a cluster).",
        ),
    ] = Engine.local,
    jobs: Jobs = None,
    only: Annotated[list[str] | None, typer.Option(help="name=value: only the cells that have it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run and stop.")] = False,
    stale: Annotated[
        Stale,
        typer.Option(**one_of("--stale", Stale), help="Results of another revision: run again, or leave as they are."),
    ] = Stale.rerun,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed/--leave-failed", help="Run failed cells again, or leave them.")
    ] = True,
    stop_after: Annotated[
        float | None,
        typer.Option(
            **number("--stop-after", 0), help="Seconds after which running cells leave a checkpoint and it ends."
        ),
    ] = None,
    address: Annotated[
        str, typer.Option(help="Ray: HOST:PORT of the head; auto is this machine's cluster, local starts one.")
    ] = "auto",
    resources: Annotated[
        str, typer.Option(help="Ray: what a cell needs, for example cpus=1,gpus=0.5,memory=4e9.")
    ] = "cpus=1",
    runtime_env: Annotated[
        Path | None, typer.Option(**PATH, help="Ray: a JSON or YAML file with the runtime environment of the nodes.")
    ] = None,
    plugin: Plugin = None,
    device: Device = "auto",
    deterministic: Deterministic = False,
    log: Log = None,
    results: Results = Path("results"),
) -> None:
    """Run what is left of a sweep, then write its tables and figures under results/NAME/."""
    from bench.config.cells import read_sweep
    from bench.errors import BenchError
    from bench.launch import sweep as sweeps
    from bench.listeners.hearing import kinds_in
    from bench.numerics import runtime
    from bench.store.cells import Store
    from bench.store.origin import remember, shared_by

    kinds_in(log or [])  # a wrong name is refused also where nothing is left to run
    chosen = whole = read_sweep(file, plugin or [])
    plugins = whole.plugins
    for condition in only or []:
        chosen = sweeps.only(chosen, condition)
    if deterministic and engine is Engine.ray:
        raise BenchError("--deterministic: it does not reach the nodes of a Ray cluster; take --engine local or inline")
    place, hire = _crew_of(engine, device, address, resources, runtime_env)
    store = Store(results / whole.name)
    known = sweeps.records(chosen, store, plugins)
    cells = sweeps.to_run(known, stale, retry_failed)
    _say_counts(whole.title, sweeps.counts(known))
    say(*shared_by(store.folder, file=file))
    if dry_run:
        from bench.cli.estimate import at_hand_line

        line = [at_hand_line(file, known, store, plugins, place, jobs)] if cells else []
        say(*(f"would run {cell.folder}" for cell in cells), *line)
        return
    from bench import kernels
    from bench.config.duration import long_waits
    from bench.config.possible import check_possible, slow_precisions
    from bench.launch.interruption import Interruption
    from bench.listeners.hearing import Hearing
    from bench.numerics.runtime import cores
    from bench.plugins import registry
    from bench.terminal.display import SweepDisplay

    failed = 0 if retry_failed else sweeps.counts(known).get("failed", 0)
    if cells:
        check_possible(cells, place, plugins)
        say(*registry.replaced(plugins))
        if engine is not Engine.ray:  # whose nodes have processors of their own
            say(*slow_precisions(cells, place, plugins), *long_waits(cells, place, cores(), plugins))
            say(*(kernels.to_be_built() if place == "cpu" else ()))
        store.prepare()
        remember(store.folder, file)
        limit = math.inf if stop_after is None else stop_after
        repeating, hearing = runtime.deterministic(deterministic), Hearing.of(log or [], store.folder, cells, say)
        with repeating, hearing, SweepDisplay(out, len(cells)) as display, Interruption() as interruption:
            ended = sweeps.run(
                cells,
                store,
                plugins=plugins,
                device=place,
                jobs=jobs,
                on_event=hearing.beside(display.show),
                stop_after=limit,
                stop=interruption.wanted,
                hire=hire,
            )
        failed += ended["failed"]
        left = len(cells) - ended.total()
        if left and interruption.asked:
            raise KeyboardInterrupt
        if left:
            noun = "cell is" if left == 1 else "cells are"
            say(f"stopped after {limit:g} s: {left} {noun} left, and the same command goes on from the checkpoints")
    else:
        whole_sweep = all(record.state == "done" for record in known)
        out.print(f"all {len(known)} cells are done: nothing to run" if whole_sweep else "nothing to run")
    from bench.figure_spec import Options
    from bench.report.plotting import write_results  # the libraries that draw take 150 MB

    write_results(whole, store, Options(reference=whole.reference), out)
    if failed:
        words = f"failed cells: {failed}; see 'python -m bench status {file}'"
        out.print(words, style="red", soft_wrap=True, markup=False)
    raise typer.Exit(SOME_FAILED if failed else OK)


def _crew_of(engine: Engine, device: str, address: str, resources: str, runtime_env: Path | None) -> tuple[str, Hire]:
    """Return where models are trained, and what hires an engine's crew."""
    from bench.errors import BenchError
    from bench.launch import inline, local
    from bench.launch.devices import sweep_device
    from bench.launch.ray_settings import settings_of

    if engine is not Engine.ray:
        for option, given in (
            ("--address", address != "auto"),
            ("--resources", resources != "cpus=1"),
            ("--runtime-env", runtime_env is not None),
        ):
            if given:
                raise BenchError(f"{option}: it says something of a Ray cluster, which only --engine ray uses")
        return sweep_device(device), inline.hire if engine is Engine.inline else local.hire
    settings = settings_of(address, resources, runtime_env, device)
    try:
        from bench.launch import ray_cluster
    except ModuleNotFoundError:
        raise BenchError(
            "--engine ray: Ray is not installed; 'pip install ray' adds it, and 'make setup' in a clone"
        ) from None
    return "cuda" if settings.gpus else "cpu", functools.partial(ray_cluster.hire, settings=settings)


def status(file: SweepFile, plugin: Plugin = None, results: Results = Path("results")) -> None:
    """Show how many cells of a sweep are done, running, failed, stale or to do, why, and how long the rest may take.

    Cells that come from others' bundles are told apart, with what those claim.
    """
    from bench.bundle.show import claimed
    from bench.config.cells import read_sweep
    from bench.launch import sweep as sweeps
    from bench.launch.standing import standing
    from bench.numerics.runtime import cores
    from bench.store.cells import Store
    from bench.store.origin import shared_by

    chosen = read_sweep(file, plugin or [])
    plugins, store = chosen.plugins, Store(results / chosen.name)
    known = sweeps.records(chosen, store, plugins)
    now = standing(known, store, plugins)
    _say_counts(chosen.title, now.counts)
    say(*shared_by(store.folder, file=file))
    time_left = now.time_left(now.counts.get("running") or cores())
    say(*claimed(known, store), *now.lines, *(line for line in (now.again, time_left) if line))


def plot(
    file: SweepFile,
    x: Annotated[
        Axis, typer.Option(**one_of("--x", Axis), help="Horizontal axis of the training curves.")
    ] = Axis.round,
    figures: Annotated[
        list[str] | None,
        typer.Option(help="Only these, as gap,levels; may be given repeatedly. Left out: those of the file, or all."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="What gap subtracts: a method or label. Left out: the file's, or fedavg.")
    ] = None,
    bands: Annotated[
        bool, typer.Option("--bands", help="Draw the intervals of training curves where they are many, too.")
    ] = False,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Write the tables and figures of a sweep from its finished cells."""
    from bench.config.cells import known_figures, read_sweep
    from bench.config.drawing import known_reference
    from bench.figure_spec import Options
    from bench.report.plotting import write_results
    from bench.store.cells import Store

    chosen = read_sweep(file, plugin or [])
    if figures:
        names = [name.strip() for words in figures for name in words.split(",")]
        chosen = replace(chosen, figures=known_figures(names, "--figures", chosen.plugins))
    other = chosen.reference if reference is None else known_reference(reference, chosen.cells, "--reference")
    options = Options(x=x.value, reference=other, bands=bands)
    write_results(chosen, Store(results / chosen.name), options, out)


def _say_counts(title: str, counts: Mapping[str, int]) -> None:
    total = sum(counts.values())
    words = ", ".join(f"{number} {state}" for state, number in counts.items())
    say(f"{title}: {total} {'cell' if total == 1 else 'cells'}: {words}")
