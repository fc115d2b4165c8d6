"""The engine for GPUs: local steps are recorded once as CUDA graphs and repeated, several clients at once.

A local step of a small sub-model is hundreds of short kernels, which a host starts more slowly than a GPU runs them. A
graph starts them all at once. Clients whose sub-models differ in numbers alone are trained by the same graphs, and
within a round the host waits for nothing but the results.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial

import torch
from torch import nn

from bench.cost.cost import peak_memory_bytes, reset_peak_memory
from bench.federation.federation import Federation
from bench.training.evaluation import Score, batch_count, score_batches, total_score
from bench.training.lanes import Lane, lane_on
from bench.training.local import Job, Trained, train_client
from bench.training.replica import Replica, Unrecordable, kind_of
from bench.training.shape import Incomparable
from bench.training.static_norm import calibrated

CLIENTS_AT_ONCE = 4
QUEUED = 2
"""Clients that a lane holds: one that is trained and one that is next, so that no lane runs dry."""
KINDS = 8
"""Kinds of sub-models that have replicas; those that come later are trained step by step."""

logger = logging.getLogger(__name__)


class CapturedEngine:
    """Trains clients by graphs where their sub-models allow it, else one after the other.

    Args:
        federation: what is trained.
        clients_at_once: streams that train, each with replicas of its own; at most twice as many sub-models are alive.
    """

    def __init__(self, federation: Federation, clients_at_once: int = CLIENTS_AT_ONCE) -> None:
        self.federation = federation
        self.lanes = [lane_on(federation.device) for _ in range(clients_at_once)]
        self.refused: dict[str, int] = {}
        """Why clients were trained step by step, with their number."""
        self._replicas: dict[Hashable, dict[Lane, Replica]] = {}
        self._unrecordable: dict[Hashable, str] = {}
        self._broken = ""
        reset_peak_memory(federation.device)

    def train(self, jobs: Iterable[Job]) -> Iterator[Trained]:
        waiting: deque[Callable[[], Trained]] = deque()
        for number, job in enumerate(jobs):
            waiting.append(self._begun(job, self.lanes[number % len(self.lanes)]))
            if len(waiting) >= QUEUED * len(self.lanes):
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def _begun(self, job: Job, lane: Lane) -> Callable[[], Trained]:
        """Queue a job on a lane and return what waits for it; one that cannot be queued is done then."""
        try:
            kind = kind_of(job, self.federation)
            if reason := self._broken or self._unrecordable.get(kind):
                raise Unrecordable(reason)
            if self.federation.task.recipe.recompute:
                raise Unrecordable("activations are computed anew")
            if kind not in self._replicas and len(self._replicas) >= KINDS:
                raise Unrecordable(f"there are more than {KINDS} kinds of sub-models")
        except (Incomparable, Unrecordable) as reason:
            return self._step_by_step(job, str(reason))
        try:
            with lane.entered():
                replicas = self._replicas.setdefault(kind, {})
                if lane not in replicas:
                    replicas[lane] = Replica(job, self.federation, lane)
                return replicas[lane].train(job)
        except Unrecordable as error:
            self._unrecordable[kind] = str(error)
            self._broken = str(error) if error.broken else self._broken
            return self._step_by_step(job, str(error))

    def _step_by_step(self, job: Job, reason: str) -> Callable[[], Trained]:
        if reason not in self.refused:
            logger.warning("clients are trained step by step, not by CUDA graphs: %s", reason)
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return partial(train_client, job, self.federation)

    def evaluate(self, model: nn.Module, by_class: bool = False) -> Score:
        return total_score(score_batches(model, self.federation, range(batch_count(self.federation)), by_class))

    def calibrated(self, model: nn.Module) -> nn.Module:
        return calibrated(model, self.federation)

    def peak_memory_bytes(self) -> int:
        device = self.federation.device
        # What graphs use counts as reserved alone.
        return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else peak_memory_bytes(device)

    def close(self) -> None:
        for lane in self.lanes:
            lane.wait()
        self._replicas.clear()
