"""Which clients of a cohort are trained first: the longest, so that no worker is left with a long one at the end.

Updates are taken in the cohort's order all the same: what is done before its turn is parked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from bench.training.local import Job

What = TypeVar("What")

PARKED_BYTES = 1 << 29
"""How much of sub-models may be handed out or parked before those whose turn it is go first."""


class Jobs:
    """The jobs of a cohort, each made when it is asked for, since it holds a sub-model; once, in any order.

    Args:
        make: returns the job of a place in the cohort.
        work: how long each is expected to take, in any unit.
    """

    def __init__(self, make: Callable[[int], Job], work: Sequence[float]) -> None:
        self._make, self.work = make, work

    def __len__(self) -> int:
        return len(self.work)

    def __getitem__(self, place: int) -> Job:
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self._make(place)

    def __iter__(self) -> Iterator[Job]:
        """Yield all in the cohort's order."""
        return map(self._make, range(len(self)))

    def longest_first(self) -> list[int]:
        """Return all places, those that take equally long in the cohort's order."""
        return sorted(range(len(self)), key=lambda place: -self.work[place])


class HandedOut:
    """What has been handed out to workers and has not been taken back.

    There is one more job at work than there are workers: a worker that is done has its next one at hand.

    Args:
        jobs: what is to be done.
        submit: hands a packed job to a worker.
        pack: makes bytes of a job.
        workers: how many jobs are done at once.
    """

    def __init__(
        self, jobs: Jobs, submit: Callable[[bytes], Future[What]], pack: Callable[[Any], bytes], workers: int
    ) -> None:
        self._jobs, self._submit, self._pack, self._workers = jobs, submit, pack, workers
        self._left = jobs.longest_first()
        self._out: dict[int, Future[Any]] = {}
        self._bytes: dict[int, int] = {}

    def in_order(self) -> Iterator[Future[Any]]:
        """Yield what has become of each job, in the cohort's order."""
        for place in range(len(self._jobs)):
            self._fill(place)
            while place not in self._out or not self._out[place].done():
                wait(self._at_work(), return_when=FIRST_COMPLETED)
                self._fill(place)
            del self._bytes[place]
            yield self._out.pop(place)

    def _fill(self, wanted: int) -> None:
        """Hand out jobs until all workers have one and one is at hand."""
        while self._left and len(self._at_work()) <= self._workers:
            place = self._next(wanted)
            if place is None:
                return
            self._left.remove(place)
            packed = self._pack(self._jobs[place])
            self._out[place], self._bytes[place] = self._submit(packed), len(packed)

    def _next(self, wanted: int) -> int | None:
        """Return the place of the next job: the longest; the one waited for, or none, where too much is parked."""
        if len(self._out) <= self._workers or sum(self._bytes.values()) <= PARKED_BYTES:
            return self._left[0]
        return None if wanted in self._out else wanted

    def _at_work(self) -> list[Future[Any]]:
        return [future for future in self._out.values() if not future.done()]
