"""How large the pages of a parquet file's columns become when they are decompressed, by their own headers.

Libraries trust these numbers: a page of a few kilobytes may ask for gigabytes. Headers are Thrift structures in the
compact protocol, of which as much is read here as is needed to come from one page to the next.
"""

from __future__ import annotations

from collections.abc import Iterator

_UNCOMPRESSED, _COMPRESSED = 2, 3
"""Numbers of the fields of a page's header that say how large the page is."""
_DEEPEST = 4
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, 12


def page_sizes(chunk: bytes) -> Iterator[int]:
    """Yield the bytes of each page of a column once it is decompressed.

    Args:
        chunk: all pages of one column of a row group, headers included.

    Raises:
        ValueError: these are not pages.
    """
    place = 0
    while place < len(chunk):
        try:
            fields, place = _struct(chunk, place, 0)
            size, length = fields[_UNCOMPRESSED], fields[_COMPRESSED]
        except (IndexError, KeyError):
            raise ValueError("a page has no header") from None
        place += length
        if size < 0 or length < 0 or place > len(chunk):
            raise ValueError("a page is longer than its column")
        yield size


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, int], int]:
    """Return the whole numbers among a structure's fields, by the number of the field, and where it ends."""
    if depth > _DEEPEST:
        raise ValueError("a page's header is nested too deeply")
    fields: dict[int, int] = {}
    number = 0
    while data[place]:
        kind, step = data[place] & 15, data[place] >> 4
        place += 1
        if step:
            number += step
        else:
            number, place = _integer(data, place)
        if kind in _INTEGERS:
            fields[number], place = _integer(data, place)
        else:
            place = _past(data, place, kind, depth)
    return fields, place + 1


def _past(data: bytes, place: int, kind: int, depth: int) -> int:
    """Return where the value of a field ends that is no whole number."""
    if kind in _BOOLEANS:  # the kind is the value
        return place
    if kind == _BYTE:
        return place + 1
    if kind == _DOUBLE:
        return place + 8
    if kind == _BINARY:
        size, place = _varint(data, place)
        return place + size
    if kind == _STRUCT:
        return _struct(data, place, depth + 1)[1]
    raise ValueError("a page's header has a field that no page has")  # lists and maps among them


def _integer(data: bytes, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a page's header has a number that is too long")
