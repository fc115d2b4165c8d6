"""Method against method in each setting: the paired differences behind the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bench.analysis.comparisons import ALIKE, BETTER, UNKNOWN, WORSE
from bench.errors import several
from bench.report.page.compute import Numbers
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.words import interval, p_value, points

COLUMNS = (
    Column("Method"),
    Column("Other"),
    Column("Difference, points", numeric=True, first="descending", hint="mean over seeds, with its own 95 % interval"),
    Column("Adjusted interval", numeric=True, hint="all intervals of the page hold together with 95 %"),
    Column("p, t-test", numeric=True),
    Column("p, Holm", numeric=True),
    Column("p, sign flips", numeric=True, hint="exact where seeds are few"),
    Column("Could have shown", numeric=True, hint="least difference seen with probability 0.8, in points"),
    Column("Pairs", numeric=True, first="descending"),
    Column("Verdict"),
    Column("From"),
)
MARKS = {BETTER: "good", WORSE: "bad", UNKNOWN: "quiet"}


def pair_grids(numbers: Numbers) -> Iterator[tuple[str, str, Grid]]:
    """Yield (setting, verdicts in words, table) of each setting in which methods meet."""
    for number, (setting, some) in enumerate(numbers.pairs.groupby("setting", sort=False)):
        counts = Counter(some["verdict"])
        told = counts[BETTER] + counts[WORSE]
        words = f"{several(len(some), 'pair')}, {told} told apart"
        order = some.assign(size=some["difference"].abs(), told=some["verdict"].isin([ALIKE, UNKNOWN]))
        order = order.sort_values(["told", "size"], ascending=[True, False], kind="stable")
        rows = tuple(_row(numbers, str(setting), row) for row in order.to_dict("records"))
        caption = f"{setting}: method less other, paired by seed, in percentage points. {_family(len(numbers.pairs))}"
        yield (
            str(setting),
            words,
            Grid(f"pairs-{number}", caption, COLUMNS, rows, {"method": "Method"}, tall=len(rows) > 30),
        )


def _family(pairs: int) -> str:
    if pairs == 1:
        return "It is the only pair of the page, and judged by itself."
    return (
        f"All {pairs} pairs of the page are one family: the verdict is Holm's, the adjusted interval Bonferroni's. "
        "An end beyond what is possible is written as at most −100 or at least +100."
    )


def _row(numbers: Numbers, setting: str, row: Mapping[Any, Any]) -> Row:
    own, other = (numbers.series_in(setting, str(row[name])) for name in ("label", "other"))
    shown = row["detectable"]
    verdict = str(row["verdict"])
    diverged = row["diverged"] + row["other_diverged"]
    origin, ends = f"{own.origin}; {other.origin}", interval(row["low"], row["high"], signed=True)
    adjusted = interval(row["adjusted_low"], row["adjusted_high"], signed=True)
    return Row(
        (
            Entry(str(row["label"]), str(row["label"])),
            Entry(str(row["other"]), str(row["other"])),
            Entry(points(row["difference"]), row["difference"], ends, origin),
            Entry(adjusted or "–", row["adjusted_low"]),
            Entry(p_value(row["p_t"]), row["p_t"]),
            Entry(p_value(row["p_holm"]), row["p_holm"]),
            Entry(p_value(row["p"]), row["p"]),
            Entry("over 100" if shown > 1 else f"{100 * shown:.1f}" if shown == shown else "–", shown),
            Entry(f"{row['pairs']}" + (f", {diverged} diverged" if diverged else ""), float(row["pairs"])),
            Entry(verdict, verdict, mark=MARKS.get(verdict, "")),
            Entry(f"{own.word}, {other.word}", float(own.number), href=own.id),
        ),
        {"method": f"{row['label']}\n{row['other']}"},
    )
