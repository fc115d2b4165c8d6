"""The part "mixed": a cohort of HeteroFL's five levels, handed out longest first and in the cohort's order."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from bench.api import Cohort
from bench.cell import Cell
from bench.federation.federation import Federation
from bench.perf.apart import Apart
from bench.perf.harness import Harness
from bench.perf.plan import Plan
from bench.perf.report import Say, filled, ranged, split_by
from bench.perf.targets import MIXED_TIME_RATIO, at_most
from bench.perf.turns import spread_of, take_turns
from bench.perf.workloads import MIXED_COHORT, MIXED_LEVELS, mixed_cell
from bench.training.handing_out import Jobs
from bench.training.local import Job

LONGEST, IN_ORDER = "longest first", "cohort's order"


class MixedHarness(Harness):
    """Trains cohorts of mixed capacities in either order."""

    order = IN_ORDER

    def seconds_in(self, order: str, round_number: int) -> float:
        """Return the seconds that a round's cohort took; its operations are counted before."""
        self.order = order
        self.expected = self.work(self.cohort(round_number))
        return self.seconds(round_number)

    def jobs(self, cohort: Cohort) -> Iterable[Job]:
        """Return the jobs of a cohort as a simulation has them, or one after the other from a short queue."""
        if self.order == IN_ORDER:
            return super().jobs(cohort)
        selections = self.selections(cohort)

        def made(place: int) -> Job:
            submodel = self.method.extract(self.server, selections[place])
            return Job(selections[place].client.number, cohort.round_number, submodel)

        return Jobs(made, self.expected)

    def work(self, cohort: Cohort) -> list[float]:
        """Return operations times samples of each client of a cohort."""
        return [float(self._macs_of(client.keep) * client.samples) for client in cohort.clients]

    @functools.cache  # noqa: B019
    def _macs_of(self, keep: float) -> int:
        return self.macs(keep)

    def expected_ratio(self, round_number: int, workers: int) -> float:
        """Return the ratio of times by a cohort's operations alone, longest first over the cohort's order."""
        work = self.work(self.cohort(round_number))
        return taken(sorted(work, reverse=True), workers) / taken(work, workers, queue=True)


def taken(work: Sequence[float], workers: int, queue: bool = False) -> float:
    """Return when all is done if whoever is free takes the next piece.

    Args:
        work: how long each piece takes.
        workers: how many are done at once.
        queue: pieces are taken back in their order, and one is handed out when as many are out as there are workers.

    >>> taken([4, 1, 1, 1, 1], workers=2), taken([4, 1, 1, 1, 1], workers=2, queue=True)
    (4.0, 5.0)
    """
    free, ends = [0.0] * workers, list[float]()
    for number, piece in enumerate(work):
        given = max(ends[: max(number - workers, 0)], default=0.0) if queue else 0.0
        worker = free.index(min(free))
        free[worker] = max(free[worker], given) + piece
        ends.append(free[worker])
    return max(free)


def measure(plan: Plan, say: Say) -> list[dict[str, Any]]:
    """Return the rows of all precisions; both orders train the same cohorts in turn, another one each repetition."""
    return [row for precision in plan.precisions for row in _of_precision(plan, precision, say)]


def _of_precision(plan: Plan, precision: str, say: Say) -> list[dict[str, Any]]:
    with closing(Apart(harness, mixed_cell(precision), plan.device, plan.workers)) as runner:
        turns = {order: partial(runner.call, "seconds_in", order) for order in (IN_ORDER, LONGEST)}
        timings = take_turns(turns, plan.repetitions, lambda line: say(f"{line}, {precision}"))
        rounds = range(2, plan.repetitions + 2)
        expected = [runner.call("expected_ratio", number, plan.workers) for number in rounds]
    return rows_of(precision, timings, expected)


def harness(cell: Cell, device: str, workers: int) -> MixedHarness:
    """Return the harness at work on a cell."""
    return MixedHarness(Federation.build(cell, device=device), workers)


def rows_of(precision: str, timings: Mapping[str, Sequence[float]], expected: Sequence[float]) -> list[dict[str, Any]]:
    """Return a row for each order; ratios are medians over cohorts, each to the same cohort in its own order."""
    return [
        {
            "precision": precision,
            "order": order,
            "levels": MIXED_LEVELS,
            "cohort": MIXED_COHORT,
            "repetitions": len(seconds),
            **spread_of(list(seconds)),
            "time_ratio": float(np.median(np.divide(seconds, timings[IN_ORDER]))),
            "time_ratio_expected": float(np.median(expected)) if order == LONGEST else 1.0,
            "time_ratio_target": MIXED_TIME_RATIO if order == LONGEST else None,
        }
        for order, seconds in timings.items()
    ]


def shown(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the tables that are printed, one a precision."""
    return [
        filled(
            f"A cohort of mixed capacities, HeteroFL's levels {MIXED_LEVELS} on the CNN, {precision}",
            here,
            ("handed out", "seconds", "time ratio", "expected"),
            f"{MIXED_COHORT} clients, another cohort in each repetition. Time ratio: to the same cohort handed out in "
            "its own order, smaller is better. Expected: by the clients' operations alone.",
            _line,
        )
        for precision, here in split_by("precision", rows)
    ]


def _line(row: Mapping[str, Any]) -> list[str]:
    return [row["order"], ranged(row), f"{row['time_ratio']:.2f}", f"{row['time_ratio_expected']:.2f}"]


def verdicts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each precision."""
    return [
        f"{row['precision']}, {row['order']}: time ratio {at_most(row['time_ratio'], row['time_ratio_target'])}"
        for row in rows
        if row["time_ratio_target"] is not None
    ]
