"""Writing figures and tables: whole files or none, and the same bytes for the same content."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis.tables import markdown
from bench.errors import BenchError

# Matplotlib would write its version and the time; without them equal figures are equal files.
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


def save_figure(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write ``stem``.png and ``stem``.pdf into ``folder`` and return their paths.

    Raises:
        BenchError: the folder cannot be written.
    """

    def writer(kind: str) -> Callable[[Path], object]:
        return lambda path: figure.savefig(path, format=kind, metadata=METADATA[kind])

    return [_write(folder / f"{stem}.{kind}", writer(kind)) for kind in METADATA]


def save_table(table: pd.DataFrame, folder: Path, stem: str) -> list[Path]:
    """Write ``stem``.csv and ``stem``.md into ``folder`` and return their paths.

    Raises:
        BenchError: the folder cannot be written.
    """
    seeds = [name for name in table.columns if str(name).endswith("by_seed")]
    table = table.assign(**{name: table[name].map(in_words) for name in seeds})
    return [
        _write(folder / f"{stem}.csv", lambda path: table.to_csv(path, index=False)),
        _write(folder / f"{stem}.md", lambda path: path.write_text(markdown(table), encoding="utf-8")),
    ]


def in_words(values: tuple[float, ...]) -> str:
    """Return the values of seeds as one text."""
    return " ".join(f"{value:.6g}" for value in values)


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a file beside ``path`` and move it there, so that nobody ever sees half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
            unfinished = Path(scratch) / path.name
            write(unfinished)
            os.replace(unfinished, path)
    except OSError as error:
        raise BenchError(
            f"cannot write {str(path)!r} ({error.strerror or error}): allowed is a folder that this user may write"
        ) from error
    return path
