"""The tables of a folder of results or of a bundle as DataFrames: what ``bench.load`` returns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import BenchError, one_line
from bench.launch.tables import tables_of
from bench.store.bundle import Bundle
from bench.store.cells import Record


def of_folder(folder: Path, given: str | Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a folder of results by name.

    Args:
        folder: the folder.
        given: what the user called it, for errors.

    Raises:
        BenchError: there are none, or one is damaged.
    """
    files = sorted((folder / "tables").glob("*.parquet"))
    if not files:
        raise BenchError(f"{given}: there are no tables here; run 'python -m bench sweep' or 'plot' first")
    try:
        return {file.stem: pd.read_parquet(file) for file in files}
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        reason = one_line(str(error))
        raise BenchError(
            f"{files[0].parent}: a table is damaged ({reason}); 'python -m bench plot' writes it again"
        ) from None


def records_of(bundle: Bundle) -> list[Record]:
    """Return what a bundle says of its cells, in its order."""
    return [Record(claim.cell, claim.facts["status"], claim.facts) for claim in bundle.claims.values()]


def of_bundle(bundle: Bundle, last: int) -> dict[str, pd.DataFrame]:
    """Return the tables of a bundle by name.

    Args:
        bundle: read and checked.
        last: how many of the last evaluations make the headline accuracy.
    """

    def environment(record: Record) -> Mapping[str, Any]:
        return bundle.claims[record.cell.identity].environment

    tables = tables_of(records_of(bundle), lambda record, name: bundle.table(record.cell, name), last, environment)
    return {name: table.to_pandas() for name, table in tables.items()}
