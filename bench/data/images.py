"""Image tables: parquet files in the layout of Hugging Face image data sets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import BenchError, choices

if TYPE_CHECKING:
    import pyarrow

_IMAGE_COLUMNS = ("image", "img")
_BATCH_ROWS = 2000


def parquet_files(path: Path) -> dict[str, list[Path]]:
    """Return the parquet files of the splits "train" and "test" in or below a folder, in the order of their names.

    Args:
        path: the folder, or one of the parquet files in it.
    """
    place = path.parent if path.suffix == ".parquet" else path
    return {split: sorted(place.rglob(f"{split}-*.parquet")) for split in ("train", "test")}


def read_images(
    files: Sequence[Path],
    *,
    label: str,
    mode: str,
    size: int,
    text_columns: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Decode the images of parquet files.

    The column ``image`` or ``img`` is a struct with the encoded picture in ``bytes`` (PNG, WebP, ... as Pillow reads).

    Args:
        files: the files, read in this order.
        label: the column of integer labels.
        mode: "RGB" for 3 channels or "L" for 1 (grey).
        size: height and width that every picture must have.
        text_columns: further columns to return as strings.
        progress: called after each file with a line for people.

    Returns:
        pictures as uint8 ``[n, channels, size, size]``, labels as int64 ``[n]``, the text columns.

    Raises:
        BenchError: a file is damaged, lacks a column, or holds a row that is no such picture (the row is named).
    """
    pictures: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    texts: dict[str, list[str]] = {column: [] for column in text_columns}
    for file in files:
        for first_row, batch in _batches(file, [label, *text_columns]):
            for row, encoded in enumerate(batch.column("image").to_pylist(), start=first_row):
                pictures.append(_decode(encoded, mode, size, f"{file}, row {row}"))
            labels.append(_integers(batch.column(label), f"{file}: column {label!r}"))
            for column in text_columns:
                texts[column] += map(str, batch.column(column).to_pylist())
        if progress:
            progress(f"{file.name} decoded")
    if not pictures:
        raise BenchError(f"{', '.join(map(str, files))}: no rows, at least one picture expected")
    return np.stack(pictures), np.concatenate(labels), {column: np.array(texts[column]) for column in texts}


def _batches(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
    """Yield (number of the first row, rows) of one file; every error of the format becomes one sentence."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            names = table.schema_arrow.names
            image_column = next((name for name in _IMAGE_COLUMNS if name in names), _IMAGE_COLUMNS[0])
            for column in (image_column, *columns):
                if column not in names:
                    raise BenchError(f"{file}: column {column!r} is missing, {choices(column, names)}")
            first_row = 0
            for batch in table.iter_batches(_BATCH_ROWS, columns=[image_column, *columns]):
                yield first_row, batch.rename_columns(["image", *columns])
                first_row += batch.num_rows
    except (OSError, pyarrow.ArrowException) as error:
        raise BenchError(f"{file}: cannot be read as parquet ({' '.join(str(error).split())})") from error


def _decode(encoded: object, mode: str, size: int, place: str) -> np.ndarray:
    """Return one picture as uint8 ``[channels, size, size]``."""
    from PIL import Image

    content = encoded.get("bytes") if isinstance(encoded, dict) else None
    if not isinstance(content, bytes):
        raise BenchError(f"{place}: no picture, a struct with the encoded picture in 'bytes' expected")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            pixels: np.ndarray = np.asarray(picture.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BenchError(f"{place}: the picture cannot be decoded ({error})") from error
    if pixels.shape[:2] != (size, size):
        raise BenchError(f"{place}: picture of {pixels.shape[0]} x {pixels.shape[1]} pixels, {size} x {size} expected")
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)


def _integers(column: pyarrow.Array, place: str) -> np.ndarray:
    import pyarrow

    if not pyarrow.types.is_integer(column.type) or column.null_count:
        kind = f"{column.type} with {column.null_count} empty rows" if column.null_count else column.type
        raise BenchError(f"{place} holds {kind}, whole numbers without gaps expected")
    labels: np.ndarray = column.to_numpy().astype(np.int64)
    return labels
