"""The command that says how many seeds a difference needs: ``power``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import Plugin, Results, number, out, say
from bench.cli.report import Given, opened
from bench.errors import BenchError, several

if TYPE_CHECKING:
    import pandas as pd

    from bench.terminal.columns import Columns


def power(
    given: Given,
    points: Annotated[
        float, typer.Option(**number("--points"), help="The difference of accuracy that is to be shown, in points.")
    ] = 1.0,
    probability: Annotated[
        float, typer.Option("--power", **number("--power"), help="How probably it is to be shown if it is there.")
    ] = 0.8,
    reference: Annotated[
        str | None, typer.Option(help="Only pairs with this label or method; the full model if left out.")
    ] = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Each method with each other.")] = False,
    plugin: Plugin = None,
    results: Results = Path("results"),
) -> None:
    """Say how many seeds a difference needs, from the spread of the results that are there."""
    if not 0 < points <= 100:
        raise BenchError(f"--points {points:g}: it is not possible; allowed: points of accuracy above 0, up to 100")
    if not 0.05 < probability < 1:
        raise BenchError(f"--power {probability:g}: it is not possible; allowed: a probability above 0.05 and below 1")
    if all_pairs and reference is not None:
        raise BenchError("--all-pairs and --reference: one compares all, the other with one; give one of them")
    from bench.analysis.comparisons import comparisons
    from bench.analysis.planning import seed_plan
    from bench.analysis.tables import FULL_MODEL

    source, _ = opened(given, plugin or [], results)
    cells = source.cells
    if reference is None and not all_pairs and FULL_MODEL in set(cells["label"].astype(str)):
        reference = FULL_MODEL
    rows = comparisons(cells, reference)
    if rows.empty:
        raise BenchError(f"{given}: no two methods share a setting: there is nothing to compare")
    plan = seed_plan(rows, points / 100, probability).sort_values(["task", "needed"], kind="stable")
    out.print(_table(plan, points, len(rows), reference))
    diverged = int(rows["diverged"].sum() + rows["other_diverged"].sum())
    note = ["runs that diverged count as guessing, which makes a spread large"] if diverged else []
    say(*_words(plan, points, probability, len(rows)), *note, *(f"note: {line}" for line in source.notes))


def _table(plan: pd.DataFrame, points: float, family: int, reference: str | None) -> Columns:
    from rich.markup import escape

    from bench.terminal.columns import Columns

    others = set(plan["other"])
    title = f"seeds for a difference of {_points(points)}"
    if reference is not None and len(others) == 1:
        title = f"{title} from {min(others)}"
    names = ("task", "method", "spread", "seeds now", "could show", f"seeds for {points:g}", f"of {family}")
    table = Columns(title, *names)
    for row in plan.to_dict("records"):
        pair = row["label"] if reference is not None else f"{row['label']} and {row['other']}"
        spread = f"{100 * row['std']:.2f} ({int(row['freedom'])})" if row["freedom"] else ""
        shown = f"{100 * row['detectable']:.1f}" if math.isfinite(row["detectable"]) else ""
        numbers = (spread, str(int(row["seeds"])), shown, _seeds(row["needed"]), _seeds(row["needed_in_family"]))
        table.add_row(*(escape(word) for word in (str(row["task"]), pair, *numbers)))
    return table


def _words(plan: pd.DataFrame, points: float, probability: float, family: int) -> list[str]:
    """Return what the table says, in sentences."""
    known = plan[plan["needed"].notna()].sort_values("needed", kind="stable")
    lines = [
        "spread: standard deviation of the differences between seeds, in points, and its degrees of freedom; could "
        f"show: the least difference that the seeds there are show with probability {probability:g}; the last column: "
        + (f"seeds where {family} comparisons are judged together" if family > 1 else "the same, for there is no other")
    ]
    if len(known):
        rows = {"in the middle: ": known.iloc[(len(known) - 1) // 2], "at most: ": known.iloc[-1]}
        for words, row in rows.items() if len(known) > 1 else [("", known.iloc[0])]:
            lines.append(f"{words}{_sentence(row, points, family)}")
    unknown = len(plan) - len(known)
    if unknown:
        reason = "fewer than two seeds, or no spread between them"
        lines.append(f"of {several(unknown, 'pair')} nothing can be said: {reason}")
    if len(known) and known["freedom"].min() < 10:
        lines.append(f"a spread of few degrees of freedom is rough: {_rough(int(known['freedom'].min()))}")
    return lines


def _rough(freedom: int) -> str:
    """Return how far off the seeds needed may be: as far as the variance, by the chi-squared law of its estimate."""
    from scipy.stats import chi2

    low, high = (freedom / float(chi2.isf(tail, freedom)) for tail in (0.025, 0.975))
    return f"at {freedom}, the seeds needed may be {low:.2g} to {high:.2g} times as many"


def _sentence(row: pd.Series[Any], points: float, family: int) -> str:
    who = f"{row['label']} and {row['other']} on {row['task']}"
    together = f", {_seeds(row['needed_in_family'])} as one of {several(family, 'comparison')}" if family > 1 else ""
    return f"to show a difference of {_points(points)} between {who} needs {_seeds(row['needed'])} seeds{together}"


def _seeds(number: float) -> str:
    if math.isnan(number):
        return ""
    return f"{int(number)}" if math.isfinite(number) else "over 10,000"


def _points(points: float) -> str:
    return f"{points:g} {'point' if points == 1 else 'points'}"
