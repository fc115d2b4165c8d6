"""What came of a sweep as a table for a paper: rows methods, columns settings, in Markdown or LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from bench.analysis.comparisons import ALIKE, label_of
from bench.analysis.outcomes import valued
from bench.analysis.tables import FULL_MODEL
from bench.errors import BenchError, choices, several
from bench.report.page.compute import Numbers
from bench.report.page.leaderboard import GMAC, MB, beside_best
from bench.report.page.standing import level_with_best, places, span
from bench.report.page.words import (
    NONE,
    interval,
    joined,
    judged_among,
    percent,
    plain,
    points,
    ranges,
    significant,
)
from bench.report.source import Source

ACCURACY, GAP, RANK = "accuracy", "gap", "rank"
COSTS = {"bytes": (MB, "sent, MB"), "macs": (GMAC, "training work, GMAC"), "seconds": (1.0, "time of the method, s")}
VALUES = (ACCURACY, GAP, RANK, *COSTS)
FORMATS = ("markdown", "latex")
MEAN = "mean rank"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "−": r"$-$", "–": "--", "∞": r"$\infty$", "≤": r"$\leq$", "≥": r"$\geq$",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """An entry of a table.

    Attributes:
        text: the number.
        ends: of its interval, empty where there is none.
        is_best: whether it is the best of its column.
        is_near: whether its method is not told apart from the best one's; of a gap, from the reference.
    """

    text: str
    ends: str = ""
    is_best: bool = False
    is_near: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption.

    Attributes:
        columns: words for the settings.
        rows: a method and its entries.
        caption: what is shown, on which scale.
        notes: what is missing or diverged.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Value]]]
    caption: str
    notes: Sequence[str] = field(default_factory=tuple)


def table_of(source: Source, value: str = ACCURACY, against: str | None = None) -> Table:
    """Return a table of a source.

    Args:
        source: the results.
        value: one of :data:`VALUES`: "accuracy" in percent, "gap" to a reference in points, "rank" within each setting,
            or what a whole run cost.
        against: the reference of gaps, a label or a method that has only one; the full model if left out.

    Raises:
        BenchError: there is no such value, or no such reference for a gap.
    """
    if value not in VALUES:
        raise BenchError(f"--value {value!r}: it is not possible; {choices(value, VALUES)}")
    if against is not None and value != GAP:
        raise BenchError(f"--against {against!r}: --value {value} is beside nobody; allowed: --value gap")
    numbers = Numbers(source)
    reference = _reference(numbers, against) if value == GAP else FULL_MODEL
    columns = {setting: _column(numbers, setting, value, reference) for setting in numbers.settings}
    order = [str(label) for label in numbers.ranks["label"]]
    rows = [[columns[setting].get(label, Value(NONE)) for setting in columns] for label in order]
    common, heads = apart(list(columns))
    notes = _notes(numbers, order, dict(zip(columns, heads, strict=True)))
    if value == RANK and numbers.ranks["rank"].notna().any():
        heads.append(MEAN)
        rows = [[*row, mean] for row, mean in zip(rows, _mean_ranks(numbers), strict=True)]
    caption = _caption(numbers, value, reference, common)
    return Table(heads, list(zip(order, rows, strict=True)), caption, notes)


def _reference(numbers: Numbers, against: str | None) -> str:
    """Return the label that gaps are to."""
    if against is not None:
        try:
            return label_of(numbers.cells, against)
        except BenchError as error:
            raise BenchError(f"--against: {error}") from None
    if not numbers.full_models:
        raise BenchError(
            f"--value gap: {numbers.source.opened} has no full model ({FULL_MODEL}); allowed: the other values, or "
            "--against with a label that there is"
        )
    return FULL_MODEL


def apart(settings: Sequence[str]) -> tuple[str, list[str]]:
    """Return what all settings share at their beginning, and what sets each apart.

    >>> apart(["cnn, natural, keep 0.2", "cnn, natural, keep 0.4"])
    ('cnn, natural', ['keep 0.2', 'keep 0.4'])
    >>> apart(["cnn, natural, keep 0.2"])
    ('', ['cnn, natural, keep 0.2'])
    """
    parts = [setting.split(", ") for setting in settings]
    shared = 0
    while len(parts) > 1 and all(len(part) > shared + 1 and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    return ", ".join(parts[0][:shared]), [", ".join(part[shared:]) for part in parts]


def _column(numbers: Numbers, setting: str, value: str, reference: str) -> dict[str, Value]:
    """Return the entry of each label in a setting."""
    labels = list(dict.fromkeys(numbers.cells.loc[numbers.cells["setting"] == setting, "label"]))
    series = {label: numbers.of_setting[setting, label].number for label in labels}
    means = _counting_diverged(numbers, setting)
    if value in COSTS:
        unit, _ = COSTS[value]
        costs = pd.Series({label: float(numbers.costs[series[label]][value]) / unit for label in labels})
        least = costs.min()
        return {label: Value(significant(costs[label]), is_best=bool(costs[label] == least)) for label in labels}
    best = level_with_best(means)
    told = (
        _beside(numbers, setting, labels, reference) if value == GAP else beside_best(numbers.pairs, setting, best[:1])
    )
    near = {label for label in labels if told.get(label) == ALIKE and (value == GAP or label not in best)}
    marks = {label: (label in best, label in near) for label in labels}
    if value == RANK:
        place = places(means)
        words = {label: (span(place.get(label)), "") for label in labels}
    elif value == GAP:
        words = {label: _gap(numbers, setting, label, reference) for label in labels}
    else:
        words = {label: _accuracy(numbers.accuracies[series[label]]) for label in labels}
    return {label: Value(*words[label], *marks[label]) for label in labels}


def _counting_diverged(numbers: Numbers, setting: str) -> dict[str, float]:
    """Return the mean accuracy of each label of a setting by the rule of comparisons: a diverged run has guessed."""
    rows = valued(numbers.cells[numbers.cells["setting"] == setting])
    return {str(label): float(mean) for label, mean in rows.groupby("label")["final_acc"].mean().items()}


def _accuracy(row: pd.Series[float]) -> tuple[str, str]:
    return percent(row["mean"]), interval(row["low"], row["high"])


def _gap(numbers: Numbers, setting: str, label: str, reference: str) -> tuple[str, str]:
    if label == reference:
        return "0.0", ""
    row = numbers.gap_of(setting, label, reference)
    if row is None:
        return NONE, ""
    return points(row["difference"]), interval(row["adjusted_low"], row["adjusted_high"], signed=True)


def _beside(numbers: Numbers, setting: str, labels: Sequence[str], reference: str) -> dict[str, str]:
    """Return the verdict of each label beside the reference: of the same comparisons as the intervals of gaps."""
    rows = {label: numbers.gap_of(setting, label, reference) for label in labels}
    return {label: str(row["verdict"]) for label, row in rows.items() if row is not None}


def _mean_ranks(numbers: Numbers) -> list[Value]:
    ranks = numbers.ranks
    ends = [
        "" if math.isnan(low) else f"[{plain(low, 1)}, {plain(high, 1)}]"
        for low, high in zip(ranks["low"], ranks["high"], strict=True)
    ]
    best = level_with_best({str(row["label"]): -float(row["rank"]) for row in ranks.to_dict("records")})
    return [
        Value(plain(rank), end, label in best)
        for label, rank, end in zip(ranks["label"], ranks["rank"], ends, strict=True)
    ]


def _caption(numbers: Numbers, value: str, reference: str, common: str) -> str:
    """Return what a table shows: the value, the scale, and what the marks say."""
    source, cells = numbers.source, numbers.source.cells
    judged = numbers.gaps_to(reference) if value == GAP else numbers.pairs
    family = int(judged["family"].iloc[0]) if len(judged) else 0
    other = "the full model" if reference == FULL_MODEL else reference
    what = {
        ACCURACY: "Test accuracy in percent, mean over seeds with its 95 % t-interval",
        GAP: f"Test accuracy less that of {other} in percentage points, paired by seed, with intervals that hold "
        f"together with 95 % (Bonferroni, {several(family, 'comparison')})",
        RANK: "Rank by mean test accuracy within each setting, 1 for the best; mean rank over the settings that all "
        "have, with its 95 % bootstrap interval",
        **{name: f"Cost of a whole run, all clients: {words}, mean over seeds" for name, (_, words) in COSTS.items()},
    }[value]
    stand_in = " Stand-in data: it ranks no method on real data." if cells["stand_in"].any() else ""
    marks = (
        "The best of each column is bold."
        if value in COSTS
        else "The best of each column is bold; a dagger marks those that the same comparisons do not tell apart from "
        f"{other}, {judged_among(family)}."
        if value == GAP
        else "The best of each column is bold"
        + (
            f"; a dagger marks those that its seeds do not tell apart from it, {judged_among(family)}."
            if family
            else "."
        )
    )
    beyond = " An end of an interval beyond what is possible is written as at most or at least that."
    marks += beyond if value in (ACCURACY, GAP) else ""
    return f"{source.title}: {what}. {scale(source, common)}. {marks}{stand_in}"


def scale(source: Source, common: str) -> str:
    """Return on what scale results were made, for captions: what their settings share, data, rounds and seeds."""
    cells = source.cells
    rounds, seeds = sorted({int(one) for one in cells["rounds"]}), ranges(int(seed) for seed in cells["seed"])
    span = several(rounds[0], "round") if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]} rounds"
    data = joined(sorted(set(cells["data_title"].astype(str))))
    return "; ".join([*([common] if common else []), data, span, f"seeds {seeds}"])


def _notes(numbers: Numbers, order: Sequence[str], heads: Mapping[str, str]) -> list[str]:
    """Return what is missing or diverged, and that one seed says nothing.

    Args:
        numbers: of the table.
        order: of its rows.
        heads: of its columns, by setting.
    """
    notes = []
    for (setting, label), series in sorted(numbers.of_setting.items(), key=lambda one: order.index(one[0][1])):
        row = numbers.accuracies[series.number]
        if row["diverged"]:
            of = f"{int(row['diverged'])} of {several(len(series.cells), 'run')}"
            notes.append(f"{label} in {heads[setting]}: {of} diverged; in no mean, and guessing where it is compared.")
    lacking: dict[tuple[str, ...], list[str]] = {}
    for label in order:
        missing = tuple(heads[setting] for setting in heads if (setting, label) not in numbers.of_setting)
        if missing:
            lacking.setdefault(missing, []).append(label)
    for missing, labels in lacking.items():
        notes.append(f"{joined(labels)}: no run in {joined(missing)}.")
    if numbers.source.cells["seed"].nunique() == 1:
        notes.append("One seed has no interval, and tells no methods apart.")
    return notes


def markdown(table: Table) -> str:
    """Return a table in Markdown: caption, table, notes."""
    lines = [["method", *table.columns], ["---", *["---:"] * len(table.columns)]]
    lines = [[in_markdown(word) for word in lines[0]], lines[1]]
    for label, values in table.rows:
        lines.append([in_markdown(label), *(_entry(value, "**{}**", "†", in_markdown) for value in values)])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "".join(f"\n- {in_markdown(note)}" for note in table.notes)
    return f"{in_markdown(table.caption)}\n\n{body}\n" + (f"{notes}\n" if notes else "")


def latex(table: Table) -> str:
    """Return a table in LaTeX for the package booktabs; each part of a setting has a line of its head."""
    parts = [column.split(", ") for column in table.columns]
    height = max(map(len, parts), default=1)
    heads = []
    for line in range(height):
        words = [_in_latex(part[line]) if line < len(part) else "" for part in parts]
        heads.append(" & ".join(["method" if line == height - 1 else "", *words]) + r" \\")
    rows = [
        " & ".join([_in_latex(label), *(_entry(value, r"\textbf{{{}}}", r"$^\dagger$", _in_latex) for value in values)])
        + r" \\"
        for label, values in table.rows
    ]
    notes = [r"\par\smallskip\footnotesize " + " ".join(_in_latex(note) for note in table.notes)] if table.notes else []
    return "\n".join([
        "% needs \\usepackage{booktabs}",
        r"\begin{table}", r"\centering\small",
        rf"\caption{{{_in_latex(table.caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule", *heads, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", *notes,
        r"\end{table}", "",
    ])  # fmt: skip


WRITERS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex}


def _entry(value: Value, bold: str, dagger: str, escaped: Callable[[str], str]) -> str:
    number = escaped(value.text)
    number = (bold.format(number) if value.is_best else number) + (dagger if value.is_near else "")
    return f"{number} {escaped(value.ends)}" if value.ends else number


def in_markdown(text: str) -> str:
    """Return a text in which nothing is taken for Markdown."""
    return re.sub(r"([\\`*_|<])", r"\\\1", re.sub(r"\s+", " ", text))


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in re.sub(r"\s+", " ", text))
