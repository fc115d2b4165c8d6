"""What trains cohorts against the clock, always from the initial model."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import replace

import torch

from bench.api import Cohort, Selection
from bench.federation.federation import Federation
from bench.launch.footprint import submodel_cost


class Trainer(ABC):
    """Base of the bare loop and the harness.

    Args:
        federation: what is trained.
    """

    def __init__(self, federation: Federation) -> None:
        self.federation, self.method = federation, federation.method
        self.server = federation.method.setup(federation.initial_model(), federation.task)

    @abstractmethod
    def train(self, cohort: Cohort) -> int:
        """Train a cohort and return the number of samples passed."""

    @abstractmethod
    def close(self) -> None:
        """End what was started."""

    def seconds(self, round_number: int, keep: float | None = None) -> float:
        """Train the cohort of a round once and return the seconds it took, extraction of its sub-models included.

        The server's model is decomposed once in the life of a trainer, which is no part of the time after the first.

        Args:
            round_number: from 1.
            keep: keep ratio of all clients; the cell's if left out.
        """
        cohort = self.cohort(round_number, keep)
        _wait_for(self.federation.device)
        start = time.perf_counter()
        self.train(cohort)
        _wait_for(self.federation.device)
        return time.perf_counter() - start

    def cohort(self, round_number: int, keep: float | None = None) -> Cohort:
        """Return the cohort of a round, where asked for with another keep ratio."""
        cohort = self.federation.cohort(round_number)
        if keep is None:
            return cohort
        return Cohort(round_number, tuple(replace(client, keep=keep) for client in cohort.clients))

    def selections(self, cohort: Cohort) -> list[Selection]:
        """Return what the method gives each client of a cohort."""
        return self.method.select(self.server, cohort, self.federation.streams("selection", cohort.round_number))

    def macs(self, keep: float) -> int:
        """Return the multiply-accumulates of one sample's forward pass through a sub-model of a keep ratio."""
        return submodel_cost(self.method, self.server, self.federation.task, keep).macs


def _wait_for(device: torch.device) -> None:
    """Wait until an accelerator has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
