"""The figures there are for a report: those of ``bench/figures``, of installed packages and of files of the user.

Here and not among the figures, which know of no plugins.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from matplotlib.figure import Figure

from bench import figures
from bench.errors import BenchError, choices
from bench.figures.base import FigureSpec, Options, Skip, Tables
from bench.plugins import registry
from bench.processes.failure import reason_of
from bench.store import schema

TABLES = ("cells", *schema.ALL_TABLES, "footprint", "fits")
SUFFIX = re.compile(r"[\w.+-]{1,100}")


def figures_with(plugins: Iterable[Path] = ()) -> dict[str, FigureSpec]:
    """Return all figures by name; one of a plugin takes the place of a built-in name.

    Those that are not built in leave a reason where they fail, as one that cannot be drawn does: one broken figure must
    not cost the others.
    """
    others = registry.figures(plugins)
    return figures.FIGURES | {name: _guarded(entry.spec, entry.source) for name, entry in others.items()}


def broken_figures(plugins: Iterable[Path] = ()) -> list[tuple[str, Path, str]]:
    """Return (name, file, reason) of each file that no figure can be read from."""
    folder = Path(str(inspect.getsourcefile(figures))).parent
    own = [(name, folder / f"{name}.py", reason) for name, reason in figures.BROKEN.items()]
    return own + [(broken.name, broken.source, broken.reason) for broken in registry.broken_figures(plugins)]


def _guarded(spec: FigureSpec, source: Path) -> FigureSpec:
    """Return a figure whose functions raise :class:`Skip` and nothing else."""
    unknown = [table for table in spec.needs if table not in TABLES]
    if unknown:
        reason = f"its file {source} needs the table {unknown[0]!r}; {choices(unknown[0], TABLES)}"
        return replace(spec, needs=(), draw=functools.partial(_skip, reason), numbers=None)
    safe = functools.partial(_safe, needs=tuple(spec.needs), source=source)
    numbers = None if spec.numbers is None else safe(spec.numbers, kind=pd.DataFrame)
    return replace(spec, needs=tuple(spec.needs), draw=safe(spec.draw, kind=Figure), numbers=numbers)


def _skip(reason: str, tables: Tables, options: Options) -> NoReturn:
    raise Skip(reason)


def _safe(
    function: Callable[..., Any], needs: tuple[str, ...], source: Path, kind: type
) -> Callable[[Tables, Options], Any]:
    """Return a function of copies of the tables that the figure needs: what it is not given, it cannot rest on."""

    @functools.wraps(function)
    def safe(tables: Tables, options: Options) -> Any:
        try:
            made = function({name: tables[name].copy() for name in needs}, options)
        except Skip:
            raise
        except (Exception, SystemExit) as error:
            reason = str(error) if isinstance(error, BenchError) else reason_of(error, [source])
            raise Skip(reason) from error
        return _checked(made, kind, f"{getattr(function, '__name__', 'its function')} of {source}")

    return safe


def _checked(made: Any, kind: type, place: str) -> list[tuple[str, Any]]:
    """Return what a figure's function has made, as pairs of a part of a file name and a figure or table.

    Raises:
        Skip: it is something else.
    """
    allowed = f"allowed: a list of pairs (suffix of the file name, {kind.__name__})"
    try:
        pairs = [(suffix, one) for suffix, one in made]
    except (TypeError, ValueError):
        raise Skip(f"{place} returned {type(made).__name__}; {allowed}") from None
    for suffix, one in pairs:
        if not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
            raise Skip(f"{place} returned the suffix {suffix!r}; allowed: letters, digits, '_', '-', '.' and '+'")
        if not isinstance(one, kind):
            raise Skip(f"{place} returned {type(one).__name__} for {suffix!r}; {allowed}")
    if len({suffix for suffix, _ in pairs}) < len(pairs):
        raise Skip(f"{place} returned one suffix twice; allowed: one file for each")
    return pairs
