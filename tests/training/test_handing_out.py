"""Cohorts of mixed capacities: the longest first, in the cohort's order all the same, and little of it parked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from helpers import CNN, LSTM, assert_equal, federation, run_sent, run_with
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import Client
from bench.simulation.simulator import Simulation
from bench.training import engine, handing_out
from bench.training.engine import InlineEngine
from bench.training.handing_out import HandedOut, Jobs
from bench.training.local import Job


class Workers:
    """Workers whose time is counted, not spent: who waits for any of them moves the clock to the next that is done."""

    def __init__(self, count: int, work: list[float], sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        self.work, self.sizes, self.clock = work, sizes, 0.0
        self.free = [0.0] * count
        self.running: list[tuple[float, Future[int], int]] = []
        self.begun: list[int] = []
        self.alive, self.most_alive, self.most_at_work = 0, 0, 0
        self.monkeypatch = monkeypatch

    def submit(self, packed: bytes) -> Future[int]:
        place, worker = packed[0], int(np.argmin(self.free))
        self.free[worker] = max(self.free[worker], self.clock) + self.work[place]
        self.running.append((self.free[worker], Future(), place))
        self.begun.append(place)
        self.alive += self.sizes[place]
        self.most_alive = max(self.most_alive, self.alive)
        self.most_at_work = max(self.most_at_work, len(self.running))
        return self.running[-1][1]

    def wait(self, futures: list[Future[int]], return_when: str) -> None:
        assert futures and return_when == "FIRST_COMPLETED"
        self.running.sort(key=lambda entry: entry[0])
        self.clock, future, place = self.running.pop(0)
        future.set_result(place)

    def all_in_order(self, work: list[float] | None = None) -> list[int]:
        jobs = Jobs(lambda place: bytes([place]) * self.sizes[place], work or self.work)  # type: ignore[arg-type, return-value]
        self.monkeypatch.setattr(handing_out, "wait", self.wait)
        got = []
        for future in HandedOut(jobs, self.submit, bytes, len(self.free)).in_order():
            got.append(future.result())
            self.alive -= self.sizes[got[-1]]
        return got


def test_the_longest_go_first_and_come_back_in_the_cohorts_order(monkeypatch: pytest.MonkeyPatch) -> None:
    work = [1.0, 3.0, 2.0, 8.0, 3.0]
    workers = Workers(2, work, [1] * 5, monkeypatch)
    assert workers.all_in_order() == [0, 1, 2, 3, 4]
    assert workers.begun == [3, 1, 4, 2, 0]
    assert workers.clock == 9  # 8 + 1 and 3 + 3 + 2


def test_a_long_one_at_the_end_idles_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    work = [1.0] * 8 + [8.0]
    before, after = (Workers(2, work, [1] * 9, monkeypatch) for _ in range(2))
    before.all_in_order([1.0] * 9)  # all alike: in the cohort's order
    assert before.begun == list(range(9)) and before.clock == 12
    after.all_in_order()
    assert after.clock == 8


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 20)), min_size=1, max_size=25),
    st.integers(1, 5),
    st.integers(0, 100),
)
@settings(deadline=None, max_examples=100)
def test_whatever_they_take_all_come_once_and_little_is_parked(
    clients: list[tuple[int, int]], count: int, parked: int
) -> None:
    work, sizes = [float(client[0]) for client in clients], [client[1] for client in clients]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(handing_out, "PARKED_BYTES", parked)
        workers = Workers(count, work, sizes, monkeypatch)
        assert workers.all_in_order() == list(range(len(work)))
    assert sorted(workers.begun) == list(range(len(work)))
    assert workers.most_at_work <= count + 1
    # What a short queue holds in any case, and one job more than was allowed.
    assert workers.most_alive <= max(parked, sum(sorted(sizes)[-count:])) + 2 * max(sizes)
    # No schedule is longer than twice the best one: nobody idles while there is something to do and room for it.
    if parked >= sum(sizes):
        assert workers.clock <= sum(work) / count + max(work)


def test_jobs_are_made_when_they_are_asked_for() -> None:
    made: list[int] = []
    jobs = Jobs(lambda place: made.append(place) or Job(place, 1, None), [1.0, 2.0, 2.0])  # type: ignore[arg-type, func-returns-value]
    assert len(jobs) == 3 and jobs.longest_first() == [1, 2, 0] and made == []
    assert [job.client for job in jobs] == [0, 1, 2] and jobs[1].client == 1 and made == [0, 1, 2, 1]
    with pytest.raises(IndexError):
        jobs[3]


MIXED = {"clients": 10, "cohort": 7, "rounds": 2, "samples_per_client": 12}


@pytest.mark.parametrize(
    ("method", "task", "parked"),
    [
        ("heterofl", CNN, handing_out.PARKED_BYTES),
        ("heterofl", CNN, 0),
        ("prism", LSTM, handing_out.PARKED_BYTES),
    ],
)
def test_final_weights_are_those_of_one_worker(
    method: str, task: str, parked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, though sub-models are handed out in another order than the cohort's."""
    monkeypatch.setattr(handing_out, "PARKED_BYTES", parked)
    made: list[list[int]] = []

    class Noting(Jobs):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append([])

        def __getitem__(self, place: int) -> Job:
            made[-1].append(place)
            return super().__getitem__(place)

    cells = {"keep": "a-e", "training": MIXED}
    inline = run_with(federation(method, task, **cells), 1)
    monkeypatch.setattr("bench.simulation.simulator.Jobs", Noting)
    parallel = run_sent(federation(method, task, **cells))
    assert len(made) == 2 and all(sorted(order) == list(range(7)) for order in made)
    assert any(order != sorted(order) for order in made)
    assert parallel[0] == inline[0]
    assert_equal(parallel[1], inline[1])


def test_expected_work_follows_the_operations_that_were_counted() -> None:
    built = federation("heterofl", CNN, keep="a-e", training={**MIXED, "rounds": 1})
    simulation = Simulation(built, InlineEngine(built))
    client = Client(0, 10, 0.5, ())
    assert simulation._work(client) == 5.0  # nothing is known: the keep ratio stands for it
    simulation._operations = {1.0: 100.0, 0.25: 10.0}
    assert simulation._work(client) == 500.0 and simulation._work(Client(0, 3, 0.25, ())) == 30.0
    list(simulation.rounds())
    counted = {member.client.keep: member.cost.train_macs for member in _members(built)}
    assert {keep: simulation._operations[keep] for keep in counted} == counted


def _members(built: Any) -> Iterator[Any]:
    for this in Simulation(built, engine.InlineEngine(built)).rounds():
        yield from this.members
