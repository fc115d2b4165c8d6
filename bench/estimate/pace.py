"""What the parts of a cell take on this machine, read off a short run, and what the whole cell takes by that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.estimate.workload import Workload

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Pace:
    """Seconds of each part, and bytes.

    Attributes:
        start: until the first round: data, model, and evaluation but for its samples.
        selection: the server's choice of sub-models, a round.
        client: the server's work on a client and what is measured of it, a round.
        step: a local step.
        sample: a sample that models are evaluated on or whose statistics are taken.
        ranks: what is measured in a round that is evaluated, beside the usual.
        client_bytes: bytes to and from a client, a round.
        calibrates: whether an evaluation takes a pass over the training samples too.
    """

    start: float
    selection: float
    client: float
    step: float
    sample: float
    ranks: float
    client_bytes: float
    calibrates: bool

    @classmethod
    def of(cls, rows: Rows, seconds: float, work: Workload, calibrates: bool) -> Pace:
        """Return the pace of a short run.

        Args:
            rows: its rounds as rows of the table of rounds, round 0 first.
            seconds: what it took from its beginning to its end.
            work: what it had to do.
            calibrates: whether an evaluation takes a pass over the training samples too.
        """
        trained = [row for row in rows if row["round"] > 1]
        quiet = [row for row in trained if not row["evaluate_s"]]
        evaluated = [row for row in trained if row["evaluate_s"]]
        diagnosis = _mean(quiet, "diagnose_s")
        server = _mean(trained, "extract_s") + _mean(trained, "aggregate_s") + diagnosis
        return cls(
            start=max(0.0, seconds - math.fsum(row["round_s"] for row in rows) - rows[0]["evaluate_s"]),
            selection=_mean(trained, "select_s"),
            client=server / work.cohort,
            step=_mean(trained, "train_s") / (work.cohort * work.steps),
            sample=_mean(evaluated, "evaluate_s") / _samples(work, calibrates),
            ranks=max(0.0, _mean(evaluated, "diagnose_s") - diagnosis),
            client_bytes=(_mean(trained, "down_bytes") + _mean(trained, "up_bytes")) / work.cohort,
            calibrates=calibrates,
        )

    def __post_init__(self) -> None:
        """Refuse what is no pace, as a file that somebody changed may have it.

        Raises:
            ValueError: a time or number of bytes is not finite, or not a number.
        """
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in vars(self).values()):
            raise ValueError(f"{self}: a part is no finite number")

    def seconds(self, work: Workload) -> float:
        """Return what a cell takes that has so much to do."""
        a_round = self.selection + work.cohort * (self.client + work.steps * self.step)
        an_evaluation = self.ranks + _samples(work, self.calibrates) * self.sample
        return self.start + work.rounds * a_round + work.evaluations * an_evaluation

    def bytes(self, work: Workload) -> float:
        """Return the bytes that a cell's clients receive and send."""
        return work.rounds * work.cohort * self.client_bytes


def _samples(work: Workload, calibrates: bool) -> int:
    return work.tested + (work.trained if calibrates else 0)


def _mean(rows: Rows, name: str) -> float:
    return fmean(row[name] for row in rows)
