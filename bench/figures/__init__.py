"""Figures: each a function of the tables, in a file of its own.

Nothing here computes a statistic or knows of the simulation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from bench.errors import BenchError, choices
from bench.figures import (
    ablation,
    accuracy_cost,
    accuracy_keep,
    aggregation_error,
    anme,
    approximation_error,
    cosine,
    exploration,
    footprint,
    gap,
    levels,
    personal,
    profiles,
    rank_methods,
    required_kernels,
    training_curves,
)
from bench.figures.base import FigureSpec, Options, Skip, Tables
from bench.figures.files import save_figure, save_table
from bench.figures.style import use_style

__all__ = ["FIGURES", "FigureSpec", "Options", "Skip", "draw_all"]

FIGURES: dict[str, FigureSpec] = {
    module.SPEC.name: module.SPEC
    for module in (
        accuracy_keep,
        accuracy_cost,
        gap,
        training_curves,
        profiles,
        levels,
        personal,
        ablation,
        required_kernels,
        rank_methods,
        exploration,
        anme,
        approximation_error,
        aggregation_error,
        cosine,
        footprint,
    )
}

log = logging.getLogger(__name__)


def _log_skip(name: str, reason: str) -> None:
    log.info("figure %s skipped: %s", name, reason)


def draw_all(
    tables: Tables,
    folder: Path,
    names: Iterable[str] | None = None,
    options: Options | None = None,
    on_skip: Callable[[str, str], None] = _log_skip,
) -> list[Path]:
    """Draw figures into ``folder`` as PNG and PDF, with their numbers as CSV and Markdown where they have some.

    Args:
        tables: "rounds", "ranks", "levels" and "footprint", those there are.
        folder: made if missing; files of the same name are replaced.
        names: which figures, from ``FIGURES``; by default all that are worth drawing.
        options: what a reader may choose.
        on_skip: called with (name, reason) for each figure that these tables do not allow.

    Returns:
        The files written, in order.

    Raises:
        BenchError: a name or an option is unknown, two cells differ in nothing that a figure shows, or the folder
            cannot be written.
    """
    chosen = list(FIGURES) if names is None else list(names)
    for name in chosen:
        if name not in FIGURES:
            raise BenchError(f"figure {name!r} is unknown, {choices(name, FIGURES)}")
    options = replace(options or Options(), named=names is not None)
    written: list[Path] = []
    for name in chosen:
        try:
            written += _draw(FIGURES[name], tables, Path(folder), options)
        except Skip as reason:
            on_skip(name, str(reason))
    return written


def _draw(spec: FigureSpec, tables: Tables, folder: Path, options: Options) -> list[Path]:
    for table in spec.needs:
        if table not in tables or tables[table].empty:
            raise Skip(f"the table {table!r} has no rows")
    written: list[Path] = []
    with use_style():
        for suffix, figure in spec.draw(tables, options):
            written += save_figure(figure, folder, f"{spec.name}-{suffix}")
    if spec.numbers:
        for suffix, numbers in spec.numbers(tables, options):
            written += save_table(numbers, folder, f"{spec.name}-{suffix}")
    return written
