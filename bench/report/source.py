"""What a report is made of: the tables of a sweep file, of a folder of results or of a bundle, and what is known of it.

Whatever is opened, its numbers come from the same functions as those of ``plot`` and ``bench.load``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bench.analysis.summary import final_accuracy
from bench.config.cells import Sweep
from bench.errors import BenchError, several
from bench.launch import sweep as sweeps
from bench.launch.tables import USABLE, series_labels, tables_of
from bench.report import loaded
from bench.report.known import KnownCell, of_cells, of_record, of_tables
from bench.report.manifest import NAME as MANIFEST
from bench.report.manifest import read_manifest
from bench.store.bundle import SUFFIX, Bundle
from bench.store.cells import Record, Store

NEEDED = {
    "cells": (
        *("cell", "task", "method", "label", "keep", "capacities", "partition", "alpha", "seed", "status"),
        *("data_title", "stand_in", "final_acc"),
    ),
    "rounds": (
        *("cell", "label", "round", "test_acc", "down_bytes", "up_bytes", "forward_macs"),
        *("round_s", "evaluate_s", "diagnose_s"),
    ),
}
"""Columns without which there is no report."""
PRESENT = ("classes", "settings", "precision")
"""Columns that tables of the present version have, and without which a report says less."""
MOST_EVALUATIONS = 25  # that may make a headline accuracy, where a folder does not say how many do


@dataclass(frozen=True)
class Source:
    """Results that a report is made of.

    Attributes:
        title: of the sweep.
        opened: what was opened, without the folders above it.
        tables: by name, as :func:`bench.load` returns them.
        known: all cells that are known of, those of the tables first.
        figures: files of drawn figures, PNG.
        last: how many of the last evaluations make the headline accuracy.
        notes: what a reader has to know of the source itself.
        folder: where the report goes unless the user says so, and the figures lie.
        front: labels of the user's own series.
        colours: of methods by name, where users have given some.
    """

    title: str
    opened: str
    tables: Mapping[str, pd.DataFrame]
    known: tuple[KnownCell, ...]
    last: int
    folder: Path
    figures: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    front: tuple[str, ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)

    @property
    def cells(self) -> pd.DataFrame:
        """A row for each finished cell: the table of :func:`bench.analysis.summary.final_accuracy`."""
        return self.tables["finals"]


def of_sweep(sweep: Sweep, store: Store) -> Source:
    """Return the source of a sweep file, from its finished cells as ``plot`` takes them.

    Raises:
        BenchError: no cell is finished, or results cannot lie where they are to.
    """
    known = sweeps.records(sweep, store, sweep.plugins)
    if not any(record.state in USABLE for record in known):
        found = ", ".join(f"{number} {state}" for state, number in sweeps.counts(known).items())
        raise BenchError(f"{store.folder}: no cell of {sweep.title!r} is finished ({found}): 'sweep' runs them")
    tables = tables_of(known, store.table, sweep.last, store.environment, sweep.plugins)
    frames = {name: table.to_pandas() for name, table in tables.items()}
    return of_records(sweep, known, store, frames)


def of_records(sweep: Sweep, known: Sequence[Record], store: Store, tables: Mapping[str, pd.DataFrame]) -> Source:
    """Return the source of a sweep whose records and tables are at hand."""
    labels = series_labels([record.cell for record in known])
    cells = tuple(of_record(record, labels[record.cell.identity], store.environment(record)) for record in known)
    return _checked(
        Source(
            title=sweep.title,
            opened=store.folder.resolve().name,
            tables=tables,
            known=cells,
            last=sweep.last,
            folder=store.folder,
            figures=_figures(store.folder),
            colours=sweep.colours,
        )
    )


def of_folder(folder: Path, title: str = "", known: Iterable[KnownCell] = (), last: int | None = None) -> Source:
    """Return the source of a folder of results; one that has no tables but one bundle is opened as that.

    Raises:
        BenchError: there are no tables, or they are damaged or of an earlier version.
    """
    bundles = sorted(folder.glob(f"*{SUFFIX}"))
    if not any(folder.glob("tables/*.parquet")) and len(bundles) == 1:
        return of_bundle(bundles[0])
    if not folder.is_dir():
        raise BenchError(f"{folder}: there is no such folder; allowed: a sweep file, a folder of results or a bundle")
    tables = loaded.of_folder(folder, folder)
    _check_columns(folder, tables)
    notes = _written_notes(folder)
    found, said = {cell.name: cell for cell in known}, ""
    try:
        manifest = read_manifest(folder)
    except BenchError as error:
        if (folder / MANIFEST).exists():
            notes.append(str(error).replace(f"{folder}/", ""))
        manifest = {}
    said = str(manifest.get("title", ""))
    for cell in of_tables(tables["cells"], manifest):
        found.setdefault(cell.name, cell)
    for cell in of_cells(folder):
        found.setdefault(cell.name, cell)
    if not any(cell.environment for cell in found.values()):
        notes.append("The folder has tables and no manifest: revisions, machine and versions are not known.")
    front = sorted(set(tables["compare"]["label"].astype(str))) if "compare" in tables else []
    missing = [name for name in PRESENT if name not in tables["cells"]]
    if missing:
        notes.append(f"The tables are of an earlier version, which had no {', '.join(missing)}.")
    return _checked(
        Source(
            title=title or said or folder.resolve().name,
            opened=folder.resolve().name,
            tables=tables,
            known=tuple(found.values()),
            last=last or _last_of(tables),
            folder=folder,
            figures=_figures(folder),
            notes=tuple(notes),
            front=tuple(front),
        )
    )


def _written_notes(folder: Path) -> list[str]:
    """Return the lines of ``notes.txt`` beside results: what whoever made them says that a reader has to know."""
    try:
        return [
            line.strip() for line in (folder / "notes.txt").read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    except (OSError, UnicodeDecodeError):
        return []


def of_bundle(path: Path, last: int = 3) -> Source:
    """Return the source of a bundle; what it says of its cells is what it claims.

    Raises:
        BenchError: it is not as it was written, or of a later version.
    """
    bundle = Bundle(path)
    claims = list(bundle.claims.values())
    records, tables = loaded.records_of(bundle), loaded.of_bundle(bundle, last)
    labels = series_labels([claim.cell for claim in claims])
    known = tuple(
        of_record(record, labels[record.cell.identity], claim.environment)
        for record, claim in zip(records, claims, strict=True)
    )
    return _checked(
        Source(
            title=path.stem,
            opened=path.name,
            tables=tables,
            known=known,
            last=last,
            folder=path.parent,
            notes=(f"All of this is what the bundle {path.name} claims; nothing of it was run here.",),
        )
    )


def _checked(source: Source) -> Source:
    """Return a source with the table ``finals``, a row a finished cell.

    Raises:
        BenchError: no cell is finished.
    """
    cells = source.tables.get("cells")
    if cells is None or cells.empty:
        ended = f" ({several(len(source.known), 'cell')}: none of them is done)" if source.known else ""
        raise BenchError(f"{source.opened}: there is no finished cell here{ended}: a report has nothing to say")
    finals = final_accuracy(source.tables["rounds"], source.last).astype({"label": str, "method": str, "task": str})
    own = dict(zip(cells["cell"].astype(str), cells["final_acc"].astype(float), strict=True))
    names = finals["cell"].astype(str)
    finals = finals.assign(final_acc=names.map(own).mask(finals["status"].astype(str) == "diverged"))
    extra = [name for name in cells if name not in finals]
    about = cells[["cell", *extra]].assign(cell=cells["cell"].astype(str))
    finals = finals.assign(cell=names).merge(about, on="cell", how="left")
    return Source(**{**vars(source), "tables": {**source.tables, "finals": finals}})


def _check_columns(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    for name, columns in NEEDED.items():
        missing = [column for column in columns if name not in tables or column not in tables[name]]
        if missing:
            lacks = f"no table {name!r}" if name not in tables else f"no column {missing[0]!r} in {name!r}"
            raise BenchError(
                f"{folder}: its tables are of an earlier version ({lacks}); 'python -m bench results upgrade {folder}' "
                "brings them to the present columns"
            )
    _check_cells(folder, tables["cells"], tables["rounds"])
    for name, column in (("cells", "final_acc"), ("rounds", "test_acc")):
        values = tables[name][column].dropna()
        wrong = values if not pd.api.types.is_numeric_dtype(values) else values[(values < 0) | (values > 1)]
        if len(wrong):
            raise BenchError(
                f"{folder}: {column} in the table {name!r} is {wrong.iloc[0]!r}; allowed: accuracies as fractions "
                "from 0 to 1"
            )


def _check_cells(folder: Path, cells: pd.DataFrame, rounds: pd.DataFrame) -> None:
    if cells.empty:  # which has its own sentence
        return
    seeds = pd.to_numeric(cells["seed"], errors="coerce")
    wrong = cells.loc[~(seeds % 1 == 0), "seed"]
    if len(wrong):
        raise BenchError(f"{folder}: seed in the table 'cells' is {wrong.iloc[0]!r}; allowed: whole numbers")
    names = {name: set(table["cell"].astype(str)) for name, table in (("cells", cells), ("rounds", rounds))}
    for one, other in (("rounds", "cells"), ("cells", "rounds")):
        lacking = sorted(names[one] - names[other])
        if lacking:
            raise BenchError(
                f"{folder}: {several(len(lacking), 'cell')} of the table {one!r} ({lacking[0]!r}) "
                f"{'is' if len(lacking) == 1 else 'are'} not in {other!r}; allowed: tables of the same cells, as "
                "'python -m bench plot' writes them"
            )


def _last_of(tables: Mapping[str, pd.DataFrame]) -> int:
    """Return how many of the last evaluations make the headline accuracies of a folder's tables; 3 if none fits."""
    own = tables["cells"].assign(cell=tables["cells"]["cell"].astype(str)).set_index("cell")["final_acc"].astype(float)
    for last in (3, *range(1, MOST_EVALUATIONS + 1)):
        found = final_accuracy(tables["rounds"], last).assign(cell=lambda rows: rows["cell"].astype(str))
        again = found.set_index("cell")["final_acc"].reindex(own.index)
        if ((again - own).abs() < 1e-9).where(own.notna(), again.isna()).all():
            return last
    return 3


def _figures(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted((folder / "figures").glob("[!.]*.png")))
