"""Who is timed, each in a process of its own that lives through all repetitions.

The processes are separate because the harness changes its process for good (threads, memory allocator), while the
bare loop is to run with the defaults.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

import torch

from bench.cell import Cell
from bench.federation import Federation
from bench.perf.bare import BareLoop
from bench.perf.harness import Harness


@dataclass(frozen=True)
class Contender:
    """One way to train the cohort.

    Attributes:
        kind: "bare loop" or "harness".
        processes: number of processes that train.
        threads: number of threads of each of them.
    """

    kind: Literal["bare loop", "harness"]
    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.kind}, {self.processes} x {self.threads}"


def contenders(device: str, cores: int) -> list[Contender]:
    """Return who runs on a device, in the order of a repetition; an accelerator is driven by one thread."""
    alone = [Contender("bare loop", 1, 1), Contender("harness", 1, 1)]
    if device != "cpu" or cores == 1:
        return alone
    return [alone[0], Contender("bare loop", 1, cores), alone[1], Contender("harness", cores, 1)]


class Runner:
    """A contender at work on one cell, in its own process.

    Args:
        contender: who trains.
        cell: whose cohorts are trained.
        device: where.
    """

    def __init__(self, contender: Contender, cell: Cell, device: str) -> None:
        self.contender = contender
        # An interruption from the keyboard reaches all processes; this one's parent ends it in good order.
        self._pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )
        self._pool.submit(_start, contender, cell, device).result()

    def samples_per_s(self, round_number: int) -> float:
        """Train the cohort of a round once and return the training samples passed per second."""
        return self._pool.submit(_timed, round_number).result()

    def close(self) -> None:
        """End the process and its workers."""
        self._pool.submit(_stop).result()
        self._pool.shutdown()


# What a runner's process holds between repetitions.
_at_work: BareLoop | Harness | None = None


def _start(contender: Contender, cell: Cell, device: str) -> None:
    global _at_work
    federation = Federation.build(cell, device=device)
    if contender.kind == "bare loop":
        _at_work = BareLoop(federation, contender.threads)
    else:
        _at_work = Harness(federation, contender.processes)


def _timed(round_number: int) -> float:
    assert _at_work is not None
    device = _at_work.federation.device
    _wait_for(device)
    start = time.perf_counter()
    passes = _at_work.train(round_number)
    _wait_for(device)
    return passes / (time.perf_counter() - start)


def _wait_for(device: torch.device) -> None:
    """Wait until an accelerator has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _stop() -> None:
    assert _at_work is not None
    _at_work.close()
