"""What tuning brought: the papers' values against the chosen ones, on the test set and on fresh seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from bench.analysis.interval import mean_and_interval
from bench.analysis.summary import final_accuracy
from bench.store.schema import WORD, table_of
from bench.tuning.study_file import Study
from bench.tuning.tables import Trials, best_of
from bench.tuning.tuned_file import PAPER, Choice

VERSION = 1
REPORT_FIELDS = [
    pa.field("task", WORD, nullable=False),
    pa.field("label", WORD, nullable=False),
    pa.field("method", WORD, nullable=False),
    pa.field("values", WORD, nullable=False),
    pa.field("settings", pa.string(), nullable=False),
    pa.field("keep", pa.float64(), nullable=False),
    pa.field("partition", WORD, nullable=False),
    pa.field("alpha", pa.float64()),
    pa.field("data_title", WORD, nullable=False),
    pa.field("stand_in", pa.bool_(), nullable=False),
    pa.field("trial", pa.int32()),
    pa.field("validation_acc", pa.float64()),
    pa.field("test_acc", pa.float64()),
    pa.field("test_acc_low", pa.float64()),
    pa.field("test_acc_high", pa.float64()),
    pa.field("seeds", pa.int32(), nullable=False),
    pa.field("diverged", pa.int32(), nullable=False),
    pa.field("difference", pa.float64()),
    pa.field("difference_low", pa.float64()),
    pa.field("difference_high", pa.float64()),
    pa.field("pairs", pa.int32(), nullable=False),
]
"""``values`` is "paper" or "tuned" (missing where the papers' are the best); ``test_acc`` the mean of final accuracies
over the seeds that did not diverge, with its 95 % t-interval; ``difference`` the mean of tuned minus paper, seed by
seed, with the interval of that. Accuracies are fractions."""
REPORT = pa.schema(REPORT_FIELDS, metadata={"schema_version": str(VERSION)})


def report_table(
    study: Study, choices: list[Choice], trials: Trials, rounds: pd.DataFrame, plugins: tuple[Path, ...] = ()
) -> pa.Table:
    """Return one row for each method, task and kind of values.

    Args:
        study: the study file.
        choices: what was compared.
        trials: the trials of each search.
        rounds: the table of rounds of the report's sweep.
        plugins: files of methods and tasks the user named.
    """
    cells = final_accuracy(rounds, study.budget.last).set_index("cell", drop=False)
    rows = [
        row
        for choice, (_, own) in zip(choices, trials, strict=True)
        for row in _rows(study, choice, own[0].value if best_of(own[:1]) else None, cells, plugins)
    ]
    return table_of(rows, REPORT)


def _rows(
    study: Study, choice: Choice, of_paper: float | None, cells: pd.DataFrame, plugins: tuple[Path, ...]
) -> list[dict[str, Any]]:
    accuracies = {
        name: cells.reindex([cell.folder for cell in own]).assign(seed=study.report_seeds)
        for name, own in choice.cells(study, plugins).items()
    }
    rows = []
    for name, own in accuracies.items():
        finished = own.dropna(subset=["task"])
        if finished.empty:
            continue
        test = _interval(own["final_acc"])
        differences = own["final_acc"].to_numpy() - accuracies[PAPER]["final_acc"].to_numpy()
        gain = _interval(pd.Series(differences if name != PAPER else []))
        trial = 0 if name == PAPER else choice.best and choice.best.number
        about = finished.iloc[0]
        rows.append(
            {
                "task": choice.search.task,
                "label": choice.search.label,
                "method": choice.search.method,
                "values": name,
                "settings": choice.search.in_words(choice.values[name]),
                **{column: _plain(about[column]) for column in ("keep", "partition", "alpha", "data_title")},
                "stand_in": bool(about["stand_in"]),
                "trial": trial,
                "validation_acc": of_paper if name == PAPER else choice.best and choice.best.value,
                "test_acc": test["mean"],
                "test_acc_low": test["low"],
                "test_acc_high": test["high"],
                "seeds": test["seeds"],
                "diverged": int((finished["status"] == "diverged").sum()),
                "difference": gain["mean"],
                "difference_low": gain["low"],
                "difference_high": gain["high"],
                "pairs": gain["seeds"],
            }
        )
    return rows


def _interval(values: pd.Series[float]) -> dict[str, Any]:
    """Return mean, low and high of values, and how many there are; missing ones are left out."""
    frame = pd.DataFrame({"value": values.astype(float), "group": 0})
    table = mean_and_interval(frame, ["group"], "value")
    if table.empty:
        return {"mean": None, "low": None, "high": None, "seeds": 0}
    return {name: _plain(table[name].iloc[0]) for name in ("mean", "low", "high", "seeds")}


def _plain(value: Any) -> Any:
    return None if pd.isna(value) else value
