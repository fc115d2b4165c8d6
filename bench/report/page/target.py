"""What it costs to get near the full model, and performance profiles of these costs over the settings."""

from __future__ import annotations

import math
from typing import Any

from bench.analysis.targets import LONGEST
from bench.errors import several
from bench.report.page.compute import Numbers
from bench.report.page.drawing import Axis, spread_out
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.leaderboard import GMAC, MB
from bench.report.page.words import plain, significant

SHARE = 0.9  # of the full model's accuracy, in the chart and the table of areas
LEFT, RIGHT, TOP, BOTTOM = 44.0, 300.0, 14.0, 256.0
NAMES = 308.0  # where the names at the ends of the lines begin
UNITS = {
    "rounds": (1.0, "Rounds"),
    "bytes": (MB, "Sent, MB"),
    "macs": (GMAC, "Work, GMAC"),
    "memory": (1e6, "Memory, 10⁶"),
}


def area_grid(numbers: Numbers) -> Grid | None:
    """Return the area under the profile of each label by each cost; None where no full model sets a target."""
    areas = {cost: numbers.areas(cost, SHARE).set_index("label") for cost in UNITS}
    first = areas["rounds"]
    if first.empty:
        return None
    rows = []
    for label, row in first.iterrows():
        known = [float(areas[cost]["area"].get(label, math.nan)) for cost in UNITS]
        rows.append(
            Row(
                (
                    Entry(str(label), str(label), swatch=numbers.colour(str(label))),
                    Entry(f"{int(row['reached'])} of {int(row['settings'])}", row["reached"] / row["settings"]),
                    *(Entry(plain(area), area) for area in known),
                ),
                mark="own" if label in numbers.own else "",
            )
        )
    columns = (
        Column("Method"),
        Column("Settings reached", numeric=True, first="descending"),
        *(Column(name, numeric=True, first="descending") for name in ("By rounds", "By bytes", "By work", "By memory")),
    )
    caption = (
        f"Area under the performance profile up to {LONGEST:g} times the cheapest, for each cost until the running "
        f"mean of test accuracy reached {100 * SHARE:g} % of the full model's final accuracy at the same seed: 1 for "
        "the cheapest in all settings, 0 for one that is never near. A run that never got there counts as infinitely "
        "expensive."
    )
    return Grid("areas-table", caption, columns, tuple(rows))


def cost_grid(numbers: Numbers) -> Grid:
    """Return what each label cost in each setting until it reached each share: medians over seeds."""
    tables = {cost: numbers.ratios_by_share(cost) for cost in UNITS}
    rows = []
    for key, row in tables["rounds"].items():
        share, setting, label = key
        found = [(tables[cost].get(key, {}).get("median", math.nan), unit) for cost, (unit, _) in UNITS.items()]
        series = numbers.series_in(setting, label)
        rows.append(
            Row(
                (
                    Entry(label, label, swatch=numbers.colour(label)),
                    Entry(setting, setting),
                    Entry(f"{100 * share:g} %", share),
                    Entry(f"{row['reached']} of {several(row['seeds'], 'seed')}", row["reached"] / row["seeds"]),
                    *(Entry(significant(value / unit), value, hint=series.origin) for value, unit in found),
                    Entry(series.word, float(series.number), href=series.id),
                ),
                {"setting": setting, "method": series.method, "share": f"{100 * share:g} %"},
            )
        )
    columns = (
        Column("Method"),
        Column("Setting"),
        Column("Target", numeric=True, hint="share of the full model's final accuracy"),
        Column("Reached", numeric=True, first="descending"),
        *(Column(name, numeric=True) for _, name in UNITS.values()),
        Column("From"),
    )
    caption = (
        "Cost until the target was reached, medians over seeds: rounds, bytes and training work of all clients so far, "
        "and the most numbers that the mean client held (trained parameters and the activations of 32 samples)."
    )
    filters = {"share": "Target", "setting": "Setting", "method": "Method"}
    return Grid("targets-table", caption, columns, tuple(rows), filters, tall=len(rows) > 30)


def profile_chart(numbers: Numbers, cost: str, words: str) -> dict[str, Any] | None:
    """Return the performance profiles of a cost as lines; None where there is none."""
    profiles = numbers.profiles(cost, SHARE)
    if profiles.empty:
        return None
    x, y = Axis(1.0, LONGEST, LEFT, RIGHT), Axis(0.0, 100.0, BOTTOM, TOP)
    lines: list[dict[str, Any]] = []
    for label, some in profiles.groupby("label", sort=False):
        steps = sorted((float(ratio), float(share)) for ratio, share in zip(some["ratio"], some["share"], strict=True))
        path = [f"M{x.place(steps[0][0])},{y.place(100 * steps[0][1])}"]
        path += [f"H{x.place(ratio)}V{y.place(100 * share)}" for ratio, share in steps[1:]]
        lines.append({"label": str(label), "path": "".join(path), "end": y.place(100 * steps[-1][1])})
    places = spread_out([line["end"] for line in lines], 13, TOP, BOTTOM)
    for line, place in zip(lines, places, strict=True):
        line |= {
            "y": place,
            "colour": numbers.colour(line["label"]),
            "own": line["label"] in numbers.own,
        }
    ends = {str(label): some["share"].iloc[-1] for label, some in profiles.groupby("label", sort=False)}
    said = "; ".join(f"{label} {100 * share:.0f} %" for label, share in ends.items())
    return {
        "lines": lines,
        "x_ticks": x.ticks(5),
        "y_ticks": y.ticks(6),
        "axis": words,
        "end": RIGHT,
        "names": NAMES,
        "words": f"Performance profiles, {words}. Share of settings within {LONGEST:g} times the cheapest: {said}.",
    }
