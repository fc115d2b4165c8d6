"""The table of trials."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from optuna.trial import FrozenTrial, TrialState

from bench.plugins import registry
from bench.store.schema import WORD, table_of
from bench.tuning.dimension import Dimension
from bench.tuning.held_out import held_out
from bench.tuning.space import Search
from bench.tuning.study_file import Study

VERSION = 1
STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
TRIAL_FIELDS = [
    pa.field("task", WORD, nullable=False),
    pa.field("label", WORD, nullable=False),
    pa.field("method", WORD, nullable=False),
    pa.field("keep", pa.float64(), nullable=False),
    pa.field("partition", WORD, nullable=False),
    pa.field("alpha", pa.float64()),
    pa.field("data_title", WORD, nullable=False),
    pa.field("stand_in", pa.bool_(), nullable=False),
    pa.field("classes", pa.int32()),
    pa.field("held_out", pa.int32()),
    pa.field("trial", pa.int32(), nullable=False),
    pa.field("state", WORD, nullable=False),
    pa.field("validation_acc", pa.float64()),
    pa.field("is_best", pa.bool_(), nullable=False),
    pa.field("pruned_at", pa.int32()),
    pa.field("rounds", pa.int32(), nullable=False),
    pa.field("trial_s", pa.float64(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("cells", pa.list_(pa.string()), nullable=False),
]
"""``label`` is what the study file calls a method or its variant; ``classes`` are those of the training data;
``held_out`` is how many samples trials are judged on, of the seed that has the fewest; ``validation_acc`` is there
for complete trials alone; ``pruned_at`` counts the rounds of all seeds one after the other; ``cells`` are folders in
``study/``. A column ``param_<name>`` follows for each searched parameter, empty where a method does not search it."""

Trials = list[tuple[Search, list[FrozenTrial]]]
"""Each search with the trials of it that count, by number."""


def best_of(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial of the highest validation accuracy, the earliest of equals; None if there is none."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def ended(trials: Trials) -> int:
    """Return how many trials have ended."""
    return sum(trial.state.is_finished() for _, own in trials for trial in own)


def trials_table(study: Study, trials: Trials, plugins: tuple[Path, ...] = ()) -> pa.Table:
    """Return one row for each trial."""
    parameters = {
        f"param_{dimension.name}": pa.field(f"param_{dimension.name}", _type(dimension))
        for search, _ in trials
        for dimension in search.space
    }
    schema = pa.schema(
        [*TRIAL_FIELDS, *(parameters[name] for name in sorted(parameters))], metadata={"schema_version": str(VERSION)}
    )
    samples = held_out(study, plugins)
    rows = [
        {**row, "held_out": samples[search.task]}
        for search, own in trials
        for row in _rows(search, own, parameters, study.seeds[0], plugins)
    ]
    return table_of(rows, schema)


def _rows(
    search: Search, trials: list[FrozenTrial], parameters: Iterable[str], seed: int, plugins: tuple[Path, ...]
) -> list[dict[str, Any]]:
    cell = search.cell(search.paper, seed, plugins=plugins)
    data = registry.task(cell.task, plugins).build(cell).data(cell.data)
    about = {
        "task": search.task,
        "label": search.label,
        "method": search.method,
        "keep": cell.keep,
        "partition": cell.partition,
        "alpha": cell.alpha,
        "data_title": data.title,
        "stand_in": cell.data == "stand-in",
        "classes": len(np.unique(data.train.labels)),
    }
    best = best_of(trials)
    return [
        {
            **about,
            "trial": trial.number,
            "state": STATES[trial.state],
            "validation_acc": trial.value if trial.state == TrialState.COMPLETE else None,
            "is_best": best is not None and trial.number == best.number,
            "pruned_at": trial.user_attrs.get("pruned_at"),
            "rounds": sum(trial.user_attrs.get("rounds", {}).values()),
            "trial_s": float(trial.user_attrs.get("seconds", 0.0)),
            "reason": trial.user_attrs.get("reason", ""),
            "cells": list(trial.user_attrs.get("rounds", {})),
            **{name: trial.params.get(name.removeprefix("param_")) for name in parameters},
        }
        for trial in trials
    ]


def _type(dimension: Dimension) -> pa.DataType:
    """Return the type of a parameter's column."""
    if not dimension.choices:
        return pa.int64() if dimension.whole else pa.float64()
    return pa.array(list(dimension.choices)).type
