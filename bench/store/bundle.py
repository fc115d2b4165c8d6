"""A bundle: finished cells in one file, ``NAME.bench``, as somebody made it, here or elsewhere.

It is an archive of stored members (:mod:`bench.store.container`): ``manifest.json``, ``cells.json`` and the tables of
all cells one below the other, with the number of the cell in front. Whose it is, is not known: nothing in it is run or
unpickled, every size is looked at before anything is read, and what it says stays what *it* says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.cell import Cell
from bench.errors import BenchError
from bench.files import checksum
from bench.store.bundled_table import BundledTable
from bench.store.claimed import checked, checked_texts
from bench.store.container import members_of
from bench.store.schema import TABLES, VERSION
from bench.store.wholeness import unsealed

SUFFIX = ".bench"
FORMAT = 1
MANIFEST, CELLS = "manifest.json", "cells.json"
TABLE_FILES = {name: f"{name}.parquet" for name in TABLES}
MEMBERS = (MANIFEST, CELLS, *TABLE_FILES.values())
LARGEST = 1 << 30
"""Bytes of a bundle: it is held in memory while it is read. 10,000 cells of 300 rounds stay below with few layers."""
_LARGEST_TEXT = {MANIFEST: 1 << 16, CELLS: 1 << 25}
"""Bytes of the members that are read as a whole; a cell takes some 700."""
_MANY_CELLS = 1_000_000
_MEND = "; get the bundle anew, or move it elsewhere"
_OTHER = f"; allowed: a file NAME{SUFFIX} that 'results pack' has written"


@dataclass(frozen=True)
class Claim:
    """What a bundle says of one cell.

    Attributes:
        cell: the configuration.
        facts: what its ``cell.json`` had, without the list of files, and ``claimed_by``, the name of the bundle.
        environment: what its ``environment.json`` had, without what names a machine, a user or a place.
        number: of the cell in the bundle.
        rows: by the name of a table, the first of its rows and the one after the last.
    """

    cell: Cell
    facts: Mapping[str, Any]
    environment: Mapping[str, Any]
    number: int
    rows: Mapping[str, tuple[int, int]]


class Bundle:
    """A bundle that has been read and checked.

    Args:
        path: the file.
        content: what is in it; None reads it.

    Raises:
        BenchError: it cannot be read, is not as it was written, is of a later version or describes no cells.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.path, self.name = path, path.name
        try:
            members = members_of(_read(path) if content is None else content, MEMBERS)
            self.manifest = _manifest(members)
            self.claims = _claims(members[CELLS], self.manifest["cells"], self.name)
            self._tables = {name: _table(members[file], name, self) for name, file in TABLE_FILES.items()}
        except OSError as error:
            raise BenchError(f"{path}: the bundle cannot be read: {error.strerror or error}") from None
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
            is_one = path.suffix == SUFFIX and "no bundle" not in str(reason)
            raise BenchError(f"{path}: {reason}{_MEND if is_one else _OTHER}") from None

    def table(self, cell: Cell, name: str) -> pa.Table:
        """Return a cell's table, see :data:`bench.store.schema.TABLES`.

        Raises:
            BenchError: its rows are not what the bundle says they are.
        """
        claim = self.claims[cell.identity]
        start, stop = claim.rows[name]
        try:
            return self._tables[name].rows(start, stop, claim.number)
        except ValueError as error:
            raise BenchError(f"{self.path}: {cell.folder}: {name}: {error}{_MEND}") from None


def _manifest(members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the manifest, where all other members are as it says."""
    manifest = _json(members[MANIFEST], MANIFEST, dict)
    version = manifest.get("format")
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise ValueError(f"it has the format {str(version)[:20]!r}, and this version reads up to {FORMAT}")
    if not isinstance(manifest.get("schema"), int) or manifest["schema"] > VERSION:
        words = str(manifest.get("schema"))[:20]
        raise ValueError(f"its tables have the schema {words!r}, and this version reads up to {VERSION}")
    try:
        unsealed(members[MANIFEST], MANIFEST)
        checked_texts(manifest)
        for name in MEMBERS[1:]:
            about, member = manifest["members"][name], members[name]
            if about["size"] != len(member) or about["checksum"] != checksum(member):
                raise ValueError(f"{name} is not as it was written")
        if not isinstance(manifest["written_by"], str) or not 0 <= manifest["cells"] <= _MANY_CELLS:
            raise ValueError(f"{MANIFEST} is not what it should be")
    except (KeyError, TypeError):
        raise ValueError(f"{MANIFEST} is not what it should be") from None
    return manifest


def _claims(text: bytes, cells: int, bundle: str) -> dict[str, Claim]:
    """Return what it says of each cell, by the cell's identity, in its order."""
    content = _json(text, CELLS, dict)
    environments, entries = content.get("environments"), content.get("cells")
    if (
        not isinstance(environments, list)
        or not isinstance(entries, list)
        or not all(isinstance(environment, dict) for environment in environments)
    ):
        raise ValueError(f"{CELLS} is not what it should be")
    if len(entries) != cells:
        raise ValueError(f"it has {len(entries)} cells where its manifest says {cells}")
    counts = [_counts(entry, number) for number, entry in enumerate(entries)]
    ends = {name: list(accumulate(count[name] for count in counts)) for name in TABLES}
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries):
        try:
            cell = checked(entry["facts"])
            environment = environments[entry["environment"]]
            checked_texts(environment)
        except (KeyError, TypeError, IndexError):
            raise ValueError(f"cell {number} of it is not what it should be") from None
        except ValueError as error:
            raise ValueError(f"cell {number} of it: {error}") from None
        if cell.identity in claims:
            raise ValueError(f"it holds the cell {cell.folder} twice")
        rows = {name: (ends[name][number] - counts[number][name], ends[name][number]) for name in TABLES}
        facts = {**entry["facts"], "claimed_by": bundle}
        claims[cell.identity] = Claim(cell, facts, environment, number, rows)
    return claims


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB, which no bundle is")
    return content


def _table(content: bytes, name: str, bundle: Bundle) -> BundledTable:
    rows = max((claim.rows[name][1] for claim in bundle.claims.values()), default=0)
    if bundle.manifest["members"][TABLE_FILES[name]].get("rows") != rows:
        raise ValueError(f"{name} has other rows by its manifest than by its cells ({rows})")
    return BundledTable(content, TABLES[name], rows, name)


def _counts(entry: Any, number: int) -> dict[str, int]:
    """Return how many rows of each table an entry of a cell says are its own."""
    counts = entry.get("rows") if isinstance(entry, dict) else None
    if not isinstance(counts, dict) or set(counts) != set(TABLES):
        raise ValueError(f"cell {number} of it is not what it should be")
    for count in counts.values():
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 1 << 40:
            raise ValueError(f"cell {number} of it has an impossible number of rows")
    return counts


def _json(text: bytes, name: str, kind: type) -> Any:
    if len(text) > _LARGEST_TEXT[name]:
        raise ValueError(f"{name} has {len(text)} bytes, more than the {_LARGEST_TEXT[name]} that it may have")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} is not whole") from None
    if not isinstance(value, kind):
        raise ValueError(f"{name} is not what it should be")
    return value
