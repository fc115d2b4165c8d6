"""What bundles claim, in words: which cells, of which revisions, made where and with what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.errors import several
from bench.store.bundle import TABLE_FILES, Bundle, Claim
from bench.store.cells import Record, Store

PACKAGES = ("torch", "numpy", "pyarrow")


def described(bundle: Bundle) -> list[str]:
    """Return what a bundle claims, a line for each kind of thing."""
    claims = list(bundle.claims.values())
    facts, environments = [claim.facts for claim in claims], [claim.environment for claim in claims]
    manifest, size = bundle.manifest, bundle.path.stat().st_size
    rows = ", ".join(f"{manifest['members'][file]['rows']} {name}" for name, file in TABLE_FILES.items())
    return [
        f"{bundle.path}: {several(len(claims), 'cell')}, {size / 1e6:.1f} MB (rows: {rows}), "
        f"format {manifest['format']}, schema {manifest['schema']}, written by {manifest['written_by']}; "
        "all that follows is what it claims",
        *_by_method(claims),
        *_line("states", (fact["status"] for fact in facts)),
        *_line("revisions", (_revisions(fact) for fact in facts)),
        *_line("own code", (fact.get("own_code") for fact in facts)),
        *_line("data", (_data(fact) for fact in facts)),
        *_line("tables by layer", (_every(fact) for fact in facts)),
        *_line("commits", (_commit(environment) for environment in environments)),
        *_line("processors", (environment.get("processor") for environment in environments)),
        *_line("accelerators", (environment.get("accelerator") for environment in environments)),
        *_line("versions", (_versions(environment) for environment in environments)),
    ]


def claimed(known: Iterable[Record], store: Store) -> list[str]:
    """Return a line for each bundle that cells of a sweep come from: how many, and what it claims of them."""
    records: dict[str, list[Record]] = defaultdict(list)
    for record in known:
        if "claimed_by" in record.facts:
            records[str(record.facts["claimed_by"])].append(record)
    lines = []
    for name, some in sorted(records.items()):
        environments = [store.environment(record) for record in some]
        parts = [
            _numbered(record.facts for record in some),
            _distinct(f"torch {_packages(environment).get('torch', 'unknown')}" for environment in environments),
            _distinct(str(environment.get("processor", "processor unknown")) for environment in environments),
        ]
        noun = "comes" if len(some) == 1 else "come"
        lines.append(f"{several(len(some), 'cell')} {noun} from {name}, which claims: {'; '.join(parts)}")
    return lines


def _by_method(claims: Iterable[Claim]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Claim]] = defaultdict(list)
    for claim in claims:
        groups[claim.cell.task, claim.cell.method].append(claim)
    for (task, method), some in sorted(groups.items()):
        seeds = sorted({claim.cell.seed for claim in some})
        keeps = sorted({claim.cell.profile or f"{claim.cell.keep:g}" for claim in some})
        yield f"{task}, {method}: {several(len(some), 'cell')}, seeds {_numbers(seeds)}, keep {', '.join(keeps)}"


def _line(title: str, values: Iterable[Any]) -> Iterator[str]:
    """Yield what there is, most often first, with how many cells have it; nothing where none has any."""
    found = Counter(str(value) for value in values if value)
    if found:
        words = (f"{value} ({several(number, 'cell')})" for value, number in found.most_common())
        yield f"{title}: {'; '.join(words)}"


def _numbered(facts: Iterable[Mapping[str, Any]]) -> str:
    """Return the revisions that some cells ran under, those of one number together: a sweep may have forty of them."""
    names: dict[Any, dict[str, None]] = defaultdict(dict)
    for of_cell in facts:
        for name, number in dict(of_cell.get("revisions") or {}).items():
            names[number][str(name)] = None
    if not names:
        return "no revisions"
    parts = []
    for number, of_number in sorted(names.items(), key=lambda item: str(item[0])):
        by_kind: dict[str, list[str]] = defaultdict(list)
        for name in of_number:
            kind, _, own = name.partition(" ")
            by_kind[kind].append(own)
        kinds = [f"{kind} {', '.join(own)}".rstrip() for kind, own in by_kind.items()]
        parts.append(f"revision {number} of {'; '.join(kinds)}")
    return " and ".join(parts)


def _distinct(values: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(values))


def _revisions(facts: Mapping[str, Any]) -> str:
    revisions = facts.get("revisions")
    return ", ".join(f"{name} {number}" for name, number in revisions.items()) if revisions else "no revisions"


def _data(facts: Mapping[str, Any]) -> str:
    title = str(facts.get("data_title", "unknown"))
    return f"{title}, stand-in" if facts.get("stand_in") else title


def _every(facts: Mapping[str, Any]) -> str:
    every = facts.get("layers_every")
    return f"of every {every}. evaluated round, the first and the last" if every else ""


def _commit(environment: Mapping[str, Any]) -> str:
    commit = environment.get("git_commit")
    return f"{str(commit)[:10]}{' with changes' if environment.get('git_changes') else ''}" if commit else ""


def _versions(environment: Mapping[str, Any]) -> str:
    packages = _packages(environment)
    known = [f"{name} {packages[name]}" for name in PACKAGES if name in packages]
    return ", ".join([f"Python {environment.get('python', 'unknown')}", *known])


def _packages(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    packages = environment.get("packages")
    return packages if isinstance(packages, dict) else {}


def _numbers(numbers: list[int]) -> str:
    whole = len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if whole else ", ".join(map(str, numbers))
