"""The part "training": cohorts of each task trained by the harness and by a bare PyTorch loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from bench.numerics import processor
from bench.perf.apart import Apart
from bench.perf.contenders import Contender, contenders, trainer
from bench.perf.plan import Plan
from bench.perf.report import Say, filled, ranged, split_by
from bench.perf.targets import SPEEDUPS, TIME_RATIOS, at_least, at_most, target_of
from bench.perf.turns import spread_of, take_turns
from bench.perf.workloads import WORKLOADS, training_cell

Timings = Mapping[Contender, Sequence[float]]
"""Seconds in which each contender trained a cohort, one number a repetition."""


def measure(plan: Plan, say: Say) -> list[dict[str, Any]]:
    """Return the rows of all tasks; the contenders of one task take turns."""
    return [row for task in plan.tasks for row in _of_task(task, plan, say)]


def _of_task(task: str, plan: Plan, say: Say) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        turns = {}
        for who in contenders(plan.device, plan.workers, plan.precisions):
            cell = training_cell(task, plan.cohort, who.keep, who.precision)
            runner = stack.enter_context(closing(Apart(trainer, who, cell, plan.device)))
            turns[who] = partial(runner.call, "seconds")
        timings = take_turns(turns, plan.repetitions, lambda line: say(f"{task}: {line}"))
    return rows_of(task, plan, timings)


def rows_of(task: str, plan: Plan, timings: Timings) -> list[dict[str, Any]]:
    """Return the columns that follow from one task's timings, a row for each contender."""
    medians = {who: float(np.median(values)) for who, values in timings.items()}
    workload = WORKLOADS[task]
    passes = plan.cohort * workload.samples * workload.epochs
    return [
        {
            "task": task,
            "workload": workload.note,
            "contender": who.kind,
            "method": "fedavg" if who.keep == 1 else "prism",
            "keep": who.keep,
            "precision": who.precision,
            "processes": who.processes,
            "threads_per_process": who.threads,
            "repetitions": len(values),
            **spread_of(list(values)),
            "samples_per_s": passes / medians[who],
            **_compared(task, plan, who, medians),
        }
        for who, values in timings.items()
    ]


def _compared(task: str, plan: Plan, who: Contender, medians: Mapping[Contender, float]) -> dict[str, float | None]:
    """Return one contender's time against the bare loop's, and a sub-model's against the full model's."""
    yardstick = Contender("bare loop", 1, plan.workers, who.keep)
    full = Contender(who.kind, who.processes, who.threads, 1.0, who.precision)
    has_targets = plan.device == "cpu" and who.kind == "harness" and who.workers == plan.workers
    native = processor.has_bf16()
    ratio, speedup = (target_of(targets, task, who.precision, native) for targets in (TIME_RATIOS, SPEEDUPS))
    return {
        "time_ratio_to_bare": medians[who] / medians[yardstick],
        "time_ratio_target": ratio if has_targets and who.keep == 1 else None,
        "speedup_over_full": None if who.keep == 1 else medians[full] / medians[who],
        "speedup_target": speedup if has_targets and who.keep < 1 else None,
    }


def shown(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables that are printed, one a task."""
    return [
        filled(
            f"Training a cohort, {task}, {here[0]['workload']}",
            here,
            ("contender", "model", "seconds", "time ratio", "speed-up"),
            "Contenders are processes x threads. Time ratio: to the bare fp32 loop with all threads over the same "
            "(sub-)models, smaller is better. Speed-up: over full models by the same contender.",
            _line,
        )
        for task, here in split_by("task", rows)
    ]


def _line(row: Mapping[str, Any]) -> list[str]:
    who, speedup = f"{row['contender']} {row['processes']} x {row['threads_per_process']}", row["speedup_over_full"]
    ratios = [f"{row['time_ratio_to_bare']:.2f}", "" if speedup is None else f"{speedup:.2f}"]
    return [who, _model(row), ranged(row), *ratios]


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each target."""
    lines = []
    for row in rows:
        what = f"{row['task']}, {_model(row)}"
        if row["time_ratio_target"] is not None:
            lines.append(f"{what}: time ratio {at_most(row['time_ratio_to_bare'], row['time_ratio_target'])}")
        if row["speedup_target"] is not None:
            lines.append(f"{what}: speed-up {at_least(row['speedup_over_full'], row['speedup_target'])}")
    return lines


def _model(row: Mapping[str, Any]) -> str:
    model = "full" if row["keep"] == 1 else f"PriSM {row['keep']:g}"
    return f"{model} {row['precision']}"
