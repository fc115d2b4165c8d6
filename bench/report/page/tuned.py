"""What a study found: the values it chose beside the papers', on seeds and samples that no trial has seen."""

from __future__ import annotations

from bench.report.page.compute import Numbers
from bench.report.page.grid import Column, Entry, Grid, Row
from bench.report.page.series import partition_words
from bench.report.page.words import interval, percent, points

TABLE = "report"
NEEDED = {"task", "label", "method", "values", "settings", "keep", "partition", "alpha", "test_acc", "difference"}
COLUMNS = (
    Column("Method"),
    Column("Task"),
    Column("Keep ratio", numeric=True),
    Column("Partition"),
    Column("Values"),
    Column("Accuracy, %", numeric=True, first="descending", hint="test set, mean over the report's seeds"),
    Column("Less the papers', points", numeric=True, first="descending", hint="paired by seed"),
    Column("Held out, %", numeric=True, first="descending", hint="what the values were chosen by"),
    Column("Seeds", numeric=True),
    Column("Settings"),
)


def tuned_grid(numbers: Numbers) -> Grid | None:
    """Return the values that a study chose beside the papers', as the study's own table has them; None of a sweep."""
    table = numbers.source.tables.get(TABLE)
    if table is None or table.empty or not set(table) >= NEEDED:
        return None
    rows = []
    for row in table.to_dict("records"):
        difference = interval(row["difference_low"], row["difference_high"], signed=True)
        ends = interval(row["test_acc_low"], row["test_acc_high"])
        seeds = f"{row['seeds']}" + (f", {row['diverged']} diverged" if row["diverged"] else "")
        rows.append(
            Row(
                (
                    Entry(
                        str(row["label"]),
                        str(row["label"]),
                        swatch=numbers.look(str(row["label"]), str(row["method"])).colour,
                    ),
                    Entry(str(row["task"]), str(row["task"])),
                    Entry(f"{row['keep']:g}", row["keep"]),
                    Entry(partition_words(str(row["partition"]), float(row["alpha"]))),
                    Entry(str(row["values"]), str(row["values"])),
                    Entry(percent(row["test_acc"]), row["test_acc"], ends),
                    Entry(points(row["difference"]), row["difference"], difference),
                    Entry(percent(row["validation_acc"]), row["validation_acc"]),
                    Entry(seeds, float(row["seeds"])),
                    Entry(str(row["settings"])),
                )
            )
        )
    caption = (
        "The values that the study chose on held-out samples beside the papers', on the test set and on seeds that no "
        "trial had. Accuracies with their 95 % t-intervals; differences are paired by seed, and each interval stands "
        "on its own."
    )
    return Grid("tuned-table", caption, COLUMNS, tuple(rows), {"method": "Method"})
