"""Real rounds of a simulation, one at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from bench.cell import Cell
from bench.cost.cost import bytes_of, peak_memory_bytes
from bench.federation.federation import Federation
from bench.numerics.runtime import prepare_process
from bench.perf.apart import Apart
from bench.simulation.simulator import Simulation
from bench.training.engine import open_engine


@dataclass(frozen=True)
class Footing:
    """What a simulation stands on, in bytes.

    Attributes:
        build_s: seconds to build the federation: data mapped, partition drawn.
        runtime_bytes: memory of one process before it has done anything: Python, PyTorch and the harness' code.
        server_bytes: parameters and buffers of the server's model.
        submodel_bytes: those of one client's sub-model.
        data_bytes: inputs and labels of both splits as they are stored; mapped, and shared between processes.
    """

    build_s: float
    runtime_bytes: int
    server_bytes: int
    submodel_bytes: int
    data_bytes: int


@dataclass(frozen=True)
class Passed:
    """What one round took.

    Attributes:
        seconds: by phase, and of the whole "round".
        peak_memory_bytes: largest so far, of all processes.
    """

    seconds: dict[str, float]
    peak_memory_bytes: int


class Rounds:
    """A simulation that goes on by one round when asked to; the initial model is evaluated at once, which warms it up.

    Args:
        cell: what is run.
        device: where.
        workers: processes that train.
    """

    def __init__(self, cell: Cell, device: str, workers: int) -> None:
        prepare_process()
        self.runtime_bytes = peak_memory_bytes(torch.device("cpu"))
        start = time.perf_counter()
        self.federation = Federation.build(cell, device=device)
        self.build_s = time.perf_counter() - start
        self.engine = open_engine(self.federation, (), workers)
        self.simulation = Simulation(self.federation, self.engine)
        self._rounds = self.simulation.rounds()
        next(self._rounds)

    def run(self) -> Passed:
        """Run the next round."""
        this = next(self._rounds)
        self.submodel_bytes = this.costs[0].down_bytes
        return Passed(this.seconds, this.peak_memory_bytes)

    def footing(self) -> Footing:
        """Return what the simulation stands on, once a round was run."""
        dataset, model = self.federation.dataset, self.simulation.server.model
        arrays = [array for split in (dataset.train, dataset.test) for array in (split.inputs, split.labels)]
        return Footing(
            self.build_s,
            self.runtime_bytes,
            bytes_of(model.state_dict().values()),
            self.submodel_bytes,
            sum(array.nbytes for array in arrays),
        )

    def close(self) -> None:
        """End the workers, if there are any."""
        self.engine.close()


def next_round(rounds: Apart, number: int) -> Passed:
    """Return the next round of :class:`Rounds` at work in a process of its own; they count themselves."""
    return rounds.call("run")
