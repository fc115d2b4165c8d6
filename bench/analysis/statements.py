"""What papers say of methods, held against results: it holds here, it does not, or these seeds could not have told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis.ablation import setting_of
from bench.analysis.layers import mean_over_layers
from bench.analysis.milestones import cell_means
from bench.analysis.outcomes import valued
from bench.analysis.power import LEVEL
from bench.analysis.settings import in_words, with_settings

HOLDS, FAILS, UNTOLD, GUESSED = "holds", "does not hold", "cannot be said", "at chance"
MARGIN = 0.01
"""Accuracies, and shares, that differ by less than this are as good as equal: one point."""
ACCURACY, NEEDED, ANME, COSINE = "accuracy", "needed kernels", "ANME", "cosine with FedAvg"
MEASURES: Mapping[str, tuple[str, str | None]] = {
    NEEDED: ("required_kernels", "kernels"),
    ANME: ("anme", None),
    COSINE: ("cosine_fedavg", None),
}
"""What is measured of layers: the column of ``ranks``, and what it is a share of. The mean over layers counts, in the
last measured round; of the cosine, whose last updates are next to nothing, the mean over rounds."""
_NO_SPREAD = 1e-12
Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Statement:
    """A sentence of a paper about a measure of one method, or about the difference of two, in points.

    It is a claim about where the true value lies. "Above" and "below" are strict; a range is widened by the margin of
    one point, within which numbers are as good as equal.

    Attributes:
        says: the sentence.
        source: who says it, and where.
        method: whose value it is; "prism (multipliers=wallenius)" is the label of ``prism`` with that setting.
        other: whose is subtracted; empty where the value itself is meant.
        low, high: the range of the claim, in fractions.
        strict: whether the claim is an order, "above" (``low`` 0) or "below" (``high`` 0).
        theirs: the paper's own value, a fraction, where it says one.
        measure: :data:`ACCURACY` or one of :data:`MEASURES`.
        where: allowed values of columns of :func:`bench.analysis.settings.with_settings`, all settings if empty.
    """

    says: str
    source: str
    method: str
    other: str = ""
    low: float = -math.inf
    high: float = math.inf
    strict: bool = False
    theirs: float | None = None
    measure: str = ACCURACY
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)


def judged(
    statements: Iterable[Statement], cells: pd.DataFrame, ranks: pd.DataFrame | None = None, margin: float = MARGIN
) -> pd.DataFrame:
    """Return what results say of statements, each in each setting that has its methods.

    The interval has 90 %: a claim holds where both one-sided t-tests at the level of 5 % reject that the value lies
    outside of the range (Schuirmann 1987), and does not where one of them rejects that it lies inside. Each is judged
    by itself. Of methods that learnt nothing, whose accuracies are all at chance, nothing is said.

    Args:
        statements: what is said.
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells. Diverged ones
            count as guessing. The column ``guess`` says up to which accuracy a cell may have guessed; without it 1 /
            classes and the margin.
        ranks: the table of layers, for measures of layers; diverged runs are in none of these.
        margin: how far off is as good as equal, a fraction.

    Returns:
        One row per statement and setting: ``number`` (of the statement, from 0), ``setting``, ``label``,
        ``other_label``, ``seeds``, ``ours`` (a mean over seeds, of differences within a seed where there is an other),
        ``low``, ``high`` (the interval, missing for one seed) and ``verdict``.
    """
    rows = valued(with_settings(cells))
    rows["guessed"] = rows["final_acc"] <= _guesses(rows, margin)
    found = []
    for number, statement in enumerate(statements):
        values = rows.assign(value=_values(statement.measure, rows, ranks))
        for setting, some in values[_fitting(values, statement.where)].groupby("setting", sort=False):
            names, by_seed = _pair(some, statement)
            if len(by_seed):
                row = {"number": number, "setting": setting, **names, **_test(by_seed, statement, margin)}
                of_pair = some[some["label"].isin(names.values())]
                if statement.measure == ACCURACY and of_pair["guessed"].all():
                    row["verdict"] = GUESSED
                if of_pair["whole"].all():  # full models are the same at each keep ratio of their place
                    row["setting"] = of_pair["place"].iloc[0]
                found.append(row)
    columns = ["number", "setting", "label", "other_label", "seeds", "ours", "low", "high", "verdict"]
    return pd.DataFrame(found, columns=columns).drop_duplicates(["number", "setting"], ignore_index=True)


def _guesses(rows: pd.DataFrame, margin: float) -> pd.Series[float]:
    """Return up to which accuracy each cell may have guessed; missing where earlier versions did not say."""
    if "guess" in rows:
        return rows["guess"].astype(float)
    return 1 / rows["classes"].astype(float) + margin if "classes" in rows else pd.Series(np.nan, rows.index)


def _values(measure: str, rows: pd.DataFrame, ranks: pd.DataFrame | None) -> pd.Series[float]:
    """Return the measure of each row's cell, missing where it was not measured."""
    if measure == ACCURACY:
        return rows["final_acc"].astype(float)
    column, per = MEASURES[measure]
    if ranks is None or column not in ranks or not ranks[column].notna().any():
        return pd.Series(np.nan, rows.index)
    curves = mean_over_layers(ranks, column, per).sort_values("round")
    ends = cell_means(curves) if measure == COSINE else curves.drop_duplicates("cell", keep="last")
    values = pd.Series(ends["value"].to_numpy(), ends["cell"].astype(str))
    return rows["cell"].astype(str).map(values).where(rows["status"] == "done").astype(float)


def _fitting(rows: pd.DataFrame, where: Mapping[str, Sequence[str]]) -> pd.Series[bool]:
    fits = pd.Series(True, rows.index)
    for name, allowed in where.items():
        fits &= rows[name].map(in_words).isin([in_words(value) for value in allowed])
    return fits


def _pair(rows: pd.DataFrame, statement: Statement) -> tuple[dict[str, str], Values]:
    """Return the labels that a statement is about in one setting, and the value of each seed; none without a label."""
    label = _label(rows, statement.method)
    other = _label(rows, statement.other) if statement.other else ""
    if label is None or other is None or label == other:
        return {}, np.empty(0)
    by_seed = rows[rows["label"] == label].set_index("seed")["value"]
    if other:
        by_seed = by_seed - rows[rows["label"] == other].set_index("seed")["value"]
    return {"label": label, "other_label": other}, by_seed.dropna().to_numpy(dtype=float)


def _label(rows: pd.DataFrame, name: str) -> str | None:
    """Return the label with fewest settings that has those of ``name``, of its method; None where there is none."""
    method, _, settings = name.partition(" (")
    wanted = set(settings.rstrip(")").split(", ")) - {""}
    labels = rows.loc[rows["method"] == method, "label"].drop_duplicates().astype(str)
    known = {label: set(setting_of(label, method)[0].split(", ")) - {""} for label in labels}
    fitting = [label for label, own in known.items() if wanted <= own]
    return min(fitting, key=lambda label: (len(known[label]), label), default=None)


def _test(values: Values, statement: Statement, margin: float) -> dict[str, object]:
    """Return the mean of a statement's values, its interval and the verdict, which needs two seeds and a spread."""
    mean, count = float(values.mean()), len(values)
    std = float(values.std(ddof=1)) if count > 1 else math.nan
    if not std > _NO_SPREAD:
        return {"seeds": count, "ours": mean, "low": math.nan, "high": math.nan, "verdict": UNTOLD}
    half = float(stats.t.ppf(1 - LEVEL, count - 1)) * std / math.sqrt(count)
    low, high = mean - half, mean + half
    return {"seeds": count, "ours": mean, "low": low, "high": high, "verdict": _verdict(low, high, statement, margin)}


def _verdict(low: float, high: float, statement: Statement, margin: float) -> str:
    """Return whether an interval lies inside of a claim's range, outside, or neither."""
    if statement.strict:  # an order: shown, however small; or shown to be turned round, or to be next to nothing
        above = statement.low == 0
        inside = low > 0 if above else high < 0
        outside = high < margin if above else low > -margin
    else:
        least, most = statement.low - margin, statement.high + margin
        inside, outside = least < low and high < most, high < least or low > most
    return HOLDS if inside else FAILS if outside else UNTOLD
