"""Method against method in each setting, paired by seed, judged as the one family of comparisons that they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis.adjusted import adjusted
from bench.analysis.outcomes import CHANCE, valued
from bench.analysis.paired import seed_differences
from bench.analysis.power import LEVEL, detectable
from bench.analysis.settings import with_settings
from bench.analysis.sign_flip import least_p, sign_flip
from bench.errors import BenchError, choices

BETTER, WORSE, ALIKE, UNKNOWN = "better", "worse", "not told apart", "cannot be said"
SETTING = ["setting", "place", "at", "task", "partition", "alpha", "data_title", "stand_in"]
_PAIR = ["setting", "label", "other"]
_NO_SPREAD = 1e-12  # of accuracies: what rounding leaves of equal differences


def comparisons(cells: pd.DataFrame, reference: str | None = None, diverged: str = CHANCE) -> pd.DataFrame:
    """Return the difference of each pair of methods in each setting, with intervals, p-values and a verdict.

    All rows are one family: :func:`within_family` says what that does to them, and judges a selection of them anew. Two
    full models meet once in a place, not at each of its keep ratios.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells.
        reference: a label, or a method that has only one: all others are compared with it; otherwise each pair is
            compared, the one whose label comes first in the alphabet less the other.
        diverged: what a diverged run counts as (:func:`bench.analysis.outcomes.valued`).

    Returns:
        One row per setting and pair. What is compared: the columns ``SETTING`` (see
        :func:`bench.analysis.settings.with_settings`), ``label``, ``method``, ``other``, ``other_method``. Accuracies,
        fractions: ``acc``, ``other_acc`` (means over the seeds in common), ``difference`` (of these), ``low``, ``high``
        (95 % t-interval), ``adjusted_low``, ``adjusted_high`` (all intervals of the family hold together with 95 %),
        ``std`` (of the seeds' differences), ``by_seed`` (a tuple). Tests: ``p_t`` (paired t-test), ``p_holm`` (the same
        by Holm), ``p`` (sign-flip test), ``p_least`` (the least that it can be with so many seeds). Judgement:
        ``verdict`` ("better", "worse", "not told apart" or "cannot be said"), ``detectable`` (the least difference that
        would have been shown with probability 0.8), ``family`` (comparisons it was judged among). Counts: ``pairs``
        (seeds compared), ``seeds``, ``other_seeds`` (cells of each), ``diverged``, ``other_diverged``.

    Raises:
        BenchError: there is no such reference or rule, or two cells share the series and the seed.
    """
    rows = valued(with_settings(cells), diverged)
    pairs = paired_rows(rows, None if reference is None else label_of(rows, reference))
    result = seed_differences(pairs, ["row"]).rename(columns={"mean": "difference", "own": "acc", "other": "other_acc"})
    about = pairs[["row", *SETTING, "label", "method", "other_label", "other_method"]].drop_duplicates("row")
    about = about.rename(columns={"other_label": "other"})
    result = about.merge(result, on="row").merge(_counts(pairs), on="row").drop(columns="row")
    result["p_t"] = _t_test(result)
    result["p"] = pd.Series([sign_flip(one) for one in result["by_seed"]], result.index, dtype=float)
    result["p_least"] = least_p(result["pairs"])
    result = within_family(result)
    who = ["label", "method", "other", "other_method"]
    numbers = ["acc", "other_acc", "difference", "low", "high", "adjusted_low", "adjusted_high", "std", "by_seed"]
    tests = ["p_t", "p_holm", "p", "p_least", "verdict", "detectable", "family"]
    counts = ["pairs", "seeds", "other_seeds", "diverged", "other_diverged"]
    return result[[*SETTING, *who, *numbers, *tests, *counts]]


def within_family(rows: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Return rows of :func:`comparisons`, all or a selection, judged as one family.

    Of many comparisons of equal methods some look different by chance. Holm's step-down procedure on the p-values of
    the paired t-test keeps the probability of *any* false "better" or "worse" in the family at ``level``, and the
    verdict is its. The interval is Bonferroni's, of level ``level`` / m for m comparisons: the simplest one whose
    members hold together; as it is a little wider than Holm's procedure is strict, it may touch zero beside a verdict.

    Args:
        rows: the columns ``difference``, ``std``, ``pairs`` and ``p_t``.
        level: of the family.

    Returns:
        The rows with new ``p_holm``, ``adjusted_low``, ``adjusted_high``, ``detectable`` (at the level of one of the
        family, ``level`` / m), ``verdict`` and ``family`` (m: the comparisons that have a p-value). Below two seeds,
        and where the difference is the same in each, nothing can be said.
    """
    tested = rows["p_t"].notna().to_numpy()
    size = max(int(tested.sum()), 1)
    holm = np.full(len(rows), np.nan)
    if tested.any():
        from statsmodels.stats.multitest import multipletests

        holm[tested] = multipletests(rows["p_t"].to_numpy(dtype=float)[tested], level, method="holm")[1]
    tried = rows["std"].astype(float).where(tested)
    together = adjusted(rows.assign(std=tried), "difference", 1 - level)
    spread = tried.where(tried > _NO_SPREAD)
    shown = holm <= level
    verdict = np.select([~tested, shown & (rows["difference"] > 0), shown], [UNKNOWN, BETTER, WORSE], ALIKE)
    return together.assign(
        std=rows["std"],
        p_holm=holm,
        detectable=detectable(spread, rows["pairs"], level=level / size),
        verdict=pd.Series(verdict, rows.index, dtype=object),
        family=size,
    )


def label_of(rows: pd.DataFrame, name: str) -> str:
    """Return the label that a reference names: a label, or a method that has only one.

    Raises:
        BenchError: there is none, or several.
    """
    labels = sorted(set(rows["label"]))
    of_method = sorted(set(rows.loc[rows["method"] == name, "label"]))
    if name in labels or len(of_method) == 1:
        return name if name in labels else of_method[0]
    raise BenchError(f"reference {name!r} is no label of these results; {choices(name, of_method or labels)}")


def paired_rows(rows: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """Return the runs of each pair of labels side by side, a row for each seed that one of the two has.

    Args:
        rows: of :func:`bench.analysis.settings.with_settings`.
        reference: the label that all others are paired with; each with each if left out.

    Returns:
        The columns ``row`` (a number for the setting and pair, in the order of the settings), ``SETTING``, ``label``,
        ``method``, ``other_label``, ``other_method``, ``seed``, ``own`` and ``other`` (accuracies), ``status`` and
        ``other_status`` (missing where there is no such cell).
    """
    series = rows[["setting", "label", "method", "whole"]].drop_duplicates(["setting", "label"])
    names = {"label": "other_label", "method": "other_method", "whole": "other_whole"}
    met = series.merge(series.rename(columns=names), on="setting")
    if reference is None:
        met = met[met["label"] < met["other_label"]]
    else:
        met = met[(met["label"] != reference) & (met["other_label"] == reference)]
    places = rows[SETTING].drop_duplicates("setting")
    met = met.merge(places, on="setting")
    once = met["whole"].astype(bool) & met["other_whole"].astype(bool)
    met["common"] = met["place"].where(once, met["setting"])
    met = met.drop_duplicates(["common", "label", "other_label"]).reset_index(drop=True)
    met["row"] = met.index
    own = rows[["setting", "label", "seed", "status", "final_acc"]].rename(columns={"final_acc": "own"})
    other = own.rename(columns={"own": "other", "label": "other_label", "status": "other_status"})
    columns = ["row", "seed"]
    mine = met[["row", "setting", "label"]].merge(own, on=["setting", "label"])[[*columns, "status", "own"]]
    theirs = met[["row", "setting", "other_label"]].merge(other, on=["setting", "other_label"])
    both = mine.merge(theirs[[*columns, "other_status", "other"]], on=columns, how="outer")
    only_place = met["whole"].astype(bool) & met["other_whole"].astype(bool)
    met["setting"], met["at"] = met["common"], met["at"].mask(only_place, "")
    who = ["label", "method", "other_label", "other_method"]
    return met[["row", *SETTING, *who]].merge(both, on="row")


def _counts(pairs: pd.DataFrame) -> pd.DataFrame:
    counted = {
        "row": pairs["row"],
        "seeds": pairs["status"].notna(),
        "other_seeds": pairs["other_status"].notna(),
        "diverged": pairs["status"] == "diverged",
        "other_diverged": pairs["other_status"] == "diverged",
    }
    return pd.DataFrame(counted).groupby("row").sum().astype(int).reset_index()


def _t_test(rows: pd.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the two-sided p-value of the paired t-test: 1 where all differences are 0, missing without a spread."""
    pairs, std = rows["pairs"].to_numpy(dtype=float), rows["std"].to_numpy(dtype=float)
    difference = rows["difference"].to_numpy(dtype=float)
    flat = (pairs >= 2) & (std <= _NO_SPREAD)
    error = np.where((pairs >= 2) & ~flat, std / np.sqrt(np.maximum(pairs, 1)), np.nan)
    p = 2 * stats.t.sf(np.abs(difference) / error, pairs - 1)
    return np.where(flat & (np.abs(difference) <= _NO_SPREAD), 1.0, p)
