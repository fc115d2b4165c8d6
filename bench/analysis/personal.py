"""Accuracy of the models that clients keep for themselves, beside that of the server's model."""

from __future__ import annotations

import pandas as pd

from bench.analysis.series import SERIES
from bench.analysis.summary import final_accuracy, last_evaluations, over_seeds


def personal_accuracy(rounds: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return the final personal accuracy of each series that has one, that of the server's model, and the gain.

    Both are of the same clients and count each class as often as a client has it: what own models gain is their
    difference, and not the distance to the accuracy on the whole test set (``global``). The difference is taken in each
    run and then averaged, so that its interval leaves out what the two share.

    Args:
        rounds: the table of rounds.
        last: how many evaluations, counted from the end, the final accuracies average.

    Returns:
        One row per series: the series columns, ``mean``, ``low``, ``high``, ``by_seed`` (personal accuracy),
        ``global``, ``global_low``, ``global_high``, ``base`` (the server's model, scored as the personal ones),
        ``base_low``, ``base_high``, ``difference`` (personal less base), ``difference_low``, ``difference_high``,
        ``seeds``, ``diverged``. Accuracies are fractions, and a diverged run is in no mean.

    Raises:
        BenchError: ``last`` is below 1, or two cells share the series and the seed.
    """
    on_test = rounds[rounds["test_acc"].notna()]
    measured = set(rounds.loc[rounds["personal_acc"].notna(), "label"].astype(str))
    cells = final_accuracy(rounds[rounds["label"].astype(str).isin(measured)], last)
    for name, column in (("personal", "personal_acc"), ("base", "personal_base_acc")):
        finals = last_evaluations(on_test, column, last, ["cell"]).groupby("cell", observed=True)[column].mean()
        cells[name] = cells["cell"].astype(str).map({str(cell): value for cell, value in finals.items()})
    cells["difference"] = cells["personal"] - cells["base"]
    result = over_seeds(cells, "personal").drop(columns="std")
    for value, name in (("final_acc", "global"), ("base", "base"), ("difference", "difference")):
        part = over_seeds(cells, value)
        result = result.assign(**{name: part["mean"], f"{name}_low": part["low"], f"{name}_high": part["high"]})
    order = [f"{name}{end}" for name in ("global", "base", "difference") for end in ("", "_low", "_high")]
    return result[[*SERIES, "mean", "low", "high", "by_seed", *order, "seeds", "diverged"]]
