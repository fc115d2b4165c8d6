"""Packing: the finished cells of a folder of results in one file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from bench.bundle.cleaned import cleaned, has_places, public
from bench.bundle.thinning import LAYERS, thinned
from bench.cell import Cell, from_canonical
from bench.errors import BenchError, StorageError
from bench.files import checksum, write_whole
from bench.store.bundle import CELLS, FORMAT, LARGEST, MANIFEST, SUFFIX, TABLE_FILES, Bundle
from bench.store.bundled_table import written
from bench.store.cells import FINISHED, Store
from bench.store.container import packed
from bench.store.provenance import version_of
from bench.store.schema import TABLES, VERSION
from bench.store.table_files import table_in
from bench.store.wholeness import sealed, whole

LEFT_OUT = ("files", "claimed_by")
"""Facts of a cell that are of its folder, or of the bundle that it came in, and not of the cell."""


@dataclass
class Packed:
    """What became of a folder's cells.

    Attributes:
        cells: the names of the folders of those that are in the bundle.
        size: bytes of the bundle, and of its parts by name.
        left_out: cells that are not in it, with the reason.
        notes: what whoever passes the bundle on should know.
    """

    cells: list[str] = field(default_factory=list)
    size: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """A finished cell of a folder, or of a bundle that lies in it; ``read`` returns one of its tables."""

    cell: Cell
    facts: Mapping[str, Any]
    environment: Mapping[str, Any]
    read: Callable[[str], pa.Table]

    def is_later_than(self, other: _Found) -> bool:
        """Return whether it was made under later revisions than another result of the same cell.

        Raises:
            BenchError: neither of the two is the later one: which of them is of use only a sweep can tell.
        """
        mine, theirs = self.facts.get("revisions") or {}, other.facts.get("revisions") or {}
        steps = {mine[name] - theirs[name] for name in mine.keys() & theirs.keys()}
        same = all(self.facts.get(name) == other.facts.get(name) for name in ("own_code", "data"))
        if mine.keys() != theirs.keys() or not same or (min(steps, default=0) < 0 < max(steps, default=0)):
            raise BenchError(
                f"{self.cell.folder}: two results of it are here, the folder's own and that of a bundle in it, and "
                "neither is the later one; 'status' says which is of use, 'gc' deletes the folder's own if it is stale"
            )
        return max(steps, default=0) > 0


def pack(store: Store, path: Path, layers_every: int = 1) -> Packed:
    """Write all finished cells of a folder to a bundle, in place of an older one.

    The bytes depend on the cells alone: not on the folder, on the order in which the system lists it, or on the time.

    Args:
        store: the folder of results. Cells of the bundles that lie in it are packed too, so that none is lost where one
            of them is replaced; of one cell the result of the latest revisions counts, and of those the folder's own.
        path: the bundle, ``NAME.bench``.
        layers_every: tables by layer are kept at every so manieth evaluated round, the first and the last one.

    Raises:
        BenchError: the folder holds no finished cell, or they are more than a bundle can hold.
        StorageError: the file cannot be written; what was there before is untouched.
    """
    if path.suffix != SUFFIX or path.name == SUFFIX:
        raise BenchError(f"-o {path}: a bundle is called NAME{SUFFIX}")
    done = Packed()
    here = {one.cell.folder: one for one in _finished(store, done)}
    for one in _claimed(store):
        known = here.get(one.cell.folder)
        if known is None or one.is_later_than(known):
            here[one.cell.folder] = one
            done.left_out.pop(one.cell.folder, None)
    found = [here[name] for name in sorted(here)]
    _check_thinning(store, path, layers_every)
    if not found:
        raise BenchError(f"{store.folder}: there is no finished cell to pack; 'sweep' runs them")
    content = _content(found, layers_every, done)
    if len(content) > LARGEST:
        raise BenchError(
            f"{path}: {len(found)} cells would take {len(content) >> 20} MiB and a bundle holds {LARGEST >> 20}; "
            "keep fewer rounds of the tables by layer with --layers-every, or pack fewer cells"
        )
    Bundle(path, content)  # what a reader would refuse is never written
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise StorageError(f"{path}: the bundle cannot be written: {error.strerror or error}") from None
    done.cells, done.size = [one.cell.folder for one in found], len(content)
    return done


def _finished(store: Store, done: Packed) -> Iterator[_Found]:
    """Yield the finished cells of a folder, and note of the others why they are none."""
    for folder in sorted(path for path in store.cells.glob("[!.]*") if path.is_dir()):
        try:
            facts = whole(folder)
            cell = from_canonical(facts["cell"])
            environment = json.loads((folder / "environment.json").read_bytes())
            if cell.folder != folder.name:
                raise ValueError(f"it is the cell {cell.folder}")
        except (ValueError, TypeError, OSError) as damage:
            done.left_out[folder.name] = str(damage)
            continue
        if facts["status"] in FINISHED:
            yield _Found(cell, facts, environment, functools.partial(table_in, folder))
        else:
            done.left_out[folder.name] = str(facts["status"])


def _check_thinning(store: Store, path: Path, layers_every: int) -> None:
    """Refuse to thin a bundle in its own place, which may be all that there is of its cells; a BenchError says so."""
    lying = {(store.folder / name).resolve() for name in store.claims.bundles}
    if layers_every > 1 and path.resolve() in lying:
        raise BenchError(
            f"--layers-every {layers_every}: {path} is there, and its own cells would lose rows for good; "
            "write to another file with -o"
        )


def _claimed(store: Store) -> Iterator[_Found]:
    """Yield the cells of the bundles that lie in a folder."""
    every = [claim.cell for bundle in store.claims.bundles.values() for claim in bundle.claims.values()]
    for cell in {cell.identity: cell for cell in every}.values():
        for bundle in store.claims.of(cell):
            claim = bundle.claims[cell.identity]
            yield _Found(cell, claim.facts, claim.environment, functools.partial(bundle.table, cell))


def _content(found: list[_Found], layers_every: int, done: Packed) -> bytes:
    """Return the bytes of the bundle."""
    environments: list[dict[str, Any]] = []
    entries = [_entry(one, environments, done) for one in found]
    members: dict[str, bytes] = {}
    about: dict[str, dict[str, Any]] = {}
    for name, file in TABLE_FILES.items():
        members[file], rows = written(_tables(found, entries, name, layers_every), TABLES[name])
        about[file] = {"rows": rows}
    members = {CELLS: _json({"environments": environments, "cells": entries}), **members}
    about = {
        name: {"size": len(member), **about.get(name, {"rows": len(found)}), "checksum": checksum(member)}
        for name, member in members.items()
    }
    manifest = {
        "format": FORMAT,
        "schema": VERSION,
        "written_by": f"submodel-bench {version_of('submodel-bench')}, pyarrow {pa.__version__}",
        "cells": len(found),
        "members": about,
    }
    done.parts = {name: len(member) for name, member in members.items()}
    return packed({MANIFEST: sealed(manifest), **members})


def _entry(one: _Found, environments: list[dict[str, Any]], done: Packed) -> dict[str, Any]:
    """Return what ``cells.json`` says of a cell, all but the numbers of its rows."""
    facts = {name: value for name, value in one.facts.items() if name not in LEFT_OUT}
    if has_places(facts["cell"]):
        done.notes.append(f"{one.cell.folder}: its settings name a place on this machine, and the bundle does so too")
    environment = public(one.environment)
    if environment not in environments:
        environments.append(environment)
    kept = {name: value if name == "cell" else cleaned(value) for name, value in sorted(facts.items())}
    return {"facts": kept, "environment": environments.index(environment), "rows": {}}


def _tables(found: list[_Found], entries: list[dict[str, Any]], name: str, layers_every: int) -> Iterator[pa.Table]:
    """Yield the tables of this name, one of each cell, and count their rows in its entry."""
    for one, entry in zip(found, entries, strict=True):
        table = one.read(name)
        if name == LAYERS and layers_every > 1:
            fewer = thinned(table, layers_every)
            if len(fewer) < len(table):
                entry["facts"]["layers_every"] = layers_every * entry["facts"].get("layers_every", 1)
            table = fewer
        entry["rows"][name] = len(table)
        yield table


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
