"""The part "keep": seconds to train a cohort against the keep ratio, beside the multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from bench.federation.federation import Federation
from bench.perf.apart import Apart
from bench.perf.harness import Harness
from bench.perf.plan import Plan
from bench.perf.report import Say, filled, ranged, split_by
from bench.perf.turns import spread_of, take_turns
from bench.perf.workloads import KEEPS, RESNET, keep_cell

METHODS = ("prism", "origdrop")


@dataclass(frozen=True)
class Point:
    """One kind of sub-model."""

    method: str
    keep: float
    precision: str

    def __str__(self) -> str:
        return f"{self.method}, keep {self.keep:g}, {self.precision}"


def measure(plan: Plan, say: Say) -> list[dict[str, Any]]:
    """Return the rows of all methods, keep ratios and precisions; those of one precision take turns."""
    return [row for precision in plan.precisions for row in _of_precision(plan, precision, say)]


def _of_precision(plan: Plan, precision: str, say: Say) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        turns, macs = {}, {}
        for method in ("fedavg", *METHODS):
            cell = keep_cell(method, plan.cohort, precision)
            runner = stack.enter_context(closing(Apart(harness, cell, plan.device, plan.workers)))
            for keep in (1.0,) if method == "fedavg" else KEEPS:
                point = Point(method, keep, precision)
                macs[point] = runner.call("macs", keep)
                turns[point] = partial(_seconds, runner, keep)
        return rows_of(macs, take_turns(turns, plan.repetitions, say))


def harness(cell: Any, device: str, workers: int) -> Harness:
    """Return the harness at work on a cell."""
    return Harness(Federation.build(cell, device=device), workers)


def _seconds(runner: Apart, keep: float, round_number: int) -> float:
    return runner.call("seconds", round_number, keep)


def rows_of(macs: Mapping[Point, int], timings: Mapping[Point, Sequence[float]]) -> list[dict[str, Any]]:
    """Return a row for each point, the full model (FedAvg) among them, to which ratios are taken."""
    rows = []
    for point, seconds in timings.items():
        full = Point("fedavg", 1.0, point.precision)
        rows.append(
            {
                "task": RESNET,
                "method": point.method,
                "keep": point.keep,
                "precision": point.precision,
                "macs": macs[point],
                "macs_ratio": macs[point] / macs[full],
                "repetitions": len(seconds),
                **spread_of(list(seconds)),
                "time_ratio_to_full": float(np.median(seconds)) / float(np.median(timings[full])),
            }
        )
    return rows


def shown(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables that are printed, one a precision."""
    return [
        filled(
            f"Training a cohort against the keep ratio, ResNet-18 of the paper's size, {precision}",
            here,
            ("method", "keep", "seconds", "time ratio", "MACs ratio", "overhead"),
            "Ratios are to the full model. Overhead: the ratio of times over that of multiply-accumulates (MACs).",
            _line,
        )
        for precision, here in split_by("precision", rows)
    ]


def _line(row: Mapping[str, Any]) -> list[str]:
    time, macs = row["time_ratio_to_full"], row["macs_ratio"]
    return [row["method"], f"{row['keep']:g}", ranged(row), f"{time:.3f}", f"{macs:.3f}", f"{time / macs:.2f}"]


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return nothing: the distance of time and multiply-accumulates is shown and has no target."""
    return []
