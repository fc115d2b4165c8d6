"""Who trains the clients of a round: this process, or worker processes of one thread each.

Both give the same numbers to the bit: a client is always trained by one thread, and updates are taken in the cohort's
order whoever finishes first.
"""

from __future__ import annotations

import io
import os
import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from bench.cell import Cell
from bench.cost.cost import peak_memory_bytes, reset_peak_memory
from bench.families.static_statistics import has_statistics, with_statistics
from bench.federation.federation import Federation
from bench.numerics.runtime import prepare_process
from bench.processes.pool import Pool
from bench.training.captured import CapturedEngine
from bench.training.evaluation import BatchScore, Score, batch_count, score_batches, total_score
from bench.training.handing_out import HandedOut, Jobs
from bench.training.local import Job, Trained, train_client
from bench.training.static_norm import batch_statistics, calibrated, statistics_batches


class Engine(Protocol):
    """Trains cohorts and evaluates models."""

    def train(self, jobs: Iterable[Job]) -> Iterator[Trained]:
        """Train the clients' sub-models; results come in the order of the jobs, which are drawn as needed.

        Those of :class:`Jobs` may be drawn in any order.
        """
        ...

    def evaluate(self, model: nn.Module, by_class: bool = False) -> Score:
        """Return a model's score on all that the federation evaluates on, where asked for that of each class too."""
        ...

    def calibrated(self, model: nn.Module) -> nn.Module:
        """Return a copy of a model that is evaluated with statistics of the clients' training samples."""
        ...

    def peak_memory_bytes(self) -> int:
        """Return the peak memory since the start, of all processes together."""
        ...

    def close(self) -> None:
        """End the workers, if there are any."""
        ...


class InlineEngine:
    """Trains one client after the other in this process."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        reset_peak_memory(federation.device)

    def train(self, jobs: Iterable[Job]) -> Iterator[Trained]:
        for job in jobs:
            yield train_client(job, self.federation)

    def evaluate(self, model: nn.Module, by_class: bool = False) -> Score:
        return total_score(score_batches(model, self.federation, range(batch_count(self.federation)), by_class))

    def calibrated(self, model: nn.Module) -> nn.Module:
        return calibrated(model, self.federation)

    def peak_memory_bytes(self) -> int:
        return peak_memory_bytes(self.federation.device)

    def close(self) -> None:
        pass


class ParallelEngine:
    """Trains clients in worker processes of one thread; on the CPU they beat one process of several threads.

    Each worker builds the federation itself, its data memory-mapped from the cache and thus shared between them.

    Args:
        federation: what is trained.
        plugins: files of methods and tasks the user named, imported by the workers too.
        workers: number of processes.
    """

    def __init__(self, federation: Federation, plugins: Iterable[Path], workers: int) -> None:
        self.federation, self.workers = federation, workers
        reset_peak_memory(federation.device)
        self._peaks: dict[int, int] = {}
        self._pool = Pool(workers, _start_worker, federation.cell, tuple(plugins))

    def train(self, jobs: Iterable[Job]) -> Iterator[Trained]:
        if isinstance(jobs, Jobs):
            handed_out = HandedOut(jobs, lambda packed: self._pool.submit(_train, packed), _packed, self.workers)
            yield from map(self._unpacked, handed_out.in_order())
            return
        # A short queue keeps the workers busy and few sub-models alive.
        waiting: deque[Future[tuple[bytes, tuple[int, int]]]] = deque()
        for job in jobs:
            waiting.append(self._pool.submit(_train, _packed(job)))
            if len(waiting) > self.workers:
                yield self._unpacked(waiting.popleft())
        while waiting:
            yield self._unpacked(waiting.popleft())

    def _unpacked(self, future: Future[tuple[bytes, tuple[int, int]]]) -> Trained:
        packed, (process, peak) = future.result()
        self._peaks[process] = peak
        parameters, momentum, local, loss, passes = pickle.loads(packed)
        return Trained(_tensors(parameters), _tensors(momentum), loss, passes, _tensors(local))

    def evaluate(self, model: nn.Module, by_class: bool = False) -> Score:
        packed = _packed(model)
        shares = self._shares(batch_count(self.federation))
        futures = [self._pool.submit(_evaluate, packed, share, by_class) for share in shares]
        return total_score(score for future in futures for score in future.result())

    def calibrated(self, model: nn.Module) -> nn.Module:
        if not has_statistics(model):
            return model
        packed = _packed(model)
        shares = self._shares(statistics_batches(self.federation))
        futures = [self._pool.submit(_statistics, packed, share) for share in shares]
        return with_statistics(model, [torch.from_numpy(part) for future in futures for part in future.result()])

    def _shares(self, batches: int) -> list[list[int]]:
        return [share.tolist() for share in np.array_split(np.arange(batches), self.workers)]

    def peak_memory_bytes(self) -> int:
        return peak_memory_bytes(self.federation.device) + sum(self._peaks.values())

    def close(self) -> None:
        self._pool.close()


def open_engine(federation: Federation, plugins: Iterable[Path], workers: int) -> Engine:
    """Return the engine for a device; on the CPU for a number of worker processes, which drive no accelerator."""
    if workers > 1 and federation.device.type == "cpu":
        return ParallelEngine(federation, plugins, workers)
    if federation.device.type == "cuda":
        return CapturedEngine(federation)
    return InlineEngine(federation)


# What a worker process holds between jobs.
_federation: Federation | None = None


def _start_worker(cell: Cell, plugins: tuple[Path, ...]) -> None:
    global _federation
    prepare_process()
    federation = Federation.build(cell, plugins)
    # A method learns of its task in setup; the model given to it here is not used.
    federation.method.setup(federation.initial_model(), federation.task)
    _federation = federation


def _train(packed: bytes) -> tuple[bytes, tuple[int, int]]:
    assert _federation is not None
    trained = train_client(_loads(packed), _federation)
    tensors = [_arrays(part) for part in (trained.parameters, trained.momentum, trained.local)]
    result = (*tensors, trained.loss, trained.passes)
    return pickle.dumps(result, protocol=5), (os.getpid(), peak_memory_bytes(torch.device("cpu")))


def _evaluate(packed: bytes, batches: list[int], by_class: bool) -> list[BatchScore]:
    assert _federation is not None
    return score_batches(_loads(packed), _federation, batches, by_class)


def _statistics(packed: bytes, batches: list[int]) -> list[np.ndarray]:
    assert _federation is not None
    return [part.numpy() for part in batch_statistics(_loads(packed), _federation, batches)]


class _Pickler(pickle.Pickler):
    """Sends tensors as arrays: torch's own way of pickling writes each one as a small file of its own."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, nn.Parameter):
            return nn.Parameter, (value.detach(), value.requires_grad)
        if type(value) is torch.Tensor:
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(value)
    return buffer.getvalue()


def _loads(packed: bytes) -> Any:
    return pickle.loads(packed)


def _arrays(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
