"""The command that tunes methods: ``tune``."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import OK, PATH, SOME_FAILED, Device, Log, Plugin, Results, number, out, say, whole
from bench.errors import several
from bench.files import expanded

if TYPE_CHECKING:
    from bench.listeners.hearing import Hearing
    from bench.tuning.study_file import Study
    from bench.tuning.tuned_file import Choice

StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", parser=expanded, help="A study file, for example sweeps/studies/kappa-lambda-quick.toml."
    ),
]


def tune(
    file: StudyFile,
    jobs: Annotated[
        int | None,
        typer.Option(
            **whole("--jobs", 1), help="Methods tuned at once, each in its own process; all cores if left out."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of a database for the trials, as SQLAlchemy reads it; a journal file if left out."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Compare with the papers' values on the report seeds.")
    ] = True,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", **PATH, help="Where the tuned sweep file goes; sweeps/tuned/NAME.toml if left out."),
    ] = None,
    stop_after: Annotated[
        float | None,
        typer.Option(
            **number("--stop-after", 0), help="Seconds after which running cells leave a checkpoint and it ends."
        ),
    ] = None,
    plugin: Plugin = None,
    device: Device = "auto",
    log: Log = None,
    results: Results = Path("results"),
) -> None:
    """Tune methods on held-out samples, then compare the chosen values with the papers' on the test set."""
    from optuna.trial import TrialState

    from bench import kernels
    from bench.config.duration import long_waits
    from bench.config.possible import check_possible, slow_precisions
    from bench.launch.interruption import Interruption
    from bench.listeners.hearing import Hearing
    from bench.numerics.runtime import cores, device_named
    from bench.plugins import registry
    from bench.tuning.crew import run_searches
    from bench.tuning.display import TuneDisplay
    from bench.tuning.held_out import few_lines, held_out
    from bench.tuning.logged import logged
    from bench.tuning.results import trials_of, write_trials
    from bench.tuning.study_file import read_study
    from bench.tuning.tables import ended
    from bench.tuning.tuned_file import check_place, chosen, write_tuned

    study = read_study(file, plugin or [])
    plugins = study.plugins
    place, folder = device_named(device), results / study.name
    # On an accelerator trials share the device: one at a time unless the user asks for more.
    parallel = jobs or (cores() if place == "cpu" else 1)
    start, limit = time.monotonic(), math.inf if stop_after is None else stop_after
    path = out_file or Path("sweeps") / "tuned" / f"{study.name}.toml"
    check_place(path)
    hearing = Hearing.of(log or [], folder, [], say)
    seed, share = study.seeds[0], study.budget.validation
    papers = [search.cell(search.paper, seed, share, plugins) for search in study.searches]
    check_possible(papers, place, plugins)
    waits = long_waits(papers * study.budget.trials, place, parallel, plugins)
    say(*registry.replaced(plugins), *slow_precisions(papers, place, plugins), *waits)
    say(*(kernels.to_be_built() if place == "cpu" else ()))
    before = ended(trials_of(study, folder, storage, plugins))
    total = study.budget.trials * len(study.searches)
    spent = f"{several(len(study.searches), 'method')} of {several(study.budget.trials, 'trial')} each"
    say(f"{study.title}: {spent}: {before} of {total} ended")
    few = few_lines(held_out(study, plugins), len(study.seeds))
    say(*few)
    with hearing, TuneDisplay(out, total, before) as display, Interruption() as interruption:
        run_searches(
            study, folder, storage=storage, plugins=plugins, device=place, jobs=parallel,
            on_event=logged(display.show, hearing), stop_after=limit, stop=interruption.wanted,
        )  # fmt: skip
    trials = trials_of(study, folder, storage, plugins)
    left = total - ended(trials)
    if left and interruption.asked:
        raise KeyboardInterrupt
    write_trials(study, folder, storage, plugins, say)
    if left:
        say(f"stopped after {limit:g} s, {several(left, 'trial')} left: the same command goes on from the checkpoints")
        raise typer.Exit(OK)
    choices = chosen(trials)
    write_tuned(path, study, choices)
    say(f"the papers' and the tuned values as a sweep: {path}")
    failed = sum(trial.state == TrialState.FAIL for _, own in trials for trial in own)
    if failed:
        out.print(f"failed trials: {failed}; the table of trials has the reasons", style="red", soft_wrap=True)
    if report:
        with hearing:
            failed += _report(study, choices, path, folder, storage, plugins, place, parallel, start + limit, hearing)
    say(*few)
    raise typer.Exit(SOME_FAILED if failed else OK)


def _report(
    study: Study,
    choices: list[Choice],
    path: Path,
    folder: Path,
    storage: str | None,
    plugins: tuple[Path, ...],
    device: str,
    jobs: int,
    deadline: float,
    hearing: Hearing,
) -> int:
    """Run what is left of the tuned sweep, write its results and the comparison, and return how many cells failed."""
    from bench.config.cells import read_sweep
    from bench.figure_spec import Options
    from bench.launch import sweep as sweeps
    from bench.launch.interruption import Interruption
    from bench.launch.tables import USABLE
    from bench.report.plotting import write_results
    from bench.report.source import of_folder
    from bench.report.written import end_with_report
    from bench.store.cells import Store
    from bench.terminal.display import SweepDisplay
    from bench.tuning.results import shown, write_report

    tuned, store = read_sweep(path, plugins), Store(folder)
    plugins = tuned.plugins
    cells = sweeps.to_run(sweeps.records(tuned, store, plugins))
    failed = 0
    if cells:
        hearing.meet(*cells)
        with SweepDisplay(out, len(cells)) as display, Interruption() as interruption:
            ended = sweeps.run(
                cells, store, plugins=plugins, device=device, jobs=jobs,
                on_event=hearing.beside(display.show), stop=interruption.wanted,
                stop_after=max(deadline - time.monotonic(), 0.0),
            )  # fmt: skip
        failed = ended["failed"]
        left = len(cells) - ended.total()
        if left and interruption.asked:
            raise KeyboardInterrupt
        if left:
            say(f"stopped, {several(left, 'cell')} of the report left: the same command goes on from the checkpoints")
            return failed
    write_results(tuned, store, Options(reference=tuned.reference), out, report=False)
    if any(record.state in USABLE for record in sweeps.records(tuned, store, plugins)):
        out.print(shown(write_report(study, choices, folder, storage, plugins).to_pandas(), len(study.report_seeds)))
        say(f"the comparison: {folder / 'tables' / 'report.parquet'}, figures tuned-vs-paper in {folder / 'figures'}")
        end_with_report(lambda: of_folder(folder, last=tuned.last), say, plugins)
    return failed
