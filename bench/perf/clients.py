"""The part "clients": seconds and memory of a round against the size of the federation and of the cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from bench.perf.apart import Apart
from bench.perf.plan import Plan
from bench.perf.report import Say, filled, ranged, split_by
from bench.perf.rounds import Footing, Passed, Rounds, next_round
from bench.perf.targets import CLIENTS_MEMORY_RATIO, CLIENTS_TIME_RATIO, COHORT_TIME_RATIO, at_most
from bench.perf.turns import spread_of, take_turns
from bench.perf.workloads import (
    COHORTS,
    EPOCHS_OF_MANY,
    FEDERATIONS,
    SAMPLES_OF_MANY,
    SUBMODEL_KEEP,
    USUAL_CLIENTS,
    USUAL_COHORT,
    clients_cell,
)
from bench.plugins import registry


@dataclass(frozen=True)
class Size:
    """A federation and its cohort."""

    clients: int
    cohort: int

    def __str__(self) -> str:
        return f"{self.cohort} of {self.clients:,} clients"


USUAL = Size(USUAL_CLIENTS, USUAL_COHORT)
SIZES = tuple(
    dict.fromkeys(
        [*(Size(clients, USUAL_COHORT) for clients in FEDERATIONS), *(Size(USUAL_CLIENTS, n) for n in COHORTS)]
    )
)


def measure(plan: Plan, say: Say) -> list[dict[str, Any]]:
    """Return the rows of all sizes and precisions; the sizes of one precision take turns."""
    # Made here: the process that generates the data keeps some of the memory that this takes.
    cell = clients_cell(USUAL.clients, USUAL.cohort, plan.precisions[0])
    registry.task(cell.task).build(cell).data(cell.data)
    return [row for precision in plan.precisions for row in _of_precision(plan, precision, say)]


def _of_precision(plan: Plan, precision: str, say: Say) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        runners = {}
        for size in SIZES:
            say(f"{size}, {precision} starts")
            cell = clients_cell(size.clients, size.cohort, precision)
            runners[size] = stack.enter_context(closing(Apart(Rounds, cell, plan.device, plan.workers)))
        turns = {size: partial(next_round, runner) for size, runner in runners.items()}
        rounds = take_turns(turns, plan.repetitions, lambda line: say(f"{line}, {precision}"))
        footings = {size: runner.call("footing") for size, runner in runners.items()}
    return rows_of(precision, plan, rounds, footings)


def rows_of(
    precision: str, plan: Plan, rounds: Mapping[Size, Sequence[Passed]], footings: Mapping[Size, Footing]
) -> list[dict[str, Any]]:
    """Return a row for each size; ratios are to the usual one, 20 of 100 clients."""
    seconds = {size: [passed.seconds["round"] for passed in many] for size, many in rounds.items()}
    peaks = {size: many[-1].peak_memory_bytes for size, many in rounds.items()}
    usual = float(np.median(seconds[USUAL]))
    return [
        {
            "precision": precision,
            "clients": size.clients,
            "cohort": size.cohort,
            "repetitions": len(values),
            **spread_of(values),
            "time_ratio_to_usual": float(np.median(values)) / usual,
            "time_ratio_per_client": float(np.median(values)) / usual * USUAL.cohort / size.cohort,
            "peak_memory_bytes": peaks[size],
            "memory_ratio_to_usual": peaks[size] / peaks[USUAL],
            "processes": plan.workers + 1 if plan.workers > 1 else 1,
            "runtime_bytes": footings[size].runtime_bytes,
            "server_bytes": footings[size].server_bytes,
            "submodel_bytes": footings[size].submodel_bytes,
            "data_bytes": footings[size].data_bytes,
            "build_s": footings[size].build_s,
        }
        for size, values in seconds.items()
    ]


def shown(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables that are printed, one a precision."""
    tables = []
    for precision, here in split_by("precision", rows):
        first = here[0]
        table = filled(
            f"Rounds of federations and cohorts of all sizes, PriSM on the CNN, keep {SUBMODEL_KEEP:g}, {precision}",
            here,
            ("clients", "cohort", "seconds", "ratio", "per client", "peak memory"),
            f"Clients of {SAMPLES_OF_MANY} samples x {EPOCHS_OF_MANY} epochs, all sizes on one data set; ratios are to "
            f"{USUAL}. Memory: {first['processes']} processes together, of which each takes "
            f"{_mb(first['runtime_bytes'])} before any work; the server's model has {_mb(first['server_bytes'])}, a "
            f"sub-model {_mb(first['submodel_bytes'])}, the mapped data {_mb(first['data_bytes'])}.",
            _line,
        )
        tables.append(table)
    return tables


def _line(row: Mapping[str, Any]) -> list[str]:
    ratios = [f"{row[name]:.2f}" for name in ("time_ratio_to_usual", "time_ratio_per_client")]
    return [f"{row['clients']:,}", str(row["cohort"]), ranged(row), *ratios, _mb(row["peak_memory_bytes"])]


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines for more clients than usual, and for larger cohorts."""
    lines = []
    for row in rows:
        size = f"{row['precision']}, {Size(row['clients'], row['cohort'])}"
        if row["clients"] > USUAL.clients:
            lines.append(f"{size}: time ratio {at_most(row['time_ratio_to_usual'], CLIENTS_TIME_RATIO)}")
            lines.append(f"{size}: memory ratio {at_most(row['memory_ratio_to_usual'], CLIENTS_MEMORY_RATIO)}")
        if row["cohort"] > USUAL.cohort:
            lines.append(f"{size}: time ratio per client {at_most(row['time_ratio_per_client'], COHORT_TIME_RATIO)}")
    return lines


def _mb(count: float) -> str:
    """Return bytes in megabytes, with a digit after the point for a few of them."""
    return f"{count / 1e6:,.1f} MB" if count < 1e8 else f"{count / 1e6:,.0f} MB"
