"""Accuracy of the models that clients keep for themselves, beside that of the server's model."""

from __future__ import annotations

import pandas as pd

from bench.analysis.series import SERIES
from bench.analysis.summary import final_accuracy, last_evaluations, over_seeds


def personal_accuracy(rounds: pd.DataFrame, last: int = 3) -> pd.DataFrame:
    """Return the final personal accuracy of each series that has one, the global one, and their difference.

    The difference is taken in each run and then averaged, so that its interval leaves out what the two share.

    Args:
        rounds: the table of rounds.
        last: how many evaluations, counted from the end, the final accuracies average.

    Returns:
        One row per series: the series columns, ``mean``, ``low``, ``high`` (personal accuracy), ``global``,
        ``global_low``, ``global_high``, ``difference``, ``difference_low``, ``difference_high``, ``seeds``,
        ``diverged``. Accuracies are fractions, and a diverged run is in no mean.

    Raises:
        BenchError: ``last`` is below 1, or two cells share the series and the seed.
    """
    on_test = rounds[rounds["test_acc"].notna()]
    measured = set(rounds.loc[rounds["personal_acc"].notna(), "label"].astype(str))
    finals = last_evaluations(on_test, "personal_acc", last, ["cell"]).groupby("cell", observed=True)["personal_acc"]
    cells = final_accuracy(rounds[rounds["label"].astype(str).isin(measured)], last)
    cells["personal"] = cells["cell"].astype(str).map({str(cell): value for cell, value in finals.mean().items()})
    cells["difference"] = cells["personal"] - cells["final_acc"]
    result = over_seeds(cells, "personal").drop(columns="std")
    for value, name in (("final_acc", "global"), ("difference", "difference")):
        part = over_seeds(cells, value)
        result = result.assign(**{name: part["mean"], f"{name}_low": part["low"], f"{name}_high": part["high"]})
    order = [f"{name}{end}" for name in ("global", "difference") for end in ("", "_low", "_high")]
    return result[[*SERIES, "mean", "low", "high", *order, "seeds", "diverged"]]
