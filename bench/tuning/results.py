"""From a study's trials to its tables, plots, tuned sweep file and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.box import HORIZONTALS
from rich.markup import escape
from rich.table import Table

from bench.figures.files import save_figure
from bench.figures.style import use_style
from bench.store.table_files import write_table
from bench.tuning import figure
from bench.tuning.claims import counted
from bench.tuning.guard import storage_guarded
from bench.tuning.plots import draw_plots
from bench.tuning.report import report_table
from bench.tuning.storage import open_storage, open_study
from bench.tuning.study_file import Study
from bench.tuning.tables import Trials, trials_table
from bench.tuning.tuned_file import PAPER, Choice


@storage_guarded()
def trials_of(study: Study, folder: Path, storage: str | None, plugins: tuple[Path, ...]) -> Trials:
    """Return each search with the trials of it that count."""
    opened = open_storage(storage, folder)
    return [
        (search, counted(open_study(study, search, opened, plugins), study.budget.trials)) for search in study.searches
    ]


def write_trials(
    study: Study, folder: Path, storage: str | None, plugins: tuple[Path, ...], say: Callable[[str], None]
) -> None:
    """Write the table of trials and Optuna's plots, and say what was left out.

    Raises:
        StorageError: the folder cannot be written.
    """
    trials = trials_of(study, folder, storage, plugins)
    table = trials_table(study, trials, plugins)
    write_table(folder / "tables" / "trials.parquet", table)
    frame = table.to_pandas()
    opened = open_storage(storage, folder)
    files = []
    for search, _ in trials:
        rows = frame[(frame["task"] == search.task) & (frame["label"] == search.label)]
        files += draw_plots(
            open_study(study, search, opened, plugins),
            search,
            rows,
            folder / "figures",
            lambda name, reason: say(f"plot {name} is left out: {reason}"),
        )
    say(f"{len(frame)} trials in tables/trials.parquet and {len(files)} plot files in figures/ of {folder}")


def write_report(
    study: Study, choices: list[Choice], folder: Path, storage: str | None, plugins: tuple[Path, ...]
) -> pa.Table:
    """Write the table and the figure of the report from the tables of its sweep, and return the table.

    Raises:
        StorageError: the folder cannot be written.
    """
    rounds = pq.read_table(folder / "tables" / "rounds.parquet").to_pandas()
    trials = trials_of(study, folder, storage, plugins)
    table = report_table(study, choices, trials, rounds, plugins)
    write_table(folder / "tables" / "report.parquet", table)
    frame = table.to_pandas()
    with use_style():
        for suffix, drawn in figure.draw(frame, rounds, study.budget.last):
            save_figure(drawn, folder / "figures", f"tuned-vs-paper-{suffix}")
    return table


def shown(report: pd.DataFrame, seeds: int) -> Table:
    """Return the report on so many seeds as a table for the terminal."""
    stand_in = ", stand-in data" if report["stand_in"].any() else ""
    # Without lines between its columns: two intervals, a name and the seeds are to fit in 80 characters.
    table = Table(
        title=f"accuracy (%) on fresh seeds{stand_in}",
        title_justify="left",
        box=HORIZONTALS,
        show_edge=False,
        padding=0,
    )
    several = report["task"].nunique() > 1
    for name in (["task"] if several else []) + ["method", "values", "held out", "test", "seeds", "tuned - paper"]:
        table.add_column(name, no_wrap=name != "method", overflow="fold" if name == "method" else "ellipsis")
    for row in report.to_dict("records"):
        table.add_row(
            *([row["task"]] if several else []),
            escape(row["label"]),
            escape(row["values"]),
            _percent(row, "validation_acc"),
            _percent(row, "test_acc"),
            _seeds(row, seeds),
            _percent(row, "difference", sign="+"),
            end_section=row["values"] != PAPER,
        )
    return table


def _seeds(row: Mapping[Any, Any], seeds: int) -> str:
    """Return how many seeds are in the mean of a row, and why not all."""
    if row["seeds"] == seeds:
        return str(seeds)
    diverged = f",\n{row['diverged']} diverged" if row["diverged"] else ""
    return f"{row['seeds']} of {seeds}{diverged}"


def _percent(row: Mapping[Any, Any], name: str, sign: str = "") -> str:
    """Return a share in percent, with its interval where it has one."""
    if pd.isna(row[name]):
        return ""
    words = f"{100 * row[name]:{sign}.1f}"
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return words if low is None or high is None or pd.isna(low) else f"{words} [{100 * low:.1f}, {100 * high:.1f}]"
