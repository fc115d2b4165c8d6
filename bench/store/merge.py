"""Joining the results of two machines: finished cells of one folder are copied into the other."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cell import from_canonical
from bench.errors import BenchError, StorageError
from bench.files import sync
from bench.store.cells import FINISHED, Store
from bench.store.difference import Result, difference
from bench.store.leases import Leases
from bench.store.placing import replace_folder, scratch
from bench.store.table_files import table_in
from bench.store.wholeness import OtherVersion, whole


@dataclass
class Merged:
    """What became of the other folder's finished cells, by the names of their folders.

    Attributes:
        taken: copied.
        same: here already, with the same numbers.
        conflicts: not copied, with the reason: the cell is here with other numbers, or is being run.
        damaged: not copied, with what is wrong with their files.
    """

    taken: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)


def merge(into: Store, other: Store) -> Merged:
    """Copy finished cells of ``other`` that ``into`` lacks; a failed or damaged cell of ``into`` is replaced.

    Raises:
        BenchError: one of the folders holds no cells.
        StorageError: ``into`` cannot be written; what was copied so far is whole.
    """
    for store in (into, other):
        if not store.cells.is_dir():
            raise BenchError(f"{store.folder}: there are no results here; allowed: a folder with cells/ in it")
    into.prepare()
    merged, leases = Merged(), Leases(into.unfinished)
    for folder in sorted(path for path in other.cells.glob("[!.]*") if path.is_dir()):
        try:
            facts = _checked(folder)
        except ValueError as damage:
            merged.damaged[folder.name] = str(damage)
            continue
        if facts["status"] not in FINISHED:
            continue
        lease = leases.take(folder.name, os.getpid())
        if lease is None:
            merged.conflicts[folder.name] = f"{leases.holder(folder.name)} runs it now"
            continue
        with lease.held():
            _join(into, folder, facts, merged)
    return merged


def _join(into: Store, folder: Path, facts: dict[str, Any], merged: Merged) -> None:
    place = into.cells / folder.name
    try:
        here = _checked(place)
    except OtherVersion as reason:
        merged.conflicts[folder.name] = f"the one in {into.folder} is kept: {reason}"
        return
    except ValueError:  # damaged or not there
        here = {"status": "to do"}
    if here["status"] in FINISHED:
        words = difference(_result(place, here), _result(folder, facts))
        if words:
            merged.conflicts[folder.name] = f"{words}; the one in {into.folder} is kept"
        else:
            merged.same.append(folder.name)
        return
    fresh = scratch(place)
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(folder, fresh)
        for path in fresh.iterdir():
            sync(path)
        sync(fresh)
        _checked(fresh, folder.name)
        replace_folder(fresh, place)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise StorageError(f"{place}: the cell cannot be copied: {getattr(error, 'strerror', None) or error}") from None
    except ValueError as damage:
        shutil.rmtree(fresh, ignore_errors=True)
        merged.damaged[folder.name] = f"its copy: {damage}"
        return
    merged.taken.append(folder.name)


def _result(folder: Path, facts: dict[str, Any]) -> Result:
    return Result(facts, lambda name: table_in(folder, name))


def _checked(folder: Path, name: str = "") -> dict[str, Any]:
    """Return the facts of a cell's folder; a ValueError says that they are not whole or another cell's."""
    facts = whole(folder)
    try:
        expected = from_canonical(facts["cell"]).folder
    except TypeError:
        raise ValueError("cell.json describes no cell") from None
    if expected != (name or folder.name):
        raise ValueError(f"it is the cell {expected}")
    return facts
