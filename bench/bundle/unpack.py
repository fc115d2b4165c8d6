"""Unpacking: the cells of a bundle as folders of their own."""

from __future__ import annotations

import os

from bench.errors import Unfinished
from bench.store.bundle import Bundle, Claim
from bench.store.cells import FINISHED, Store
from bench.store.difference import Result, difference
from bench.store.leases import Leases
from bench.store.merge import Merged, merge
from bench.store.schema import TABLES
from bench.store.wholeness import OtherVersion, whole

OF_THE_FOLDER = ("schema", "status", "reason", "cell", "identity")
"""Facts that a store writes itself."""


def unpack(bundle: Bundle, into: Store) -> Merged:
    """Put the cells of a bundle in place that a folder of results lacks; one that failed or is damaged is replaced.

    A process that dies meanwhile leaves whole cells; the same call goes on with those that are left.

    Raises:
        BenchError: the rows of a cell are not what the bundle says.
        StorageError: ``into`` cannot be written; what was unpacked so far is whole.
    """
    into.prepare()
    merged, leases = Merged(), Leases(into.unfinished)
    for claim in bundle.claims.values():
        name = claim.cell.folder
        lease = leases.take(name, os.getpid())
        if lease is None:
            merged.conflicts[name] = f"{leases.holder(name)} runs it now"
            continue
        with lease.held():
            _join(into, bundle, claim, merged)
    return merged


def merge_all(into: Store, other: Store) -> Merged:
    """Copy what ``into`` lacks of the finished cells of another folder, and of those of the bundles that lie in it.

    Raises:
        BenchError: there are no cells in the other folder, or a bundle in it cannot be used.
        StorageError: ``into`` cannot be written; what was copied so far is whole.
    """
    bundles = list(other.claims.bundles.values())
    if bundles and into.claims.bundles:
        into.prepare()
    merged = merge(into, other) if other.cells.is_dir() or not bundles else Merged()
    for bundle in bundles:
        more = unpack(bundle, into)
        merged.taken += more.taken
        merged.same += [name for name in more.same if name not in (*merged.taken, *merged.same)]
        merged.conflicts |= more.conflicts
    return merged


def _join(into: Store, bundle: Bundle, claim: Claim, merged: Merged) -> None:
    cell, name = claim.cell, claim.cell.folder
    try:
        here = whole(into.path(cell))
    except OtherVersion as reason:
        merged.conflicts[name] = f"the one in {into.folder} is kept: {reason}"
        return
    except ValueError:  # damaged or not there
        here = {"status": "to do"}
    if here["status"] in FINISHED:
        words = difference(
            Result(here, lambda table: into.read(cell, table)),
            Result(claim.facts, lambda table: bundle.table(cell, table)),
        )
        if words:
            merged.conflicts[name] = f"{words}; the one in {into.folder} is kept"
        else:
            merged.same.append(name)
        return
    try:
        into.write(
            cell,
            status=claim.facts["status"],
            reason=claim.facts["reason"],
            tables={table: bundle.table(cell, table) for table in TABLES},
            facts={fact: value for fact, value in claim.facts.items() if fact not in OF_THE_FOLDER},
            environment=claim.environment,
            log=[f"unpacked from {bundle.name}"],
        )
    except Unfinished as lost:
        merged.conflicts[name] = str(lost)
        return
    merged.taken.append(name)
