"""What somebody else's file says of a cell, checked: nothing that is used later has another type than a run gives it.

Its texts are shown in terminals and its names become folders, so both are looked at too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from bench.budget.written import read_budget
from bench.cell import Cell, from_canonical
from bench.errors import BenchError

FINISHED = ("done", "diverged", "skipped")
"""What a cell may have come to that is worth keeping; one that failed is run again."""
LONGEST_TEXT = 4096
_DEEPEST = 8
_NUMBER = (int, float)
KINDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "status": str,
    "reason": str,
    "cell": dict,
    "identity": str,
    "code": str,
    "data": (str, type(None)),
    "seconds": _NUMBER,
    "data_title": str,
    "stand_in": bool,
    "classes": int,
    "evaluated_samples": int,
    "commonest_class": _NUMBER,
    "alpha_convention": str,
    "classes_per_client": (*_NUMBER, type(None)),
    "divergence_bits": (*_NUMBER, type(None)),
    "local_training": (str, type(None)),
    "revisions": dict,
    "own_code": str,
    "measures": int,
    "layers_every": int,
    "budget": list,
}
"""The types of the facts that are read by name; all others are carried along as they are."""
ALWAYS = ("schema", "status", "reason", "cell", "identity", "data", "seconds")
OF_RESULTS = ("data_title", "stand_in", "classes", "alpha_convention")
"""Facts that a cell with a result has beside those."""
BUDGET_KINDS: dict[str, type | tuple[type, ...]] = {
    "level": int,
    "share": _NUMBER,
    "quantity": str,
    "keep": _NUMBER,
    "allowed": _NUMBER,
    "taken": _NUMBER,
    "full": _NUMBER,
    "least": _NUMBER,
}
_CELL_KINDS: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "method": str,
    "keep": _NUMBER,
    "capacities": list,
    "capacity": str,
    "partition": str,
    "alpha": (*_NUMBER, str),
    "seed": int,
    "tier": str,
    "data": str,
    "diagnostics": str,
    "training": dict,
    "model": dict,
    "parameters": dict,
    "budget": str,
}


def checked(facts: Any) -> Cell:
    """Return the cell that these facts are of.

    Raises:
        ValueError: a fact is missing or of another type, or they are of another cell than they say, in words.
    """
    if not isinstance(facts, dict):
        raise ValueError("its facts are no table")
    checked_texts(facts)
    _types(facts, KINDS, "its fact")
    for name in (*ALWAYS, *(OF_RESULTS if facts.get("status") in ("done", "diverged") else ())):
        if name not in facts:
            raise ValueError(f"its fact {name!r} is missing")
    if facts["status"] not in FINISHED:
        raise ValueError(f"its status is {facts['status']!r}, and not one of {', '.join(FINISHED)}")
    if not (math.isfinite(facts["seconds"]) and facts["seconds"] >= 0) or not 0 < facts.get("classes", 1) < 1 << 31:
        raise ValueError("its seconds or classes are no possible number")
    if not facts.get("evaluated_samples", 0) >= 0 or not 0 <= facts.get("commonest_class", 0) <= 1:
        raise ValueError("its evaluated samples or commonest class are no possible number")
    _budget_rows(facts.get("budget", []))
    for name, revision in facts.get("revisions", {}).items():
        if isinstance(revision, bool) or not isinstance(revision, int):
            raise ValueError(f"its revision of {name!r} is no whole number")
    return _cell(facts["cell"], facts["identity"])


def _budget_rows(rows: list[Any]) -> None:
    """Refuse what is no row of what a budget allows."""
    for row in rows:
        if not isinstance(row, dict) or row.keys() != BUDGET_KINDS.keys():
            raise ValueError("a row of its budget lacks a number, or has one too many")
        _types(row, BUDGET_KINDS, "its budget's")
        numbers = [value for value in row.values() if not isinstance(value, str)]
        if not all(math.isfinite(number) and number >= 0 for number in numbers) or not row["allowed"] * row["full"]:
            raise ValueError("a row of its budget has no possible number")


def _cell(values: Mapping[str, Any], identity: str) -> Cell:
    """Return the cell of a canonical form, which must be the whole of it."""
    strange = [name for name in values if name not in _CELL_KINDS]
    if strange:
        raise ValueError(f"its configuration has the unknown setting {strange[0]!r}")
    _types(values, _CELL_KINDS, "its setting")
    try:
        cell = from_canonical(values)
        same = json.dumps(cell.canonical(), sort_keys=True) == json.dumps(values, sort_keys=True)
        possible = 0 < cell.keep <= 1 and all(0 < keep <= 1 and 0 < share <= 1 for keep, share in cell.capacities)
        folder = cell.folder
        assert cell.label
        same &= not cell.budget or read_budget(cell.budget).words == cell.budget
    except (TypeError, ValueError, OverflowError, BenchError):
        raise ValueError("its configuration describes no cell") from None
    if not same or not possible or not isinstance(cell.alpha, (*_NUMBER, type(None))):
        raise ValueError("its configuration describes no cell")
    if folder.startswith(".") or any(letter in folder for letter in "/\\:\0"):
        raise ValueError(f"its configuration gives no name of a folder ({folder[:80]!r})")
    if cell.identity != identity:
        raise ValueError(f"its identity is not that of its configuration ({identity[:20]}, {cell.identity} expected)")
    return cell


def _types(values: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]], what: str) -> None:
    for name, value in values.items():
        kind = kinds.get(name, object)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
            raise ValueError(f"{what} {name!r} is of another type than a run gives it")


def checked_texts(value: Any, depth: int = 0) -> None:
    """Make sure that texts are short and fit to be shown, and nothing is nested deeply; a ValueError where not."""
    if depth > _DEEPEST:
        raise ValueError("its facts are nested too deeply")
    if isinstance(value, str) and not (value.isprintable() and len(value) <= LONGEST_TEXT):
        raise ValueError(f"its text {value[:30]!r} cannot be shown")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError("its facts hold a number of more than 64 bits")
    if isinstance(value, dict):
        for name, part in value.items():
            checked_texts(name, depth + 1)
            checked_texts(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            checked_texts(part, depth + 1)
