"""What was compared: settings, seeds and data, and the revisions, machines and versions that the numbers rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.errors import several
from bench.report.known import KnownCell
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.series import partition_words, seeds_of
from bench.report.page.words import NONE, ranges, shortened
from bench.report.source import Source

MOST = 12  # distinct values that a line shows
MOST_WORDS = 3  # long ones that an entry shows

HEAD = (
    Column("Task"),
    Column("Data"),
    Column("Partition"),
    Column("Keep ratios, budgets"),
    Column("Methods", numeric=True),
    Column("Seeds"),
    Column("Rounds", numeric=True),
    Column("Cohort", numeric=True, hint="clients a round, of all clients"),
    Column("Test samples", numeric=True),
    Column("Precision"),
    Column("Model"),
    Column("Settings that differ from the task's tier or the paper"),
)


def settings_grid(source: Source) -> Grid:
    """Return a row for each task, data set and partition: what its methods were compared on."""
    facts = {cell.name: cell.facts for cell in source.known}
    by = ["task", "data_title", "partition", "alpha"]
    rows = [_row(some, facts) for _, some in source.cells.groupby(by, dropna=False, observed=True, sort=False)]
    caption = (
        "A row for each task, data set and partition. Full models have no keep ratio and are compared at every one."
    )
    return Grid("settings-table", caption, HEAD, tuple(rows), sortable=False)


def _row(some: pd.DataFrame, facts: Mapping[str, Mapping[str, Any]]) -> Row:
    first = some.iloc[0].to_dict()
    title = str(first["data_title"])
    samples = [facts.get(str(name), {}).get("evaluated_samples") for name in some["cell"]]
    stand_in = some["stand_in"].any() and "stand-in" not in title
    cohort, clients = _numbers(some, "cohort"), _numbers(some, "clients")
    return Row(
        (
            Entry(str(first["task"])),
            Entry(title, note="stand-in data" if stand_in else ""),
            Entry(partition_words(str(first["partition"]), float(first["alpha"]))),
            Entry(_keeps(some)),
            Entry(str(some["method"].nunique())),
            Entry(ranges(seeds_of(some))),
            Entry(_span(_numbers(some, "rounds"))),
            Entry(f"{_span(cohort)} of {_span(clients)}" if cohort and clients else NONE),
            Entry(_span([int(one) for one in samples if one])),
            Entry(_words(some, "precision")),
            Entry(_words(some, "model")),
            Entry(_words(some, "settings")),
        )
    )


def facts_of(source: Source) -> list[tuple[str, list[str]]]:
    """Return what the numbers rest on, as (word, lines): the cells, revisions, machines and versions."""
    known = [cell for cell in source.known if cell.state in ("done", "diverged")]
    states = Counter(cell.state for cell in source.known)
    claims = sorted({str(cell.facts["claimed_by"]) for cell in known if cell.facts.get("claimed_by")})
    lines = [
        ("Cells", [", ".join(f"{number} {state}" for state, number in states.items())]),
        ("Headline", [f"mean test accuracy of the last {several(source.last, 'evaluation')} of a run, never the best"]),
        ("Revisions", _revisions(known)),
        ("Own code", _distinct(known, lambda cell: cell.facts.get("own_code"))),
        ("Data", _distinct(known, _data)),
        ("Commits", _distinct(known, lambda cell: _commit(cell.environment))),
        ("Machines", _distinct(known, lambda cell: _machine(cell.environment))),
        ("Versions", _distinct(known, lambda cell: _versions(cell.environment))),
        ("Claimed by", claims),
    ]
    return [(word, found) for word, found in lines if found]


def head_of(source: Source) -> dict[str, str]:
    """Return what stands above the page: title, scale and whether its data are stand-ins."""
    cells = source.cells
    places = cells[["task", "data_title", "partition", "alpha"]].drop_duplicates()
    stand_in = cells["stand_in"].astype(bool)
    methods, labels = cells["method"].nunique(), cells["label"].nunique()
    words = [
        several(len(cells), "run"),
        several(methods, "method") + (f" in {labels} variants" if labels != methods else ""),
        several(cells["task"].nunique(), "task"),
        several(len(places), "partition"),
        several(len(seeds_of(cells)), "seed"),
    ]
    return {
        "title": source.title,
        "opened": source.opened,
        "scale": ", ".join(words),
        "stand_in": "stand-in data" if stand_in.all() else "partly stand-in data" if stand_in.any() else "",
    }


def _keeps(some: pd.DataFrame) -> str:
    mixed = some["capacities"].astype(str)
    alike = sorted({float(keep) for keep in some.loc[mixed == "", "keep"]})
    words = [f"{keep:g}" for keep in alike if keep != 1 or len(alike) == 1]
    return shortened([*words, *sorted(set(mixed) - {""})], MOST) or "1"


def _words(some: pd.DataFrame, column: str) -> str:
    """Return the distinct words of a column of the table of cells; a dash where it is not known."""
    found = dict.fromkeys(str(word) for word in some[column].dropna() if str(word)) if column in some else {}
    return " or ".join(list(found)[:MOST_WORDS]) + (" or others" if len(found) > MOST_WORDS else "") or NONE


def _numbers(some: pd.DataFrame, column: str) -> list[int]:
    return [int(one) for one in some[column].dropna()] if column in some else []


def _span(values: Sequence[int]) -> str:
    if not values:
        return NONE
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _distinct(known: Iterable[KnownCell], word_of: Callable[[KnownCell], Any]) -> list[str]:
    """Return what there is, most often first, with how many cells have it where there are several."""
    found = Counter(str(word) for cell in known if (word := word_of(cell)))
    lines = [f"{word} ({several(number, 'cell')})" for word, number in found.most_common()]
    if len(found) == 1:
        return list(found)
    return [*lines[:MOST], f"and {len(lines) - MOST} others"] if len(lines) > MOST + 1 else lines


def _revisions(known: Iterable[KnownCell]) -> list[str]:
    """Return the revisions by their number: a sweep may have forty parts of revision 1."""
    names: dict[int, dict[str, None]] = {}
    for cell in known:
        for name, number in dict(cell.facts.get("revisions") or {}).items():
            names.setdefault(int(number), {})[str(name)] = None
    return [f"{number}: {', '.join(sorted(of_number))}" for number, of_number in sorted(names.items())]


def _data(cell: KnownCell) -> str:
    data = cell.facts.get("data")
    return f"{cell.task}: checksum {str(data)[:12]}" if data else ""


def _commit(environment: Mapping[str, Any]) -> str:
    commit = environment.get("git_commit")
    return f"{str(commit)[:10]}{' with changes' if environment.get('git_changes') else ''}" if commit else ""


def _machine(environment: Mapping[str, Any]) -> str:
    words = [
        environment.get("processor"),
        several(environment["cores"], "core") if isinstance(environment.get("cores"), int) else None,
        environment.get("accelerator"),
        environment.get("platform"),
    ]
    return ", ".join(str(word) for word in words if word)


def _versions(environment: Mapping[str, Any]) -> str:
    packages = environment.get("packages")
    named = packages if isinstance(packages, Mapping) else {}
    words = [f"{name} {named[name]}" for name in ("torch", "numpy", "pyarrow") if name in named]
    python = environment.get("python")
    return ", ".join([f"Python {python}", *words] if python else words)
