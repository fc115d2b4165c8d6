"""The leaderboard: a row for each method in each setting, with accuracy, distance to the full model and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.analysis.comparisons import ALIKE, BETTER, UNKNOWN, WORSE
from bench.analysis.tables import FULL_MODEL
from bench.errors import several
from bench.report.page.compute import Numbers
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.series import colour_of
from bench.report.page.words import interval, percent, points, significant

TALL = 40  # rows above which a table scrolls in a frame of its own
MB, GMAC = 1e6, 1e9
COLUMNS = (
    Column("Method"),
    Column("Setting"),
    Column("Rank", numeric=True, hint="place by mean accuracy within the setting"),
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
        lines.sort(key=lambda line: (-line["mean"] if not math.isnan(line["mean"]) else math.inf, line["label"]))
        told = beside_best(numbers.pairs, str(setting), next((line["label"] for line in lines), ""))
        ranks = pd.Series([line["mean"] for line in lines]).rank(ascending=False, method="min")
        for line, rank in zip(lines, ranks, strict=True):
            gap = numbers.gap_of(str(setting), str(line["label"])) or {}
            rows.append(_row(numbers, line, float(rank), told, gap))
    gaps = "there is none"
    if len(numbers.gaps):
        gaps = f"paired by seed, {several(len(numbers.gaps), 'comparison')}, their intervals hold together with 95 %"
    caption = (
        "A row for each method in each setting. Accuracy: mean over the seeds of runs that ended, with its 95 % "
        "t-interval. Beside the best: whether the seeds tell it apart from the most accurate of its setting, among all "
        f"{len(numbers.pairs)} pairs of the page (Holm). Less full model: {gaps}. A full "
        "model stands at every keep ratio of its place."
    )
    filters = {"task": "Task", "setting": "Setting", "method": "Method"}
    return Grid("leaderboard-table", caption, COLUMNS, tuple(rows), filters, tall=len(rows) > TALL)


def beside_best(pairs: pd.DataFrame, setting: str, best: str) -> dict[str, str]:
    """Return the verdict of each label of a setting beside the most accurate one, as :func:`comparisons` has it."""
    place = pairs.loc[pairs["setting"] == setting, "place"].drop_duplicates().tolist()
    here = pairs[pairs["setting"].isin([setting, *place])]
    mine = here.loc[here["label"] == best, ["other", "verdict"]].itertuples(index=False, name=None)
    theirs = here.loc[here["other"] == best, ["label", "verdict"]].itertuples(index=False, name=None)
    turned = {BETTER: WORSE, WORSE: BETTER}
    return {str(label): turned.get(str(word), str(word)) for label, word in mine} | {
        str(label): str(word) for label, word in theirs
    } | {best: "best"}  # fmt: skip


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
    numbers: Numbers, line: Mapping[Any, Any], rank: float, told: Mapping[str, str], gap: Mapping[Any, Any]
) -> Row:
    label, series = str(line["label"]), line["series"]
    verdict = told.get(label, "")
    words = {"best": "most accurate", ALIKE: "not told apart", WORSE: "worse", UNKNOWN: "cannot be said"}
    marks = {"best": "best", UNKNOWN: "quiet"}
    hint = series.origin
    full = label == FULL_MODEL
    seeds = f"{line['counted']}" + (f", {line['diverged']} diverged" if line["diverged"] else "")
    entries = (
        Entry(label, label, swatch=colour_of(series.method)),
        Entry(str(line["setting"]), str(line["setting"])),
        Entry("–" if math.isnan(rank) else f"{rank:g}", rank),
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
