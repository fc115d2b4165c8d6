"""The leaderboard: a row for each method in each setting, with accuracy, distance to the full model and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.analysis.comparisons import ALIKE, BETTER, UNKNOWN, WORSE
from bench.analysis.tables import FULL_MODEL
from bench.errors import several
from bench.report.page.compute import Numbers
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.standing import level_with_best, ordered, places, span
from bench.report.page.words import interval, percent, points, significant

TALL = 40  # rows above which a table scrolls in a frame of its own
MB, GMAC = 1e6, 1e9
COLUMNS = (
    Column("Method"),
    Column("Setting"),
    Column("Rank", numeric=True, hint="place by mean accuracy within the setting; level ones share theirs"),
    Column("Accuracy, %", numeric=True, hint="mean over seeds with its 95 % t-interval", first="descending"),
    Column("Beside the best", hint="by the adjusted comparisons of all pairs of the page"),
    Column("Less full model, points", numeric=True, hint="paired by seed, with the interval adjusted for all of them"),
    Column("Seeds", numeric=True, first="descending"),
    Column("Sent, MB", numeric=True, hint="down and up, all clients of all rounds, mean over seeds"),
    Column("Work, GMAC", numeric=True, hint="training of all clients in all rounds"),
    Column("Time, s", numeric=True, hint="wall clock of the method without evaluations"),
    Column("From"),
)


def leaderboard(numbers: Numbers) -> Grid:
    """Return the leaderboard, settings in order and the most accurate method of each first."""
    firsts = numbers.cells.drop_duplicates(["setting", "label"])
    rows = []
    for setting, some in firsts.groupby("setting", sort=False):
        lines = [{**row, **_numbers(numbers, str(setting), str(row["label"]))} for row in some.to_dict("records")]
        means = {str(line["label"]): float(line["mean"]) for line in lines}
        order, place = ordered(means), places(means)
        told = beside_best(numbers.pairs, str(setting), level_with_best(means)[:1])
        for line in sorted(lines, key=lambda line: order.index(line["label"])):
            gap = numbers.gap_of(str(setting), str(line["label"])) or {}
            rows.append(_row(numbers, line, place.get(str(line["label"])), told, gap))
    gaps = "there is none"
    if len(numbers.gaps):
        gaps = f"paired by seed, {several(len(numbers.gaps), 'comparison')}, their intervals hold together with 95 %"
    caption = (
        "A row for each method in each setting. Accuracy: mean over the seeds of runs that ended, with its 95 % "
        "t-interval; an end beyond what is possible is written as at most 0 or at least 100. Beside the best: "
        "whether the seeds tell it apart from the most accurate of its setting, among "
        f"{_all_pairs(len(numbers.pairs))} of the page (Holm). Less full model: {gaps}. A full "
        "model stands at every keep ratio of its place."
    )
    filters = {"task": "Task", "setting": "Setting", "method": "Method"}
    return Grid("leaderboard-table", caption, COLUMNS, tuple(rows), filters, tall=len(rows) > TALL)


def _all_pairs(number: int) -> str:
    return "the one pair" if number == 1 else f"all {number} pairs"


def beside_best(pairs: pd.DataFrame, setting: str, first: Sequence[str]) -> dict[str, str]:
    """Return the verdict of each label of a setting beside the most accurate one, as :func:`comparisons` has it.

    Args:
        pairs: the comparisons of the page.
        setting: the word for it.
        first: the most accurate label, the first by name of level ones; empty where every run diverged.
    """
    place = pairs.loc[pairs["setting"] == setting, "place"].drop_duplicates().tolist()
    here = pairs[pairs["setting"].isin([setting, *place])]
    mine = here.loc[here["label"].isin(first), ["other", "verdict"]].itertuples(index=False, name=None)
    theirs = here.loc[here["other"].isin(first), ["label", "verdict"]].itertuples(index=False, name=None)
    turned = {BETTER: WORSE, WORSE: BETTER}
    found = {str(label): turned.get(str(word), str(word)) for label, word in mine}
    return found | {str(label): str(word) for label, word in theirs} | dict.fromkeys(first, "best")


def _numbers(numbers: Numbers, setting: str, label: str) -> dict[str, Any]:
    series = numbers.of_setting[setting, label]
    accuracy, cost = numbers.accuracies[series.number], numbers.costs.get(series.number)
    return {
        "series": series,
        **{name: accuracy[name] for name in ("mean", "low", "high", "diverged")},
        "counted": int(accuracy["seeds"]),
        **{name: math.nan if cost is None else float(cost[name]) for name in ("bytes", "macs", "seconds")},
    }


def _row(
    numbers: Numbers,
    line: Mapping[Any, Any],
    place: tuple[int, int] | None,
    told: Mapping[str, str],
    gap: Mapping[Any, Any],
) -> Row:
    label, series = str(line["label"]), line["series"]
    verdict = told.get(label, "")
    words = {"best": "most accurate", ALIKE: "not told apart", WORSE: "worse", UNKNOWN: "cannot be said"}
    marks = {"best": "best", UNKNOWN: "quiet"}
    hint = series.origin
    full = label == FULL_MODEL
    seeds = f"{line['counted']}" + (f", {line['diverged']} diverged" if line["diverged"] else "")
    entries = (
        Entry(label, label, swatch=numbers.colour(label)),
        Entry(str(line["setting"]), str(line["setting"])),
        Entry(span(place), None if place is None else float(place[0])),
        Entry(percent(line["mean"]), line["mean"], interval(line["low"], line["high"]), hint, marks.get(verdict, "")),
        Entry(
            words.get(verdict, "–"),
            words.get(verdict, ""),
            mark={WORSE: "bad", UNKNOWN: "quiet", "": "quiet"}.get(verdict, ""),
        ),
        Entry("is it", mark="quiet")
        if full
        else Entry(
            points(gap.get("difference")),
            gap.get("difference"),
            interval(gap.get("adjusted_low"), gap.get("adjusted_high"), signed=True),
            hint,
            {BETTER: "good", WORSE: "bad"}.get(str(gap.get("verdict")), ""),
        ),
        Entry(seeds, float(line["counted"]), mark="bad" if line["diverged"] else ""),
        Entry(significant(line["bytes"] / MB), line["bytes"], hint=hint),
        Entry(significant(line["macs"] / GMAC), line["macs"], hint=hint),
        Entry(significant(line["seconds"]), line["seconds"], hint=hint),
        Entry(series.word, float(series.number), href=series.id),
    )
    chosen_by = {"task": str(line["task"]), "setting": str(line["setting"]), "method": series.method}
    own = series.label in numbers.source.front
    return Row(entries, chosen_by, mark="own" if own else "")
