"""What is measured of a round beside accuracy and cost, taken in the right order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from bench.api import Cohort, Measures, Method, Selection, Server, Update
from bench.simulation.diagnostics.agreement import fedavg_parameters, layer_cosines, update_cosine, values_of
from bench.simulation.diagnostics.coverage import Coverage
from bench.spectral.designs import Design
from bench.spectral.diversity import anme
from bench.training.engine import Engine
from bench.training.local import Diverged

if TYPE_CHECKING:
    from bench.simulation.round import Round


class Observer:
    """Watches the rounds of one run; nothing of it changes the run.

    Args:
        method: of any family.
        engine: trains FedAvg's reference where it is asked for.
        diagnostics: "basic", "errors", "cosine" or "all".
    """

    def __init__(self, method: Method, engine: Engine, diagnostics: str) -> None:
        self.method, self.engine, self.coverage = method, engine, Coverage()
        self.measures_errors = diagnostics in ("errors", "all")
        self.measures_cosine = diagnostics in ("cosine", "all")
        self._reference: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None
        self._updates: list[Update] | None = None

    def before_training(
        self, server: Server, cohort: Cohort, selections: Sequence[Selection], this: Round, evaluated: bool
    ) -> None:
        """Note what was drawn and, in evaluated rounds, measure it; the server's model is not yet changed."""
        for selection in selections:
            self.coverage.add(self.method.coverage(server, selection))
        designs = self.method.designs(server, selections)
        self.coverage.expect(designs)
        this.coverage, this.coverage_expected = self.coverage.share(), self.coverage.expected_share()
        self._reference, self._updates = None, [] if evaluated and self.measures_errors else None
        if not evaluated:
            return
        this.layers = _joined(
            diversity(designs),
            self.method.expected_errors(server, selections),
            _column("coverage", self.coverage.by_piece()),
            _column("coverage_expected", self.coverage.expected_by_piece()),
        )
        if self.measures_cosine:
            with suppress(Diverged):  # FedAvg's divergence is no reason to end the method's own run
                reference = fedavg_parameters(server.model, cohort.clients, this.number, self.engine)
                self._reference = values_of(server.model), reference

    def keep(self, update: Update) -> None:
        """Keep an update until the round ends, where errors are to be measured."""
        if self._updates is not None:
            self._updates.append(update)

    def after_training(self, before: Server, after: Server, selections: Sequence[Selection], this: Round) -> None:
        """Measure what came back.

        Args:
            before: the server that selected; its model may have been changed in place.
            after: the server after aggregation.
            selections: the parts the clients got.
            this: the round, to be completed.
        """
        if self._updates is not None:
            this.layers = _joined(this.layers, self.method.errors(before, selections, self._updates))
        if self._reference is not None:
            start, reference = self._reference
            ours = values_of(after.model)
            this.cosine_fedavg = update_cosine(start, ours, reference)
            this.layers = _joined(this.layers, _column("cosine_fedavg", layer_cosines(start, ours, reference)))

    def state(self) -> dict[str, Any]:
        """Return what the measures of the rounds to come depend on: tensors alone."""
        return {
            "seen": {piece: tensor.clone() for piece, tensor in self.coverage.seen.items()},
            "missed": {piece: tensor.clone() for piece, tensor in self.coverage.missed.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.coverage = Coverage(state["seen"], state["missed"])


def diversity(designs: Mapping[str, Sequence[Design]]) -> Measures:
    """Return ``anme`` of each piece, mean over its clients, where all of their laws are known."""
    measures: Measures = {}
    for piece, of_clients in designs.items():
        entropies = [anme(design.inclusion, design.size) for design in of_clients if design.inclusion is not None]
        if entropies and len(entropies) == len(of_clients):
            measures[piece] = {"anme": float(np.mean(entropies))}
    return measures


def _column(name: str, values: Mapping[str, float]) -> Measures:
    return {piece: {name: value} for piece, value in values.items()}


def _joined(*parts: Measures) -> Measures:
    joined: Measures = {}
    for part in parts:
        for piece, values in part.items():
            joined.setdefault(piece, {}).update(values)
    return joined
