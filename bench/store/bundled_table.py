"""A table of all cells of a bundle: parquet, with the number of the cell in front of each row.

What is read may be anybody's. Before a value is decoded, the file's own description and the header of every page are
held against the schema and against what so many rows can take; then a group of rows is read at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.store.pages import page_sizes

CELL = pa.field("cell", pa.int32(), nullable=False)
GROUP_ROWS = 1 << 17
"""Rows of a group, which is what is decoded at once."""
_CODECS = ("ZSTD", "UNCOMPRESSED")
_LEAST_BYTES_OF_CHUNK = 1 << 20
_BYTES_OF_VALUE = 16
"""What a value may take: 8 bytes of itself, an entry of a dictionary and its number."""
_ROWS_ALLOWED, _ROWS_OF_BYTE = 1 << 20, 64
"""A bundle may have a million rows of any kind, and more in proportion to its size: honest rows take some 50 bytes."""
_LONGEST_WORD = 1000
_THRIFT_BYTES, _THRIFT_ITEMS = 1 << 20, 1 << 20


def written(tables: Iterable[pa.Table], schema: pa.Schema) -> tuple[bytes, int]:
    """Return cells' tables as one parquet file, and how many rows it has; the same tables give the same bytes.

    Floats are split by their bytes, of which the high ones repeat; all else has a dictionary.

    Args:
        tables: one of each cell, of this schema; the first is the cell of number 0.
    """
    stored = _stored(schema)
    floats = [field.name for field in stored if pa.types.is_floating(field.type)]
    others = [field.name for field in stored if not pa.types.is_floating(field.type)]
    content, rows = io.BytesIO(), 0
    with pq.ParquetWriter(
        content,
        stored,
        compression="zstd",
        compression_level=9,
        use_dictionary=others,
        column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        write_statistics=False,
        store_schema=False,
        data_page_size=1 << 22,
    ) as writer:
        for group in _groups(tables, stored):
            writer.write_table(group, row_group_size=GROUP_ROWS)
            rows += len(group)
    return content.getvalue(), rows


class BundledTable:
    """A table of a bundle, looked at and not yet read.

    Args:
        content: the file.
        schema: of a cell's table.
        rows: how many rows it must have.
        name: of the table, for sentences.

    Raises:
        ValueError: it is no such table, or would become larger than such a table can be.
    """

    def __init__(self, content: bytes, schema: pa.Schema, rows: int, name: str) -> None:
        self.content, self.schema = content, schema
        _check(_opened(content, name).metadata, content, schema, rows, name)
        self._kept: tuple[list[int], pa.Table] = [], schema.empty_table()

    def rows(self, start: int, stop: int, cell: int) -> pa.Table:
        """Return the rows of one cell; columns that the file lacks are empty.

        Raises:
            ValueError: they are not of this cell or not of this schema.
        """
        if start == stop:
            return self.schema.empty_table()
        words = [field.name for field in self.schema if pa.types.is_dictionary(field.type)]
        try:
            file = _opened(self.content, "it", read_dictionary=words)
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            ends = list(accumulate(sizes))
            wanted = [group for group, end in enumerate(ends) if end - sizes[group] < stop and start < end]
            if self._kept[0] != wanted:  # cells of one group are asked for one after the other
                self._kept = wanted, file.read_row_groups(wanted, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"its rows cannot be read ({str(error).splitlines()[0][:80]})") from None
        first = ends[wanted[0]] - sizes[wanted[0]]
        return _of_cell(self._kept[1].slice(start - first, stop - start), self.schema, cell)


def _check(about: pq.FileMetaData, content: bytes, schema: pa.Schema, rows: int, name: str) -> None:
    """Look at what a file says of itself, without reading a value."""
    if about.num_rows != rows:
        raise ValueError(f"{name} has {about.num_rows} rows where its cells have {rows}")
    if rows > _ROWS_ALLOWED + _ROWS_OF_BYTE * len(content):
        raise ValueError(f"{name} would become {rows} rows from {len(content)} bytes, which no run's table does")
    columns = [about.schema.column(number) for number in range(about.num_columns)]
    if about.metadata or any(column.max_repetition_level or column.max_definition_level > 1 for column in columns):
        raise ValueError(f"{name} has other columns than such a table")
    found = {field.name: field.type for field in about.schema.to_arrow_schema()}
    wanted = {field.name: field for field in _stored(schema)}
    strange = [column for column, kind in found.items() if column not in wanted or wanted[column].type != kind]
    missing = [column for column, field in wanted.items() if column not in found and not field.nullable]
    if strange or missing or len(found) != about.num_columns:
        words = f"column {(strange or missing or ['one twice'])[0][:60]!r}"
        raise ValueError(f"{name} has other columns than such a table ({words})")
    if about.num_row_groups > rows // GROUP_ROWS + 1:
        raise ValueError(f"{name} has {about.num_row_groups} groups of rows, more than {rows} rows need")
    for number in range(about.num_row_groups):
        _check_group(content, about.row_group(number), name)


def _of_cell(table: pa.Table, schema: pa.Schema, cell: int) -> pa.Table:
    if table.column(CELL.name).unique().to_pylist() != [cell]:
        raise ValueError("its rows are another cell's")
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
        if not field.nullable and table.column(field.name).null_count:
            raise ValueError(f"column {field.name!r} has empty values")
    table = table.select(schema.names).cast(schema).unify_dictionaries().combine_chunks()
    for field in schema:
        if pa.types.is_dictionary(field.type):
            _check_words(table.column(field.name))
    return table


def _check_words(column: pa.ChunkedArray) -> None:
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        if not all(word is not None and word.isprintable() and len(word) < _LONGEST_WORD for word in words):
            raise ValueError("a text in it cannot be shown")


def _check_group(content: bytes, group: pq.RowGroupMetaData, name: str) -> None:
    if not 0 <= group.num_rows <= GROUP_ROWS:
        raise ValueError(f"{name} has a group of {group.num_rows} rows, more than a bundle's has")
    for number in range(group.num_columns):
        chunk = group.column(number)
        start = chunk.data_page_offset
        if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
            start = chunk.dictionary_page_offset
        stop = start + chunk.total_compressed_size
        if not 0 < start <= stop <= len(content) or chunk.num_values != group.num_rows or chunk.file_path:
            raise ValueError(f"{name} has a column that lies outside of it")
        if chunk.compression not in _CODECS:
            raise ValueError(f"{name} is compressed by {chunk.compression}, and a bundle's tables by {_CODECS[0]}")
        allowed = _LEAST_BYTES_OF_CHUNK + _BYTES_OF_VALUE * group.num_rows
        if sum(page_sizes(content[start:stop])) > allowed:
            raise ValueError(f"{name} would become larger than {group.num_rows} rows can be")


def _opened(content: bytes, name: str, **how: Any) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            pa.BufferReader(content),
            thrift_string_size_limit=_THRIFT_BYTES,
            thrift_container_size_limit=_THRIFT_ITEMS,
            **how,
        )
    except (OSError, pa.ArrowException):
        raise ValueError(f"{name} is no whole table") from None


def _groups(tables: Iterable[pa.Table], stored: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of all cells in groups of equal size, the last one what is left."""
    waiting = stored.empty_table()
    for number, table in enumerate(tables):
        numbers = pa.array([number], pa.int32()).take(pa.array([0] * len(table), pa.int32()))
        columns = [table.column(field.name).cast(field.type) for field in stored if field.name != CELL.name]
        waiting = pa.concat_tables([waiting, pa.table([numbers, *columns], schema=stored)])
        while len(waiting) >= GROUP_ROWS:
            yield waiting.slice(0, GROUP_ROWS).combine_chunks()
            waiting = waiting.slice(GROUP_ROWS)
    if len(waiting):
        yield waiting.combine_chunks()


def _stored(schema: pa.Schema) -> pa.Schema:
    """Return the columns of the file: words as texts, of which parquet makes dictionaries of its own."""
    plain = [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    return pa.schema([CELL, *plain])
