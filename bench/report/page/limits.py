"""Where the numbers can say nothing: one seed, one setting, equal results, diverged runs, chance, stand-in data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.chance import at_chance
from bench.analysis.outcomes import valued
from bench.errors import several
from bench.report.page.compute import Numbers
from bench.report.page.words import joined, shortened
from bench.report.source import Source

MOST_NAMES = 8
_SERIES = ["task", "label", "keep", "partition", "alpha", "data_title"]


@dataclass(frozen=True)
class Sentence:
    """A sentence of the verdict.

    Attributes:
        text: what is said.
        scale: on which data, rounds and seeds, and what could have been seen at all.
        is_limit: whether it says what cannot be said.
    """

    text: str
    scale: str = ""
    is_limit: bool = False


def limits(numbers: Numbers) -> list[Sentence]:
    """Return what nothing can be said of, a sentence for each reason."""
    source = numbers.source
    found = [*_of_data(source), *_of_chance(source), *_of_runs(source.cells), *_of_seeds(source.cells)]
    if len(numbers.labels) < 2:
        found.append(f"There is one method, {numbers.labels[0]}: nothing can be compared.")
    elif len(numbers.settings) == 1:
        found.append(
            "All was compared in one setting: whether it holds elsewhere cannot be said, and ranks over settings have "
            "no test."
        )
    return [Sentence(text, is_limit=True) for text in found]


def _of_data(source: Source) -> Iterator[str]:
    stand_in = source.cells["stand_in"].astype(bool)
    if stand_in.any():
        titles = sorted(set(source.cells.loc[stand_in, "data_title"].astype(str)))
        yield f"Stand-in data ({joined(titles)}): this shows that all works, and ranks no method on real data."


def finals_of(source: Source) -> list[tuple[str, float, dict[str, Any]]]:
    """Return (task, final accuracy, facts) of each finished cell, as :mod:`bench.analysis.chance` takes them."""
    facts = {cell.name: cell.facts for cell in source.known}
    rows = source.cells[["cell", "task", "final_acc", "data_title"]].dropna().to_dict("records")
    return [
        (
            str(row["task"]),
            float(row["final_acc"]),
            {**facts.get(str(row["cell"]), {}), "data_title": row["data_title"]},
        )
        for row in rows
    ]


def _of_chance(source: Source) -> Iterator[str]:
    yield from (f"{line[:1].upper()}{line[1:]}." for line in at_chance(finals_of(source)))


def _of_runs(cells: pd.DataFrame) -> Iterator[str]:
    """Yield what diverged runs mean, and whether all others ended alike."""
    diverged = cells["status"].astype(str) == "diverged"
    if diverged.all():
        yield "Every run diverged: there is no accuracy to compare, and nothing is ranked."
        return
    if diverged.any():
        labels = shortened(sorted(set(cells.loc[diverged, "label"])), MOST_NAMES)
        words = f"{several(int(diverged.sum()), 'run')} of {len(cells)} diverged ({labels})."
        lost = int(valued(cells)["final_acc"].isna().sum())
        if lost < diverged.sum():
            which = "the others count" if lost else "a diverged run counts"
            words += f" In comparisons and ranks {which} as guessing, 1 / classes; means and their intervals leave"
            words += " them out." if lost else " it out."
        if lost:
            words += (
                f" {lost} of them count nowhere, since these tables do not say how many classes there are: what is "
                "said of these methods is said of their other seeds alone."
            )
        yield words
    finals = cells.loc[~diverged, ["task", "data_title", "final_acc"]].dropna()
    spread = finals.groupby(["task", "data_title"])["final_acc"].nunique()
    if len(finals) > 1 and (spread == 1).all() and cells["label"].nunique() > 1:
        yield "All runs of a task ended with the same accuracy: no method is told apart."


def _of_seeds(cells: pd.DataFrame) -> Iterator[str]:
    seeds = cells.groupby(_SERIES, dropna=False)["seed"].nunique()
    if (seeds < 2).all():
        yield (
            "Every method was run with one seed: there is no spread, no interval and no test, so that no difference "
            "can be told from the luck of a seed."
        )
    elif (seeds < 2).any():
        yield f"{int((seeds < 2).sum())} of {len(seeds)} series have one seed and no interval."
