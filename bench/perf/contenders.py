"""Who is timed: the bare loop and the harness, each in a process of its own that lives through all repetitions.

The processes are separate because the harness changes its process for good (threads, memory allocator), and the bare
loop is to run with the defaults of PyTorch and of the C library.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

import torch

from bench.cell import Cell
from bench.engine import Engine, open_engine
from bench.federation import Federation
from bench.perf.bare import resident_data, train_clients
from bench.runtime import prepare_process
from bench.training import Job

Kind = Literal["bare loop", "harness"]


@dataclass(frozen=True)
class Contender:
    """One way to train the cohort.

    Attributes:
        kind: "bare loop" or "harness".
        processes: number of processes that train.
        threads: number of threads of each of them.
    """

    kind: Kind
    processes: int
    threads: int


def contenders(device: str, cores: int) -> list[Contender]:
    """Return who runs on a device, in the order of a repetition; more than one core counts only on the CPU."""
    one = [Contender("bare loop", 1, 1), Contender("harness", 1, 1)]
    if device != "cpu" or cores == 1:
        return one
    return [one[0], Contender("bare loop", 1, cores), one[1], Contender("harness", cores, 1)]


class Runner:
    """A contender at work on one cell, in its own process.

    Args:
        contender: who trains.
        cell: whose cohort is trained.
        device: where.
    """

    def __init__(self, contender: Contender, cell: Cell, device: str) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._pool.submit(_start, contender, cell, device).result()

    def rate(self, round_number: int) -> float:
        """Train the cohort of a round once and return the training samples per second."""
        return self._pool.submit(_rate, round_number).result()

    def close(self) -> None:
        """End the process and its workers."""
        self._pool.submit(_stop).result()
        self._pool.shutdown()


def prepare(contender: Contender, federation: Federation) -> tuple[Callable[[int], int], Callable[[], None]]:
    """Return what trains the cohort of a round and returns its number of samples passed, and what ends it."""
    if contender.kind == "bare loop":
        torch.set_num_threads(contender.threads)
        model, data, recipe = federation.initial_model(), resident_data(federation), federation.task.recipe

        def train_bare(round_number: int) -> int:
            passes = recipe.samples_per_client or 0
            return sum(passes * recipe.local_epochs for _ in train_clients(federation, model, data, round_number))

        return train_bare, lambda: None
    prepare_process()
    engine = open_engine(federation, (), contender.processes)
    server = federation.method.setup(federation.initial_model(), federation.task)

    def train_harness(round_number: int) -> int:
        selections = federation.method.select(
            server, federation.cohort(round_number), federation.streams("selection", round_number)
        )
        jobs = (
            Job(selection.client.number, round_number, federation.method.extract(server, selection))
            for selection in selections
        )
        return sum(trained.passes for trained in engine.train(jobs))

    return train_harness, engine.close
