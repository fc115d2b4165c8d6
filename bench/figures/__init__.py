"""Figures: each a function of the tables, in a file of its own.

Nothing here computes a statistic or knows of the simulation.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bench.errors import BenchError, choices, words_of
from bench.figures.base import FigureSpec, Options, Skip, Tables, by_task
from bench.figures.files import save_figure, save_table
from bench.figures.style import is_stamped, stamp, use_style

__all__ = ["BROKEN", "FIGURES", "FigureSpec", "Options", "Skip", "draw_all"]

log = logging.getLogger(__name__)


def _found() -> tuple[dict[str, FigureSpec], dict[str, str]]:
    """Return the figures that the files of this folder define, and why there is none in a file that cannot be read."""
    figures: dict[str, FigureSpec] = {}
    broken: dict[str, str] = {}
    for path in (path for folder in __path__ for path in sorted(Path(folder).glob("[!_]*.py"))):
        try:
            module = importlib.import_module(f"{__name__}.{path.stem}")
        except Exception as error:  # a file that somebody has put here must not cost the others
            broken[path.stem] = words_of(error)
            continue
        figures |= {spec.name: spec for spec in vars(module).values() if isinstance(spec, FigureSpec)}
    return figures, broken


FIGURES, BROKEN = _found()
"""The figures of this folder by name, and by the name of its file why one cannot be read."""


def _log_skip(name: str, reason: str) -> None:
    log.info("figure %s skipped: %s", name, reason)


def draw_all(
    tables: Tables,
    folder: Path,
    names: Iterable[str] | None = None,
    options: Options | None = None,
    on_skip: Callable[[str, str], None] = _log_skip,
    known: Mapping[str, FigureSpec] = FIGURES,
    on_figure: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Draw figures into ``folder`` as PNG and PDF, with their numbers as CSV and Markdown where they have some.

    Args:
        tables: "rounds", "ranks", "levels" and "footprint", those there are.
        folder: made if missing; files of the same name are replaced.
        names: which figures, of ``known``; by default all that are worth drawing.
        options: what a reader may choose.
        on_skip: called with (name, reason) for each figure that these tables do not allow.
        known: the figures there are by name, those of users too.
        on_figure: told the name of each before it is drawn.

    Returns:
        The files written, in order.

    Raises:
        BenchError: a name or an option is unknown, two cells differ in nothing that a figure shows, or the folder
            cannot be written.
    """
    chosen = list(known) if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise BenchError(f"figure {name!r} is unknown, {choices(name, known)}")
    options = replace(options or Options(), named=names is not None)
    written: list[Path] = []
    for name in chosen:
        on_figure(name)
        try:
            written += _draw(known[name], tables, Path(folder), options)
        except Skip as reason:
            on_skip(name, str(reason))
    return written


def _draw(spec: FigureSpec, tables: Tables, folder: Path, options: Options) -> list[Path]:
    for table in spec.needs:
        if table not in tables or tables[table].empty:
            raise Skip(f"the table {table!r} has no rows")
    written: list[Path] = []
    with use_style(options.front, options.colours, tables.get("cells"), options.at_chance):
        for suffix, figure in spec.draw(tables, options):
            if not is_stamped(figure):
                _stamp(figure, spec, suffix, tables)
            written += save_figure(figure, folder, f"{spec.name}-{suffix}")
    if spec.numbers:
        for suffix, numbers in spec.numbers(tables, options):
            written += save_table(numbers, folder, f"{spec.name}-{suffix}")
    return written


def _stamp(figure: Figure, spec: FigureSpec, suffix: str, tables: Tables) -> None:
    """Write above a figure what it rests on where its own function has not: a user's may know nothing of stamps.

    That is the runs of its tables; of a file that is named after a task, those of the task. Its heading is the title
    that it was given, or else the description of the figure.
    """
    rests_on: Tables = {}
    for name in spec.needs:
        table = tables[name]
        if "data_title" in table:
            rows = next((rows for of_task, _, rows in by_task(table) if of_task == suffix), table)
            rests_on[name] = rows if "round" in rows else _rounds_of(rows, tables)
    title = figure.get_suptitle() or spec.description[:1].upper() + spec.description[1:]
    figure.suptitle("")
    stamp(figure, rests_on, title)


def _rounds_of(cells: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Return the rounds of the runs of a table that has a row a run."""
    rounds = tables["rounds"]
    return rounds[rounds["cell"].astype(str).isin(set(cells["cell"].astype(str)))]
