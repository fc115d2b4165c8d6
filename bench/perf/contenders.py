"""Who is timed in the part "training"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.cell import Cell
from bench.federation.federation import Federation
from bench.perf.bare import BareLoop
from bench.perf.harness import Harness
from bench.perf.trainer import Trainer
from bench.perf.workloads import SUBMODEL_KEEP


@dataclass(frozen=True)
class Contender:
    """One way to train the cohort.

    Attributes:
        kind: "bare loop" or "harness".
        processes: number of processes that train.
        threads: number of threads of each of them.
        keep: keep ratio of PriSM's sub-models; 1 stands for FedAvg's full models.
        precision: numbers that models compute in.
    """

    kind: Literal["bare loop", "harness"]
    processes: int
    threads: int
    keep: float = 1.0
    precision: str = "fp32"

    def __str__(self) -> str:
        return f"{self.kind} {self.processes} x {self.threads}, {self.model}, {self.precision}"

    @property
    def model(self) -> str:
        """What is trained, in words."""
        return "full model" if self.keep == 1 else f"PriSM, keep {self.keep:g}"

    @property
    def workers(self) -> int:
        """Cores that are used."""
        return self.processes * self.threads


def contenders(device: str, workers: int, precisions: Sequence[str]) -> list[Contender]:
    """Return who runs on a device, in the order of a repetition.

    The bare loop computes in fp32, by one thread and by as many as there are workers. An accelerator is driven by one
    thread, and there the bare loop runs in all precisions.
    """
    every = [(keep, precision) for keep in (1.0, SUBMODEL_KEEP) for precision in precisions]
    harness = [Contender("harness", workers, 1, keep, precision) for keep, precision in every]
    if device != "cpu":
        of_bare = dict.fromkeys([(1.0, "fp32"), (SUBMODEL_KEEP, "fp32"), *every])
        return [Contender("bare loop", 1, 1, keep, precision) for keep, precision in of_bare] + harness
    bare = [Contender("bare loop", 1, workers, keep) for keep in (1.0, SUBMODEL_KEEP)]
    if workers == 1:
        return bare + harness
    alone = [Contender("harness", 1, 1)] if "fp32" in precisions else []
    return [Contender("bare loop", 1, 1), *bare, *alone, *harness]


def trainer(contender: Contender, cell: Cell, device: str) -> Trainer:
    """Return a contender at work on a cell."""
    federation = Federation.build(cell, device=device)
    if contender.kind == "bare loop":
        return BareLoop(federation, contender.threads)
    return Harness(federation, contender.processes)
