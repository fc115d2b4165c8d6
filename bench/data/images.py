"""Pictures: encoded files, alone or in parquet files in the layout of Hugging Face image data sets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.data import tables
from bench.data.labels import ClassNames
from bench.data.pixels import no_picture
from bench.errors import BenchError

_IMAGE_COLUMNS = ("image", "img")


def read_images(
    files: Iterable[tuple[str, Path | bytes]],
    *,
    label: str,
    classes: ClassNames,
    mode: str,
    size: int,
    text_columns: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Decode the images of parquet files.

    The column ``image`` or ``img`` is a struct with the encoded picture in ``bytes`` (PNG, WebP, ... as Pillow reads).

    Args:
        files: place and file, read in this order.
        label: the column of labels, numbers or names of ``classes``.
        classes: what the labels mean; a file that has a list of names for its numbers is read by that list.
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
    places = []
    for place, file in files:
        own = tables.own_names(place, file, label)
        for first_row, batch in tables.batches(place, file, [_IMAGE_COLUMNS, label, *text_columns]):
            for row, encoded in enumerate(batch.column("image").to_pylist(), start=first_row):
                pictures.append(_decode_cell(encoded, mode, size, f"{place}, row {row}"))
            labels.append(tables.class_numbers(batch.column(label), classes, own, f"{place}: column {label!r}"))
            for column in text_columns:
                texts[column] += map(str, batch.column(column).to_pylist())
        places.append(place)
        if progress:
            progress(f"{Path(place).name} decoded")
    if not pictures:
        raise BenchError(f"{', '.join(places)}: no rows, at least one picture expected")
    return np.stack(pictures), np.concatenate(labels), {column: np.array(texts[column]) for column in texts}


def _decode_cell(encoded: object, mode: str, size: int, place: str) -> np.ndarray:
    content = encoded.get("bytes") if isinstance(encoded, dict) else None
    if not isinstance(content, bytes):
        raise BenchError(f"{place}: no picture, a struct with the encoded picture in 'bytes' expected")
    return decode(content, mode, size, place)


def decode(content: bytes, mode: str, size: int, place: str) -> np.ndarray:
    """Return one encoded picture as uint8 ``[channels, size, size]``.

    Raises:
        BenchError: it cannot be decoded or has another size; that is seen in its header, before any room is made.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            if (height, width) != (size, size):
                raise BenchError(f"{place}: picture of {height} x {width} pixels, {size} x {size} expected")
            pixels: np.ndarray = np.asarray(picture.convert(mode))
    except UnidentifiedImageError as error:
        raise no_picture(content, place) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise BenchError(f"{place}: the picture cannot be decoded ({error})") from error
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)
