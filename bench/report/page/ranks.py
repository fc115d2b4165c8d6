"""What many settings add up to: mean ranks, the critical-difference diagram, win rates and probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from bench.analysis.bayes import ROPE
from bench.errors import several
from bench.report.page.compute import Numbers
from bench.report.page.drawing import Axis
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.words import NONE, p_value, percent, plain, points, probability

LENGTH = 380.0  # of the axis; names stand on both sides
ROOM, LETTER = 190.0, 7.2  # for names at least, and for a letter of the longest beyond it
AXIS = 34.0  # where it lies
LINE, BAR = 19.0, 9.0  # of names and of bars, units apart
FEW = 2  # settings from which there is a mean rank to speak of


def rank_grid(numbers: Numbers) -> Grid:
    """Return the mean rank of each label with its interval, and its cells."""
    rows = []
    for row in numbers.ranks.to_dict("records"):
        label = str(row["label"])
        series = numbers.index.of_label(label)
        wins = numbers.wins[numbers.wins["label"] == label]
        won, met = int(wins["wins"].sum()), int(wins["settings"].sum())
        interval = "" if math.isnan(row["low"]) else f"[{plain(row['low'], 1)}, {plain(row['high'], 1)}]"
        rows.append(
            Row(
                (
                    Entry(label, label, swatch=numbers.colour(label)),
                    Entry(plain(row["rank"]), row["rank"], interval),
                    Entry(str(row["settings"]), float(row["settings"])),
                    Entry(f"{won} of {met}" if met else NONE, won / met if met else None),
                    Entry("in the ranks" if row["compared"] else "left out: it lacks settings of the others"),
                    Entry(
                        f"{series[0].word} to {series[-1].word}" if len(series) > 1 else series[0].word,
                        float(series[0].number),
                        href=series[0].id,
                    ),
                ),
                {"method": numbers.methods[label]},
                mark="own" if label in numbers.own else "",
            )
        )
    columns = (
        Column("Method"),
        Column("Mean rank", numeric=True, hint="over settings, 1 is the most accurate"),
        Column("Settings", numeric=True),
        Column("Comparisons won", numeric=True, first="descending", hint="settings times rivals, by mean accuracy"),
        Column("Ranked"),
        Column("From"),
    )
    caption = (
        "Mean rank over the settings that all ranked methods have, 1 for the most accurate, with the 95 % interval of "
        "a bootstrap that draws tasks, then settings, then seeds: settings of one task are not independent."
    )
    return Grid("ranks-table", caption, columns, tuple(rows))


def diagram(numbers: Numbers) -> dict[str, Any] | None:
    """Return the critical-difference diagram as places of lines and names; None where there are no ranks."""
    rows = [row for row in numbers.ranks.to_dict("records") if row["compared"] and not math.isnan(row["rank"])]
    if len(rows) < 2 or rows[0]["settings"] < FEW:
        return None
    half = (len(rows) + 1) // 2
    rooms = [_room(row["label"] for row in side) for side in (rows[:half], rows[half:])]
    start, stop = rooms[0], rooms[0] + LENGTH
    axis = Axis(1.0, float(len(rows)), start, stop)
    bars: dict[int, list[float]] = {}
    for row in rows:
        for number in row["cliques"]:
            bars.setdefault(int(number), []).append(axis.place(float(row["rank"])))
    top = AXIS + 14 + BAR * len(bars)
    names = []
    for place, row in enumerate(rows):
        left = place < half
        line = place if left else len(rows) - 1 - place
        label = str(row["label"])
        names.append(
            {
                "text": f"{label} {plain(row['rank'], 2)}" if left else f"{plain(row['rank'], 2)} {label}",
                "x": axis.place(float(row["rank"])),
                "y": round(top + LINE * (line + 0.6), 2),
                "left": left,
                "colour": numbers.colour(label),
                "own": label in numbers.own,
            }
        )
    words = "; ".join(f"{row['label']} {plain(row['rank'])}" for row in rows)
    return {
        "names": names,
        "bars": [
            {"x1": min(places) - 4, "x2": max(places) + 4, "y": AXIS + 10 + BAR * number}
            for number, places in enumerate(bars.values())
        ],
        "ticks": [(axis.place(float(rank)), str(rank)) for rank in range(1, len(rows) + 1)],
        "axis": AXIS,
        "left": start,
        "right": stop,
        "width": round(stop + rooms[1]),
        "height": round(top + LINE * (half + 0.6)),
        "words": f"Critical-difference diagram. Mean ranks: {words}. {_bars_in_words(numbers)}",
    }


def _room(labels: Iterable[str]) -> float:
    """Return how wide the names of one side are, with their ranks."""
    return max(ROOM, *(25 + LETTER * (len(label) + len(" 12.34")) for label in labels))


def _bars_in_words(numbers: Numbers) -> str:
    groups: dict[int, list[str]] = {}
    for row in numbers.ranks.to_dict("records"):
        for number in row["cliques"] or ():
            groups.setdefault(int(number), []).append(str(row["label"]))
    if not groups:
        return "No two neighbours are joined."
    return f"Joined, since not told apart: {'; '.join(', '.join(group) for group in groups.values())}."


def win_grid(numbers: Numbers) -> Grid:
    """Return the matrix of win rates: the share of settings in which the method of the row is ahead."""
    order = [str(label) for label in numbers.ranks["label"]]
    known = {(row["label"], row["other"]): row for row in numbers.wins.to_dict("records")}
    rows = []
    for label in order:
        entries = [Entry(label, label, swatch=numbers.colour(label))]
        for other in order:
            row = known.get((label, other))
            if row is None:
                entries.append(Entry("" if label == other else NONE, mark="quiet"))
                continue
            tied = f", {row['ties']} level" if row["ties"] else ""
            interval = ""
            if not math.isnan(row["low"]):
                interval = f"; bootstrap interval {percent(row['low'], 0)} to {percent(row['high'], 0)} %"
            hint = (
                f"{label} is ahead of {other} in {row['wins']} of {several(row['settings'], 'setting')}{tied}{interval}"
            )
            entries.append(Entry(f"{percent(row['rate'], 0)}", row["rate"], hint=hint, shade=2 * row["rate"] - 1))
        rows.append(Row(tuple(entries), mark="own" if label in numbers.own else ""))
    columns = (Column("Ahead of"), *(Column(label, numeric=True, first="descending") for label in order))
    caption = (
        "Share of the settings, in percent, in which the method of the row is ahead of that of the column by its mean "
        "over the seeds that both have; level counts half."
    )
    return Grid("wins-table", caption, columns, tuple(rows), sortable=False)


def chance_grid(numbers: Numbers) -> Grid:
    """Return the probabilities of the Bayesian signed-rank test, the clearest pairs first."""
    tests = {(row["label"], row["other"]): row for row in numbers.rank_tests.to_dict("records")}
    rows = []
    table = numbers.chances.sort_values(["better", "label", "other"], key=_clearness, kind="stable")
    for row in table.to_dict("records"):
        test = tests.get((row["label"], row["other"]), {})
        rows.append(
            Row(
                (
                    Entry(str(row["label"]), str(row["label"]), swatch=numbers.colour(str(row["label"]))),
                    Entry(str(row["other"]), str(row["other"]), swatch=numbers.colour(str(row["other"]))),
                    Entry(points(row["difference"]), row["difference"]),
                    Entry(probability(row["better"]), row["better"]),
                    Entry(probability(row["equivalent"]), row["equivalent"]),
                    Entry(probability(row["worse"]), row["worse"]),
                    Entry(p_value(test.get("p")), test.get("p")),
                    Entry(p_value(test.get("p_holm")), test.get("p_holm")),
                    Entry(str(row["settings"]), float(row["settings"])),
                ),
                {"method": f"{row['label']}\n{row['other']}"},
            )
        )
    columns = (
        Column("Method"),
        Column("Other"),
        Column("Difference, points", numeric=True, first="descending", hint="mean over settings"),
        Column("P(better)", numeric=True, first="descending"),
        Column("P(equivalent)", numeric=True, first="descending"),
        Column("P(worse)", numeric=True, first="descending"),
        Column("p, Wilcoxon", numeric=True),
        Column("p, Holm", numeric=True),
        Column("Settings", numeric=True, first="descending"),
    )
    caption = (
        "Each pair over the settings. Bayesian signed-rank test: the probability that the method is better than the "
        f"other by more than {100 * ROPE:g} points, that they are within {100 * ROPE:g} points, and that it is worse. "
        "Beside it Wilcoxon's signed-rank test, alone and by Holm over all pairs."
    )
    return Grid("chances-table", caption, columns, tuple(rows), {"method": "Method"}, tall=len(rows) > 30)


def _clearness(column: Any) -> Any:
    return -(column - 0.5).abs() if column.name == "better" else column
