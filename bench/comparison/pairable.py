"""Which finished cells of others may be paired with those of a method, and what a reader has to know of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.cell import Cell
from bench.launch.tables import USABLE
from bench.store.cells import FINISHED, Record, Store

SHARED = ("harness", "task ")
"""How the names of those revisions begin that two cells must share to be paired."""
MACHINE = ("processor", "accelerator", "kernels")
"""What rounds otherwise, by its name in a cell's environment."""
SOFTWARE = ("torch", "numpy")


@dataclass(frozen=True)
class Pairable:
    """What of the others' cells may be paired.

    Attributes:
        records: those that may, each as finished as it was made.
        missing: those that are to do, failed or damaged, or stale beyond use.
        lines: what a reader has to know, a sentence each.
    """

    records: list[Record]
    missing: list[Record]
    lines: list[str]


def pairable(
    others: Iterable[Record],
    mine: Sequence[Record],
    store: Store,
    here: Mapping[str, Any],
    now: Callable[[Cell], Mapping[str, int]],
) -> Pairable:
    """Return which cells of others may be paired with those of a method.

    A cell that a newer revision of its own method would make otherwise may be paired, and a line says so; one of
    another revision of the harness or of the task may not, nor one that was made from other data than the method's.
    Generated data is the same by its generator's revision, and its rounding may differ between processors.

    Args:
        others: what is known of the others' cells.
        mine: what is known of the method's cells.
        store: where all of them are read from.
        here: the environment of this machine, for where no cell of the method is finished yet.
        now: returns the revisions that a cell would be made by now.
    """
    others = list(others)
    own = [record for record in mine if record.state in USABLE]
    usable, missing = [], []
    refused: dict[str, list[Record]] = defaultdict(list)
    older: dict[str, list[Record]] = defaultdict(list)
    data = _data_of(own)
    for record in others:
        if record.state == "skipped":
            continue
        reason = _refusal(record, data, now)
        if reason:
            refused[reason].append(record)
            missing.append(record)
        elif record.state in ("done", "diverged", "stale"):
            if record.state == "stale":
                older[record.reason].append(record)
            usable.append(replace(record, state=str(record.facts["status"])))
        else:
            missing.append(record)
    usable = [record for record in usable if record.state in USABLE]
    lines = [f"not paired: {_whose(records)}: {reason}" for reason, records in refused.items()]
    lines += [f"paired all the same: {_whose(records)}: {reason}" for reason, records in older.items()]
    lines += [*_missing_lines(others), *_claim_lines(usable), *_differences(own, usable, store, here)]
    return Pairable(usable, missing, lines)


def _refusal(record: Record, data: Mapping[tuple[Any, ...], set[str]], now: Callable[[Cell], Mapping[str, int]]) -> str:
    """Return why a cell that was finished cannot be paired; empty where it can, or is not finished."""
    if record.state == "stale" and not _is_of_an_older_method(record, now):
        return record.reason
    of_mine, fingerprint = data.get(_reads(record.cell), set()), record.facts.get("data")
    if record.state in (*USABLE, "stale") and record.cell.data == "real" and fingerprint and of_mine - {fingerprint}:
        return "it was made from other data than the method's cells"
    return ""


def _is_of_an_older_method(record: Record, now: Callable[[Cell], Mapping[str, int]]) -> bool:
    """Return whether a stale cell is so by a revision of its method or family alone."""
    before, after = record.facts.get("revisions"), now(record.cell)
    if record.facts.get("status") not in FINISHED or not isinstance(before, Mapping):
        return False
    changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    return bool(changed) and not any(str(name).startswith(SHARED) for name in changed)


def _reads(cell: Cell) -> tuple[Any, ...]:
    """Return what cells have in common that read the same data."""
    return cell.task, cell.data, cell.tier, repr(cell.training), repr(cell.model)


def _data_of(own: Iterable[Record]) -> dict[tuple[Any, ...], set[str]]:
    found: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for record in own:
        if record.facts.get("data"):
            found[_reads(record.cell)].add(record.facts["data"])
    return found


def _whose(records: Sequence[Record]) -> str:
    """Return whose cells some are, and how many, in words."""
    labels = ", ".join(dict.fromkeys(record.cell.label for record in records))
    return f"{len(records)} {'cell' if len(records) == 1 else 'cells'} ({labels})"


def _missing_lines(others: Sequence[Record]) -> list[str]:
    """Return a line that counts the others' cells that have no result, by method and state."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in others:
        if record.state in ("to do", "failed", "damaged"):
            found[record.cell.label][record.state] += 1
    if not found:
        return []
    words = "; ".join(
        f"{label} ({', '.join(f'{number} {state}' for state, number in counts.items())})"
        for label, counts in found.items()
    )
    total = sum(counts.total() for counts in found.values())
    return [f"missing: {total} of {len(others)} cells of other methods: {words}; --run-missing runs them"]


def _claim_lines(usable: Iterable[Record]) -> list[str]:
    claimed = Counter(str(record.facts["claimed_by"]) for record in usable if record.facts.get("claimed_by"))
    return [
        f"{number} of the cells compared with are what {bundle} claims; nobody has run them here"
        for bundle, number in claimed.items()
    ]


def _differences(own: Sequence[Record], usable: Sequence[Record], store: Store, here: Mapping[str, Any]) -> list[str]:
    """Return a line for each way in which the machines and the software of the two sides differ."""
    of_mine = [_known(store.environment(record)) for record in own] or [_known(here)]
    of_others = [_known(store.environment(record)) for record in usable]
    lines = []
    for name in (*MACHINE, *SOFTWARE):
        mine = {known[name] for known in of_mine if known.get(name)}
        strange = Counter(known[name] for known in of_others if known.get(name) and known[name] not in mine)
        if mine and strange:
            whose = ", ".join(f"{number} with {words}" for words, number in strange.items())
            lines.append(
                f"another {name}: of {len(usable)} cells compared with, {whose}; the method's with "
                f"{', '.join(sorted(mine))}: rounding may differ, so that a difference of one seed may be the machine's"
            )
    return lines


def _known(environment: Mapping[str, Any]) -> dict[str, str]:
    packages = environment.get("packages")
    versions = packages if isinstance(packages, Mapping) else {}
    known = {name: environment.get(name) for name in MACHINE} | {name: versions.get(name) for name in SOFTWARE}
    return {name: str(words) for name, words in known.items() if words}
