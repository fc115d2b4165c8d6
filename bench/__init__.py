"""A benchmark of sub-model federated learning.

>>> import bench
>>> rounds = bench.run(task="cnn-femnist", method="prism", keep=0.2, rounds=5)
>>> tables = bench.load("results/quick")  # or of a bundle: bench.load("quick.bench")
>>> table = bench.compare("my_method.py")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.1.0"
__all__ = ["compare", "load", "run"]


def run(
    *,
    task: str,
    method: str,
    keep: float | str | None = None,
    plugin: str | Path | Sequence[str | Path] | None = None,
    device: str = "cpu",
    workers: int = 1,
    inline: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """Run one cell and return its rounds, one row a round, without writing anything.

    Args:
        task, method: names as in ``python -m bench list``.
        keep: keep ratio of every client in (0, 1], 1 if left out, or a profile "keep ratio:share of the clients", for
            example "0.2:0.6,0.4:0.4", or a name of ``python -m bench list profiles``.
        plugin: a file that defines the method or the task, or a list of such files.
        device: "cpu", "cuda", "mps" or "auto".
        workers: processes that train the clients of a round.
        inline: run the cell in this very process, for debuggers; otherwise it has one of its own, so that a method that
            ends its process ends no other. No script needs a main guard for that.
        settings: ``budget`` in place of ``keep`` (for example "memory=0.2": the largest sub-model that fits),
            ``capacity partition alpha seed tier data diagnostics``, fields of the recipe ("rounds", "lr", ...),
            and the tables ``training``, ``model`` and ``parameters`` (of the method).

    Warns:
        UserWarning: the processor only emulates the precision asked for, which is slow, or it will take hours.

    Raises:
        bench.errors.BenchError: a setting is wrong, the data is not here, or the method failed: then the sentence names
            the line of the method's file, and its cause is the whole traceback.
    """
    import dataclasses
    import warnings

    import pandas as pd

    from bench.config.cells import AXES, TABLES, make_cell, table
    from bench.config.duration import long_waits
    from bench.config.possible import check_room, slow_precisions
    from bench.errors import BenchError
    from bench.launch.apart import Order, run_apart
    from bench.launch.running import run_cell
    from bench.numerics.runtime import device_named
    from bench.plugins import registry
    from bench.plugins.asked import asked
    from bench.tasks.base import Recipe
    from bench.written import plain

    recipe_fields = {field.name for field in dataclasses.fields(Recipe)}
    training = {name: settings.pop(name) for name in list(settings) if name in recipe_fields}
    values = {name: value for name, value in settings.items() if value is not None}
    values |= {"task": task, "method": method} | ({"keep": keep} if keep is not None else {})
    values["training"] = {**table(values.get("training", {}), "bench.run, training"), **training}
    plugins = _paths(plugin)
    unknown = set(values) - {*AXES, *TABLES}
    if unknown:
        from bench.errors import choices

        name = min(unknown)
        raise BenchError(f"bench.run: unknown setting {name!r}; {choices(name, [*AXES, *TABLES, *recipe_fields])}")
    cell = make_cell(values, "bench.run", plugins)
    workers = plain(workers)
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise BenchError(f"bench.run: workers = {workers!r} is not possible; allowed: a whole number from 1")
    place = device_named(device)
    of_task = registry.task(cell.task, plugins)
    with asked(of_task):
        check_room(of_task.build(cell))
    for line in (
        *registry.replaced(plugins),
        *slow_precisions([cell], place, plugins),
        *long_waits([cell], place, workers, plugins),
    ):
        warnings.warn(line, stacklevel=2)
    if inline:
        outcome = run_cell(cell, plugins=plugins, device=place, workers=workers)
    else:
        outcome = run_apart(Order(cell, None, plugins, place, workers), kept=True)
    if outcome.status in ("failed", "skipped"):
        raise BenchError(f"{cell.folder}: {outcome.status}: {outcome.reason}") from outcome.cause
    about: dict[str, Any] = {
        "status": outcome.status,
        "data_title": outcome.data_title,
        "stand_in": cell.data == "stand-in",
    }
    return pd.DataFrame(outcome.rounds).assign(**about)


def compare(
    method: str | Path,
    *,
    sweep: str | Path = "sweeps/compare.toml",
    against: str | Sequence[str] = (),
    keep: float | str | Sequence[float | str] = (),
    budget: str | Sequence[str] = (),
    task: str | Sequence[str] = (),
    seeds: int | None = None,
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    plugin: str | Path | Sequence[str | Path] | None = None,
    run_missing: bool = False,
    figures: bool = True,
    device: str = "cpu",
    jobs: int | None = None,
    results: str | Path = "results",
) -> pd.DataFrame:
    """Compare a method with all others of a sweep, paired by seed; what is missing of it is run.

    Its cells, tables and figures go to ``results/<sweep>-with-<method>/``. The others' cells are those of
    ``results/<sweep>/``, which is left as it is.

    Args:
        method: the file of a method, or the name of one.
        sweep: the sweep file whose settings and methods it is compared on.
        against: names of the methods it is compared with; all if left out.
        keep: keep ratios or profiles of the sweep; all if left out.
        budget: budgets of the sweep, as "memory=0.2"; all if left out.
        task: names of the sweep's tasks; all if left out.
        seeds: how many of the sweep's seeds; all if left out.
        name: which method, where the file holds several.
        parameters: of the method, where they differ from its defaults.
        plugin: further files of methods and tasks, or a list of them.
        run_missing: run cells of other methods too that are not there; they go to ``results/<sweep>/``.
        figures: draw the figures too.
        device: "cpu", "cuda", "mps" or "auto".
        jobs: cells run at once; as many as there is room for if left out.
        results: folder of all results.

    Returns:
        One row for each other series that the method meets, see docs/compare.md: ``acc``, ``other_acc``,
        ``difference`` and the ends of its 95 % t-interval ``low`` and ``high`` (fractions), ``pairs`` (seeds compared),
        ``verdict`` ("ahead", "behind" or empty), and what names the two and the setting.

    Warns:
        UserWarning: cells are missing or cannot be paired, or come from another machine or revision.

    Raises:
        bench.errors.BenchError: something is not possible or not there, or the method has no result.
    """
    import warnings

    from rich.console import Console

    from bench.comparison import comparing
    from bench.comparison.own_method import own_method
    from bench.comparison.plan import Choice, plan_of
    from bench.config.cells import read_sweep
    from bench.config.possible import check_possible
    from bench.files import expanded
    from bench.launch.devices import sweep_device

    read = read_sweep(expanded(sweep), _paths(plugin))
    own = own_method(str(method), read, name, parameters or {})
    choice = Choice(_listed(against), tuple(map(str, _listed(keep))), _listed(task), seeds, _listed(budget))
    plan, place = plan_of(read, own, choice, expanded(results)), sweep_device(device)
    look = comparing.look_at(plan, place)
    comparing.check(plan, look, run_missing, str(sweep))
    cells = look.to_run(run_missing)
    if cells:
        check_possible(cells, place, plan.plugins)
        comparing.run(plan, cells, device=place, jobs=jobs, on_event=lambda event: None)
    quiet = Console(quiet=True)
    made = comparing.compared(plan, comparing.look_at(plan, place), quiet)
    if figures:
        comparing.draw(plan, made, quiet)
    for line in made.lines:
        warnings.warn(line, stacklevel=2)
    return made.table


def _listed(value: Any) -> tuple[Any, ...]:
    """Return one value or several as several."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _paths(plugin: Any) -> tuple[Path, ...]:
    """Return the files that are named by a path or by a list of them."""
    from bench.errors import BenchError
    from bench.files import expanded

    files = [] if plugin is None else plugin if isinstance(plugin, list | tuple) else [plugin]
    for file in files:
        if not isinstance(file, str | Path):
            allowed = "the path of a file, or a list of them"
            raise BenchError(f"bench.run: plugin = {plugin!r} is not possible; allowed: {allowed}")
    return tuple(map(expanded, files))


def load(folder: str | Path, *, last: int = 3) -> dict[str, pd.DataFrame]:
    """Return the tables of a sweep by name: "cells", "rounds", "ranks", and of a folder "footprint".

    Args:
        folder: the sweep's results, for example "results/quick", or a bundle of them, "quick.bench", whose rows are in
            the order of the names of its cells.
        last: of a bundle: how many of the last evaluations make the headline accuracy; a folder's tables have that of
            their sweep file.

    Raises:
        bench.errors.BenchError: it is no path, or there are no tables, or the bundle is not as it was written.
    """
    from bench.errors import BenchError
    from bench.files import expanded

    if not isinstance(folder, str | Path):
        raise BenchError(f"bench.load: folder = {folder!r} is not possible; allowed: the path of a folder or a bundle")
    if isinstance(last, bool) or not isinstance(last, int) or last < 1:
        raise BenchError(f"bench.load: last = {last!r} is not possible; allowed: a whole number from 1")
    path = expanded(folder)
    from bench.report import loaded
    from bench.store.bundle import Bundle

    is_bundle = path.suffix == ".bench" and not path.is_dir()
    return loaded.of_bundle(Bundle(path), last) if is_bundle else loaded.of_folder(path, folder)
