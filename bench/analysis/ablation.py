"""What each setting of a method changes, compared seed by seed with the method as it is."""

from __future__ import annotations

import re

import pandas as pd

from bench.analysis.series import SERIES
from bench.analysis.summary import over_seeds

DIFFERENCES = [
    "difference",
    "difference_low",
    "difference_high",
    "difference_std",
    "difference_by_seed",
    "pairs",
]
# What a variant and the plain method have in common where their accuracies are subtracted.
PAIR = [*(column for column in SERIES if column != "label"), "profile", "seed"]


def setting_of(label: str, method: str) -> tuple[str, str]:
    """Return what a label says beside its method: its settings and its clients' profile, "" where it is plain.

    The profile is their keep ratios, or the budget that these were found for.

    A label that does not begin with the method's name is a setting as a whole.

    >>> setting_of("prism (kappa=3), keep 0.2:0.6,0.4:0.4", "prism")
    ('kappa=3', '0.2:0.6,0.4:0.4')
    >>> setting_of("prism, keep 0.2:0.6,0.4:0.4 dynamic", "prism")
    ('', '0.2:0.6,0.4:0.4 dynamic')
    >>> setting_of("prism, budget memory=0.2", "prism")
    ('', 'memory=0.2')
    """
    parts = re.fullmatch(rf"{re.escape(method)}(?: \((.*)\))?(?:, (?:keep|budget) (.*))?", label)
    return (parts[1] or "", parts[2] or "") if parts else (label, "")


def paired_differences(cells: pd.DataFrame) -> pd.DataFrame:
    """Return ``cells`` with the column ``difference``: the final accuracy minus the plain method's.

    The plain method is the cell whose label has no setting; the two have the task, the data, the keep ratios, the
    partition and the seed in common. Where it is missing or diverged, and for itself, there is no difference.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`.
    """
    settings = [setting_of(*pair) for pair in zip(cells["label"].astype(str), cells["method"].astype(str), strict=True)]
    plain = pd.Series([setting == "" for setting, _ in settings], cells.index)
    cells = cells.assign(profile=[profile for _, profile in settings])
    of_plain = cells.loc[plain, [*PAIR, "final_acc"]].rename(columns={"final_acc": "plain"})
    both = cells.merge(of_plain, on=PAIR, how="left")
    difference = (both["final_acc"] - both["plain"]).mask(plain.to_numpy())
    return both.drop(columns=["plain", "profile"]).assign(difference=difference)


def ablation(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the final and the oracle accuracy of each series, and how far it is from the plain method.

    The interval of the difference is over the seeds' differences: what the seeds have in common (the partition, the
    initial weights) is not in it, so it is narrower than the intervals of the two accuracies suggest.

    Args:
        cells: the table of :func:`bench.analysis.summary.final_accuracy`.

    Returns:
        One row per series, the plain method first: the series columns, ``final``, ``final_low``, ``final_high``,
        ``by_seed`` (a tuple), ``seeds``, ``oracle`` (best round, chosen on the test set), ``difference``,
        ``difference_low``, ``difference_high``, ``difference_std``, ``difference_by_seed`` (a tuple), ``pairs`` (seeds
        compared), ``diverged``. Accuracies are fractions.
    """
    final = over_seeds(cells).rename(columns={"mean": "final", "low": "final_low", "high": "final_high"})
    oracle = over_seeds(cells, "oracle_acc").rename(columns={"mean": "oracle"})
    differences = over_seeds(paired_differences(cells), "difference").rename(
        columns={
            "mean": "difference",
            "low": "difference_low",
            "high": "difference_high",
            "std": "difference_std",
            "by_seed": "difference_by_seed",
            "seeds": "pairs",
        }
    )
    result = final.merge(oracle[[*SERIES, "oracle"]], on=SERIES).merge(differences[[*SERIES, *DIFFERENCES]], on=SERIES)
    result = result.astype({"label": str, "method": str})
    variant = [setting_of(label, method)[0] for label, method in zip(result["label"], result["method"], strict=True)]
    order = ["task", "method", "keep", "partition", "alpha", "variant", "label"]
    result = result.assign(variant=variant).sort_values(order).reset_index(drop=True)
    numbers = ["final", "final_low", "final_high", "by_seed", "seeds", "oracle"]
    return result[[*SERIES, *numbers, *DIFFERENCES, "diverged"]]
