"""The command that compares one method with all others: ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import OK, PATH, SOME_FAILED, Device, Jobs, Log, Plugin, Results, out, say, whole
from bench.errors import BenchError, several

if TYPE_CHECKING:
    from bench.cell import Cell
    from bench.comparison.comparing import Compared
    from bench.comparison.plan import Plan

SWEEP = Path("sweeps") / "compare.toml"


def compare(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="The file of your method, as my_method.py, or the name of a method.")
    ],
    sweep: Annotated[
        Path, typer.Option(**PATH, help="The sweep file whose settings and methods it is compared on.")
    ] = SWEEP,
    name: Annotated[str | None, typer.Option("--method", help="Which one, where the file holds several.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Only these methods, as prism,heterofl; may be given repeatedly.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Only this keep ratio or profile; may be given repeatedly.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(help="Only this budget of the sweep, as memory=0.2; may be given repeatedly.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given repeatedly.")] = None,
    seeds: Annotated[
        int | None, typer.Option(**whole("--seeds", 1), help="So many of the sweep's seeds; all if left out.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value: a parameter of the method; may be given repeatedly."),
    ] = None,
    run_missing: Annotated[
        bool, typer.Option("--run-missing", help="Run cells of other methods too that are not there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run and how long it will take, and stop.")
    ] = False,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Draw the figures after the table, or leave them out.")
    ] = True,
    jobs: Jobs = None,
    plugin: Plugin = None,
    device: Device = "auto",
    log: Log = None,
    results: Results = Path("results"),
) -> None:
    """Run a method on the settings of a sweep and compare it with all others there, paired by seed."""
    from bench.comparison import comparing, shown
    from bench.comparison.own_method import own_method
    from bench.comparison.plan import Choice, plan_of
    from bench.config.cells import read_sweep
    from bench.launch import sweep as sweeps
    from bench.launch.devices import sweep_device
    from bench.listeners.hearing import kinds_in
    from bench.numerics.runtime import cores
    from bench.report.source import of_folder
    from bench.report.written import end_with_report

    kinds_in(log or [])  # a wrong name is refused also where nothing is left to run
    read = read_sweep(sweep, plugin or [])
    own = own_method(method, read, name, set_ or [])
    choice = Choice(_words(against), tuple(keep or []), tuple(task or []), seeds, tuple(budget or []))
    plan, place = plan_of(read, own, choice, results), sweep_device(device)
    look = comparing.look_at(plan, place)
    comparing.check(plan, look, run_missing, str(sweep))
    cells = look.to_run(run_missing)
    counts = ", ".join(f"{number} {state}" for state, number in sweeps.counts(look.mine).items())
    say(
        f"{own.name} on {read.title}: {counts}; to be paired with {len(look.pairable.records)} of "
        f"{len(look.others)} cells of other methods"
    )
    left = comparing.standing_of(plan, look, run_missing).time_left(jobs or cores())
    if dry_run:
        say(*look.pairable.lines, *(f"would run {cell.folder}" for cell in cells), left or "nothing to run")
        return
    failed = _run(plan, cells, place, jobs, left, log or []) if cells else 0
    try:
        made = comparing.compared(plan, comparing.look_at(plan, place), out)
    except BenchError as error:
        if not failed:
            raise
        out.print(str(error), style="red", highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(SOME_FAILED) from None
    say(*made.lines)
    shown.show(made.table, out)
    say(*made.written.at_chance(), f"the comparison: compare.* in {plan.store.folder / 'tables'}")
    if figures:
        _draw(plan, made)
    end_with_report(lambda: of_folder(plan.store.folder, last=read.last), say, plan.plugins)
    raise typer.Exit(SOME_FAILED if failed else OK)


def _draw(plan: Plan, made: Compared) -> None:
    """Draw the figures of a comparison, whose table is complete, with their progress on the screen."""
    from bench.comparison import comparing
    from bench.terminal.steps import Steps

    say("drawing the figures; the table above is complete, and Ctrl-C leaves it as it is")
    with Steps(out, "figures", len(comparing.figures_of(plan, made))) as steps:
        comparing.draw(plan, made, out, steps.begin_step)
    say(f"its differences: compare-* in {plan.store.folder / 'figures'}")


def _words(options: list[str] | None) -> tuple[str, ...]:
    """Return names that may stand in one option with commas between, each once."""
    return tuple(dict.fromkeys(name.strip() for words in options or [] for name in words.split(",")))


def _run(plan: Plan, cells: list[Cell], device: str, jobs: int | None, left: str, log: list[str]) -> int:
    """Run cells with their progress on the screen, and return how many failed."""
    from bench.comparison import comparing
    from bench.config.duration import long_waits
    from bench.config.possible import check_possible, slow_precisions
    from bench.launch.interruption import Interruption
    from bench.listeners.hearing import Hearing
    from bench.numerics.runtime import cores
    from bench.terminal.display import SweepDisplay

    check_possible(cells, device, plan.plugins)
    say(*slow_precisions(cells, device, plan.plugins), *long_waits(cells, device, cores(), plan.plugins))
    say(f"runs {several(len(cells), 'cell')}{f', {left}' if left else ''}")
    hearing = Hearing.of(log, plan.store.folder, cells, say)
    with hearing, SweepDisplay(out, len(cells)) as display, Interruption() as interruption:
        on_event = hearing.beside(display.show)
        ended = comparing.run(plan, cells, device=device, jobs=jobs, on_event=on_event, stop=interruption.wanted)
    if len(cells) > ended.total() and interruption.asked:
        raise KeyboardInterrupt
    return ended["failed"]
