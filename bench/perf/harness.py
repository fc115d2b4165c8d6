"""The harness as it is timed: its engine trains the cohort, on sub-models that the method extracts meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from bench.engine import open_engine
from bench.federation import Federation
from bench.runtime import prepare_process
from bench.training import Job


class Harness:
    """Trains the cohort with the engine that runs use.

    Args:
        federation: what is trained, always from the initial model.
        workers: number of processes that train.
    """

    def __init__(self, federation: Federation, workers: int) -> None:
        prepare_process()
        self.federation = federation
        self.server = federation.method.setup(federation.initial_model(), federation.task)
        self.engine = open_engine(federation, (), workers)

    def train(self, round_number: int) -> int:
        """Train the cohort of a round and return the number of samples passed."""
        return sum(trained.passes for trained in self.engine.train(self.jobs(round_number)))

    def jobs(self, round_number: int) -> Iterator[Job]:
        """Yield what each client of a round's cohort is asked to do, in the cohort's order."""
        method, streams = self.federation.method, self.federation.streams("selection", round_number)
        for selection in method.select(self.server, self.federation.cohort(round_number), streams):
            yield Job(selection.client.number, round_number, method.extract(self.server, selection))

    def close(self) -> None:
        """End the workers, if there are any."""
        self.engine.close()
