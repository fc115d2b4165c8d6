"""Tables as parquet files: of a cell's folder, and those that are derived from many."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import BenchError, StorageError, one_line
from bench.store.schema import OPTIONAL, TABLES, as_now


def table_in(folder: Path, name: str) -> pa.Table:
    """Return a table of a finished cell's folder; empty where the cell has no such rows.

    Raises:
        BenchError: the file is damaged.
    """
    path, schema = folder / f"{name}.parquet", TABLES[name]
    if name in OPTIONAL and not path.exists():
        return schema.empty_table()
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BenchError(
            f"{path}: not a whole parquet file ({one_line(str(error))}); "
            "delete the cell's folder and run the sweep again"
        ) from None
    return as_now(table, schema)


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Write a derived table atomically.

    Raises:
        StorageError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {name.encode(): value.encode() for name, value in (metadata or {}).items()}
        write_parquet(fresh, table.replace_schema_metadata({**(table.schema.metadata or {}), **about}))
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise StorageError(f"{path}: the table cannot be written: {error.strerror or error}") from None


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table and force it to the disk."""
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
