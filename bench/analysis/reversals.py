"""Simpson's traps: overall differences that turn round within tasks or keep ratios."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.analysis.comparisons import paired_rows
from bench.analysis.interval import mean_and_interval
from bench.analysis.outcomes import CHANCE, valued
from bench.analysis.settings import with_settings

BY = {"task": "task", "keep": "at"}
"""Groups by name, and the column of :func:`bench.analysis.comparisons.paired_rows` that they are of."""
COLUMNS = [
    "label",
    "other",
    "overall",
    "by",
    "group",
    "difference",
    "low",
    "high",
    "shown",
    "settings",
    "groups",
    "turned",
]
_LEVEL = 1e-12  # accuracies that differ by less are level


def reversals(cells: pd.DataFrame, diverged: str = CHANCE) -> pd.DataFrame:
    """Return the pairs that a plain mean over all runs orders otherwise than the runs of a task or a keep ratio do.

    A plain mean mixes how good a method is with where it was run: it may be ahead in every task and behind overall, if
    more of its runs are on the harder one. It also hides that a method is ahead here and behind there.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`, or a sweep's table of cells.
        diverged: what a diverged run counts as (:func:`bench.analysis.outcomes.valued`).

    Returns:
        One row per pair and group whose difference has the other sign: ``label``, ``other``, ``overall`` (mean over all
        runs of the one less that of the other, each run once), ``by`` ("task" or "keep"), ``group`` (its name),
        ``difference`` (mean over the group's settings of the paired difference), ``low``, ``high`` (95 % t-interval
        over the seeds that all of these settings have, of the mean over the settings; missing for one), ``shown``
        (whether it leaves zero out), ``settings`` (of the group), ``groups`` (that the pair has) and ``turned`` (of
        these, how many have the other sign: where it is all of them, the overall order is due to where the runs are,
        Simpson's paradox).
    """
    rows = valued(with_settings(cells), diverged)
    rows = rows[rows["final_acc"].notna()]
    means = rows.drop_duplicates("cell").groupby("label")["final_acc"].mean()
    pairs = paired_rows(rows)
    pairs = pairs.assign(value=pairs["own"] - pairs["other"]).dropna(subset=["value"])
    pairs = pairs.drop(columns="other").rename(columns={"other_label": "other"})
    pairs["overall"] = pairs["label"].map(means) - pairs["other"].map(means)
    parts = [_by(pairs.assign(group=pairs[column]), name) for name, column in BY.items()]
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _by(pairs: pd.DataFrame, name: str) -> pd.DataFrame:
    pair, keys = ["label", "other", "overall"], ["label", "other", "overall", "group"]
    pairs = pairs[pairs["group"] != ""]
    of_setting = pairs.groupby([*keys, "setting"])["value"].mean().reset_index()
    groups = of_setting.groupby(keys)["value"]
    table = groups.mean().rename("difference").reset_index()
    table["settings"] = groups.size().to_numpy()
    of_seed = pairs.groupby([*keys, "seed"])["value"].agg(["mean", "size"]).reset_index()
    of_seed = of_seed.merge(table[[*keys, "settings"]], on=keys)
    of_seed["mean"] = of_seed["mean"].where(of_seed["size"] == of_seed["settings"])
    table = table.merge(mean_and_interval(of_seed, keys, "mean")[[*keys, "low", "high"]], on=keys)
    signs = np.where(table["difference"].abs() <= _LEVEL, 0, np.sign(table["difference"]))
    overall = np.where(table["overall"].abs() <= _LEVEL, 0, np.sign(table["overall"]))
    table = table.assign(by=name, other_way=signs * overall < 0, shown=table["low"] * table["high"] > 0)
    of_pair = table.groupby(pair)["other_way"]
    table["groups"], table["turned"] = of_pair.transform("size"), of_pair.transform("sum").astype(int)
    return table[table["other_way"]]
