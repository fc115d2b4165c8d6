"""The harness as it is timed: its engine trains the cohort, on sub-models that the method extracts meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.api import Cohort
from bench.federation.federation import Federation
from bench.numerics.runtime import prepare_process
from bench.perf.trainer import Trainer
from bench.training.engine import open_engine
from bench.training.local import Job


class Harness(Trainer):
    """Trains cohorts with the engine that runs use.

    Args:
        federation: what is trained.
        workers: number of processes that train.
    """

    def __init__(self, federation: Federation, workers: int) -> None:
        prepare_process()
        super().__init__(federation)
        self.engine = open_engine(federation, (), workers)

    def train(self, cohort: Cohort) -> int:
        return sum(trained.passes for trained in self.engine.train(self.jobs(cohort)))

    def jobs(self, cohort: Cohort) -> Iterable[Job]:
        """Return what each client of a cohort is asked to do, in the cohort's order."""
        return self._extracted(cohort)

    def _extracted(self, cohort: Cohort) -> Iterator[Job]:
        for selection in self.selections(cohort):
            submodel = self.method.extract(self.server, selection)
            yield Job(selection.client.number, cohort.round_number, submodel)

    def close(self) -> None:
        self.engine.close()
