"""What the tables and figures of a folder were made of: cells, revisions, commits, machines and data, by checksum."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.bundle.cleaned import public
from bench.errors import BenchError, StorageError
from bench.files import checksum, write_whole
from bench.store.cells import Record, Store
from bench.store.provenance import version_of
from bench.store.wholeness import as_json

NAME = "manifest.json"
FORMAT = 1
OF_A_CELL = (
    *("status", "revisions", "own_code", "measures", "data", "claimed_by"),
    *("classes", "commonest_class", "evaluated_samples"),
)
"""Facts of a cell that say what its numbers rest on."""


def write_manifest(store: Store, title: str, known: Iterable[Record], files: Iterable[Path]) -> Path:
    """Write down what the tables and figures of a folder were made of.

    Args:
        store: where the results are; ``manifest.json`` is written there.
        title: of the sweep.
        known: the cells that are in the tables.
        files: the tables and figures, all of which show these cells.

    Raises:
        StorageError: it cannot be written, or one of the files cannot be read.
    """
    environments: list[dict[str, Any]] = []
    cells: dict[str, dict[str, Any]] = {}
    for record in sorted(known, key=lambda one: one.cell.folder):
        environment = public(store.environment(record))
        if environment not in environments:
            environments.append(environment)
        own = {name: record.facts[name] for name in OF_A_CELL if record.facts.get(name) not in (None, "")}
        cells[record.cell.folder] = own | {"environment": environments.index(environment)}
    place = store.folder / NAME
    try:
        made = {file.relative_to(store.folder).as_posix(): checksum(file.read_bytes()) for file in sorted(files)}
        manifest = {
            "format": FORMAT,
            "written_by": f"submodel-bench {version_of('submodel-bench')}",
            "title": title,
            "cells": cells,
            "environments": environments,
            "files": made,
        }
        write_whole(place, as_json(manifest))
    except OSError as error:
        raise StorageError(f"{place}: the manifest cannot be written: {error.strerror or error}") from None
    return place


def include(folder: Path, files: Iterable[Path]) -> None:
    """Add files that were made of the same cells to a folder's manifest.

    Raises:
        BenchError: there is no whole manifest, or it cannot be written.
    """
    manifest, place = dict(read_manifest(folder)), folder / NAME
    try:
        more = {file.relative_to(folder).as_posix(): checksum(file.read_bytes()) for file in sorted(files)}
        write_whole(place, as_json(manifest | {"files": manifest["files"] | more}))
    except OSError as error:
        raise StorageError(f"{place}: the manifest cannot be written: {error.strerror or error}") from None


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return the manifest of a folder of results.

    Raises:
        BenchError: there is none, or it is not one.
    """
    place = folder / NAME
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise BenchError(f"{place}: it has the format {found['format']!r}, and this version reads {FORMAT}")
        parts = [*found["cells"].values(), *found["environments"]]
        parts += [cell.get("revisions", {}) for cell in found["cells"].values()]
        parts += [environment.get("packages", {}) for environment in found["environments"]]
        if not all(isinstance(part, dict) for part in parts):
            raise TypeError("a part of it is no table")
        if not all(isinstance(seal, str) for seal in found["files"].values()):
            raise TypeError("a checksum is no text")
    except FileNotFoundError:
        raise BenchError(f"{place}: there is no manifest here; 'sweep' and 'plot' write one") from None
    except OSError as error:
        raise BenchError(f"{place}: the manifest cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BenchError(f"{place}: it is not a whole manifest; 'plot' writes it again") from None
    return dict(found)


def differences(folder: Path) -> list[str]:
    """Return a line for each table and figure of a folder that is not as its manifest says it was written.

    Raises:
        BenchError: there is no whole manifest.
    """
    files = read_manifest(folder)["files"]
    lines = []
    for name, seal in files.items():
        try:
            if checksum((folder / name).read_bytes()) != seal:
                lines.append(f"{name}: it was changed since it was written")
        except OSError as error:
            lines.append(f"{name}: it cannot be read ({error.strerror})")
    for part in ("tables", "figures"):
        for file in sorted((folder / part).glob("[!.]*")):
            name = file.relative_to(folder).as_posix()
            if name not in files:
                lines.append(f"{name}: it is not of the last writing")
    return lines
