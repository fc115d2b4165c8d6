"""Files of statements that papers make, and what results say of them as a table in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bench.analysis.chance import guess_of
from bench.analysis.statements import ACCURACY, GUESSED, MARGIN, MEASURES, UNTOLD, Statement, judged
from bench.config.validation import checked
from bench.errors import BenchError, choices, several
from bench.plugins import registry
from bench.report.page.words import interval, percent, points
from bench.report.source import Source
from bench.report.table import apart, in_markdown, scale
from bench.toml_files import STATEMENTS, read_toml

PUBLISHED = Path(__file__).with_name("statements.toml")
"""What the papers of the built-in methods say."""
TO_THE_RIGHT = ("seeds", "theirs", "ours, with 90 %")
PLACES = {"task": "task", "keep": "at", "budget": "at", "partition": "partition", "alpha": "alpha"}
"""What a statement may be limited to, and the column that has it."""


@dataclass(frozen=True)
class Written:
    """A statement as it stands in a file, numbers in points."""

    says: str = ""
    source: str = ""
    method: str = ""
    other: str = ""
    claim: Literal["above", "below", "between"] = "between"
    low: float | None = None
    high: float | None = None
    theirs: float | None = None
    measure: Literal["accuracy", "needed kernels", "ANME", "cosine with FedAvg"] = "accuracy"


def read_statements(path: Path = PUBLISHED) -> list[Statement]:
    """Return the statements of a file.

    Raises:
        BenchError: it cannot be read, or one of them is not possible.
    """
    tables = read_toml(path, STATEMENTS).get("statements", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(one, dict) for one in tables):
        raise BenchError(f"{path}: it has no [[statements]]; allowed: one or more such tables")
    return [_statement(one, f"{path}, statements {number}") for number, one in enumerate(tables, 1)]


def _statement(values: Mapping[str, Any], place: str) -> Statement:
    own = {name: float(one) if _is_number(one) else one for name, one in values.items() if name != "where"}
    given = Written(**checked(Written, own, place))
    for name in ("says", "source", "method"):
        if not getattr(given, name).strip():
            raise BenchError(f"{place}: {name} is missing; allowed: a sentence, its paper, and whose value it is about")
    strict = given.claim != "between"
    if strict and (given.low is not None or given.high is not None):
        raise BenchError(f'{place}: low and high belong to claim = "between", claim is {given.claim!r}')
    if strict and not given.other:
        raise BenchError(f"{place}: other is missing; claim = {given.claim!r} is about the difference of two methods")
    if not strict and given.low is None and given.high is None:
        raise BenchError(f'{place}: low and high are missing; claim = "between" needs one of them, in points')
    low, high = _range(given)
    if low > high:
        raise BenchError(
            f"{place}: low = {given.low!r} is above high = {given.high!r}; allowed: low to high, in points"
        )
    return Statement(
        says=given.says,
        source=given.source,
        method=given.method,
        other=given.other,
        low=low,
        high=high,
        strict=strict,
        theirs=None if given.theirs is None else given.theirs / 100,
        measure=given.measure,
        where=_where(values.get("where", {}), place),
    )


def _range(given: Written) -> tuple[float, float]:
    """Return where a statement says the value lies, in fractions."""
    if given.claim != "between":
        return (0.0, math.inf) if given.claim == "above" else (-math.inf, 0.0)
    low = -math.inf if given.low is None else given.low / 100
    return low, math.inf if given.high is None else given.high / 100


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _where(given: object, place: str) -> dict[str, list[str]]:
    if not isinstance(given, dict):
        raise BenchError(f"{place}: where = {given!r} is not possible; allowed: a table, as {{ keep = [0.1, 0.2] }}")
    found: dict[str, list[str]] = {}
    for name, value in given.items():
        if name not in PLACES:
            raise BenchError(f"{place}, where: unknown name {name!r}; {choices(name, PLACES)}")
        values = value if isinstance(value, list) else [value]
        found.setdefault(PLACES[name], []).extend(str(one) for one in values)
    return found


def statements_table(source: Source, statements: Sequence[Statement]) -> str:
    """Return what results say of statements, in Markdown: a caption, a row per statement and setting, what is missing.

    Raises:
        BenchError: the results have the methods of no statement.
    """
    _check_names(source, statements)
    rows = judged(statements, with_guesses(source), source.tables.get("ranks"))
    if rows.empty:
        raise BenchError(f"{source.opened}: it has the methods of none of the {several(len(statements), 'statement')}")
    common, settings = apart(list(dict.fromkeys(rows["setting"].astype(str))))
    heads = dict(zip(dict.fromkeys(rows["setting"].astype(str)), settings, strict=True))
    lines = [_line(row, statements[int(row["number"])], heads[str(row["setting"])]) for row in rows.to_dict("records")]
    shown = [name for name in lines[0] if name != "theirs" or any(line["theirs"] for line in lines)]
    table = [shown, ["---:" if name in TO_THE_RIGHT else "---" for name in shown]]
    table += [[line[name] for name in shown] for line in lines]
    silent = len(statements) - rows["number"].nunique()
    left = f"\n\nOf {several(silent, 'statement')} nothing was measured here." if silent else ""
    of_layers = any(statements[number].measure != ACCURACY for number in rows["number"])
    body = "\n".join(f"| {' | '.join(words)} |" for words in table)
    return f"{in_markdown(_caption(source, of_layers, common))}\n\n{body}{left}\n"


def _check_names(source: Source, statements: Sequence[Statement]) -> None:
    """Refuse statements about what is no method or task, here or built in.

    Raises:
        BenchError: there is one.
    """
    known = {
        "method": sorted({*registry.methods(), *source.cells["method"].astype(str)}),
        "task": sorted({*registry.tasks(), *source.cells["task"].astype(str)}),
    }
    for statement in statements:
        methods = [name.partition(" (")[0] for name in (statement.method, statement.other) if name]
        named = [*(("method", name) for name in methods), *(("task", name) for name in statement.where.get("task", ()))]
        for kind, name in named:
            if name not in known[kind]:
                raise BenchError(f"statement {statement.says!r}: unknown {kind} {name!r}; {choices(name, known[kind])}")


def with_guesses(source: Source) -> pd.DataFrame:
    """Return the finished cells with the accuracy up to which each may have guessed, where its record says it."""
    guesses = {cell.name: guess.limit for cell in source.known if (guess := guess_of(cell.facts or {})) is not None}
    known = source.cells["cell"].astype(str).map(guesses).astype(float)
    if "classes" in source.cells:  # tables of earlier versions do not say
        known = known.fillna(1 / source.cells["classes"].astype(float) + MARGIN)
    return source.cells.assign(guess=known)


def _line(row: Mapping[Any, Any], statement: Statement, setting: str) -> dict[str, str]:
    """Return the entries of a row by the heads of their columns."""
    write = points if statement.other else percent
    ours = f"{write(row['ours'])} {interval(row['low'], row['high'], signed=bool(statement.other))}".strip()
    theirs = "" if statement.theirs is None else write(statement.theirs)
    verdict = str(row["verdict"]) if row["verdict"] in (UNTOLD, GUESSED) else f"**{row['verdict']}**"
    says = statement.says if statement.measure == ACCURACY else f"{statement.says} ({statement.measure})"
    compared = f"{row['label']} less {row['other_label']}" if statement.other else str(row["label"])
    entries = {
        "statement": says,
        "source": statement.source,
        "setting": setting,
        "compared": compared,
        "seeds": str(row["seeds"]),
        "theirs": theirs,
        "ours, with 90 %": ours,
    }
    return {name: in_markdown(words) for name, words in entries.items()} | {"verdict": verdict}


def _caption(source: Source, of_layers: bool, common: str) -> str:
    """Return what the table shows, on which scale, and how it is judged."""
    stand_in = " Stand-in data: it says nothing of real data." if source.cells["stand_in"].any() else ""
    layers = (
        f" Measures of layers ({', '.join(MEASURES)}) are means over layers in the last round that was measured; of "
        "the cosine, over rounds."
    )
    return (
        f"{source.title}: what is said, and what was found. {scale(source, common)}. Ours "
        "and theirs are points of accuracy, paired by seed where two methods are compared. The interval has 90 %: a "
        "statement holds, or does not, where the interval lies inside of what it claims, or outside, with a margin of "
        "one point for numbers; otherwise the seeds cannot say. An order does not hold either where its "
        "interval reaches zero and ends below one point. Each is judged by itself: of twenty, one may be wrong by "
        "chance, and rows that share runs are wrong together."
        f"{layers if of_layers else ''}{stand_in}"
    )
