"""Parquet tables of samples: rows in batches, and labels as the file itself names them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.data.labels import ClassNames
from bench.errors import BenchError, at, choices

if TYPE_CHECKING:
    import pyarrow

MOST_ROWS = 10_000_000  # ten times FEMNIST; a file of some kB can claim any number
_BATCH_ROWS = 2000


def batches(
    place: str, file: Path | bytes, columns: Sequence[str | tuple[str, ...]]
) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
    """Yield (number of the first row, rows) of one file; every error of the format becomes one sentence.

    Args:
        place: the file's name for sentences.
        file: its path or its content.
        columns: names of the columns to read; a tuple holds names of which the first that is there is read, and the
            batch calls it by the tuple's first name.

    Raises:
        BenchError: no parquet file, damaged, without one of the columns, or with more than 10 million rows.
    """
    import pyarrow
    from pyarrow import parquet

    wanted = [(column,) if isinstance(column, str) else column for column in columns]
    try:
        with parquet.ParquetFile(_source(file)) as table:
            if table.metadata.num_rows > MOST_ROWS:
                raise BenchError(f"{place}: {table.metadata.num_rows:,} rows, at most {MOST_ROWS:,} expected")
            names = table.schema_arrow.names
            chosen = [next((name for name in alternatives if name in names), "") for alternatives in wanted]
            for alternatives, name in zip(wanted, chosen, strict=True):
                if not name:
                    missing = alternatives[0]
                    raise BenchError(f"{place}: column {missing!r} is missing, {choices(missing, names)}")
            first_row = 0
            for batch in table.iter_batches(_BATCH_ROWS, columns=chosen):
                # The file's order of columns is not that of the wanted ones.
                rows = batch.select(chosen).rename_columns([alternatives[0] for alternatives in wanted])
                rows.validate(full=True)  # finds texts that are not UTF-8
                yield first_row, rows
                first_row += batch.num_rows
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise BenchError(f"{place}: cannot be read as parquet ({' '.join(str(error).split())})") from error


def _source(file: Path | bytes) -> Path | pyarrow.BufferReader:
    import pyarrow

    if isinstance(file, Path):
        if str(file).isprintable():
            return file
        file = file.read_bytes()  # Arrow opens no path with bytes that are no text
    return pyarrow.BufferReader(file)


def own_names(place: str, file: Path | bytes, column: str) -> list[str] | None:
    """Return the list of class names that Hugging Face's files have for a column; None where there is none."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(_source(file)) as table:
            metadata = table.schema_arrow.metadata or {}
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
        return [str(name) for name in names]
    except (OSError, pyarrow.ArrowException) as error:
        raise BenchError(f"{place}: cannot be read as parquet ({' '.join(str(error).split())})") from error
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def class_numbers(column: pyarrow.Array, classes: ClassNames, own: Sequence[str] | None, place: str) -> np.ndarray:
    """Return the class numbers of a column, int64 ``[n]``.

    Args:
        column: whole numbers, or names of classes as texts.
        classes: the data set's classes.
        own: the file's own list of names for its numbers; None where the numbers are the published ones.
        place: file and column for sentences.

    Raises:
        BenchError: other kinds of cells, empty cells, or a name or number that is no class.
    """
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_text = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
    if column.null_count or not (is_text or pyarrow.types.is_integer(column.type)):
        kind = f"{column.type} with {column.null_count} empty rows" if column.null_count else column.type
        raise BenchError(f"{place} holds {kind}, whole numbers without gaps expected")
    with at(place):
        if is_text:
            return np.array([classes.number(name) for name in column.to_pylist()], dtype=np.int64)
        numbers: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.int64)
        renumbering = np.arange(len(classes.names)) if own is None else classes.renumbering(own)
        outside = numbers[(numbers < 0) | (numbers >= len(renumbering))]
        if len(outside):
            raise BenchError(f"label {outside[0]}, allowed: 0 to {len(renumbering) - 1}")
        return renumbering[numbers]
