"""FedLAMA: full training in which layers that differ little between clients are averaged less often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Cohort, Measures, Method, Selection, Server, Streams, Update, copy_of, parameter
from bench.families.averaging import client_weight
from bench.families.layerwise import SpreadMean, discrepancies, kernels_of, layers_of, less_critical
from bench.families.periods import Turn, mean_model, remember, restore, round_of
from bench.tasks.base import Task


@dataclass(frozen=True)
class FedLAMAParams:
    """How often layers are averaged, and where paper and released code differ; the defaults are the paper's."""

    base_interval: int = parameter(1, "rounds from one average of a critical layer to the next (tau')", low=1)
    phi: int = parameter(2, "how many times as long less critical layers wait", low=1)
    layers: Literal["all", "kernels"] = parameter(
        "all", "whole layers, or single tensors of which those of one dimension keep the base interval (released code)"
    )
    first_adjustment: int = parameter(
        0, "first average, counted from 0 in base intervals, that adjusts intervals; 6 in the released code", low=0
    )
    weights: Literal["uniform", "samples"] = parameter(
        "uniform", "clients count alike (the paper), or by their samples"
    )


class FedLAMA(Method):
    """Layers have aggregation intervals, counted in rounds: ``base_interval`` or ``phi`` times that.

    A period of ``phi * base_interval`` rounds begins with clients that all have the server's model and ends with a full
    synchronisation. In between a layer is averaged in the rounds of the period that are multiples of its interval and
    otherwise stays with the clients, which stay for the period. The intervals of the next period follow from

        d_l = (1/m) sum_i ||u_l - x_l^i||^2 / (tau_l * dim(u_l))

    at the synchronisation, with x_l^i client i's layer, u_l the mean and tau_l the interval it had
    (:func:`bench.families.layerwise.less_critical`).

    Evaluated is the mean over the cohort's models as they are, with layers that stayed with the clients: the u of the
    convergence theorem, whatever part of it has been sent. After a full synchronisation it is the server's model.

    The server's memory holds ``intervals`` (int64, rounds) and ``discrepancy`` (d of the last full synchronisation, 0
    before) of the pieces in the model's order, and what clients keep (:mod:`bench.families.periods`).
    """

    family = "full"
    summary = "full training in which layers that differ little between clients are averaged less often"
    paper = "Lee, Zhang and Avestimehr, Layer-wise adaptive model aggregation for scalable FL, AAAI 2023 (2110.10302)"
    deviations = (
        "intervals are counted in rounds of the harness, each a block of local epochs, not in local steps",
        "local momentum starts from zero each round; the released code keeps that of each worker, also where it goes "
        "on to train another client",
        "in the last round of a run all layers are averaged, wherever in a period it lies",
        "evaluated is the mean of the cohort's models; the released code reports the best of some clients' models",
    )
    Params = FedLAMAParams
    uses_keep = False

    def __init__(self, params: Any = None) -> None:
        super().__init__(params)
        self.cohort_rounds = self.params.phi * self.params.base_interval
        self.equals_fedavg = self.cohort_rounds == 1

    def setup(self, model: nn.Module, task: Task) -> Server:
        server = super().setup(model, task)
        self.pieces = layers_of(model) if self.params.layers == "all" else kernels_of(model)
        device = next(model.parameters()).device
        server.memory["intervals"] = torch.full((len(self.pieces),), self.params.base_interval, device=device)
        server.memory["discrepancy"] = torch.zeros(len(self.pieces), device=device)
        return server

    def select(self, server: Server, cohort: Cohort, streams: Streams) -> list[Selection]:
        return [Turn(client, round_number=cohort.round_number) for client in cohort.clients]

    def place(self, selection: Selection) -> int:
        """Return which round of its period a selection's is, from 1."""
        return (round_of(selection) - 1) % self.cohort_rounds + 1

    def due(self, server: Server, round_number: int) -> tuple[str, ...]:
        """Return the parameters that are averaged in a round: in the last one of a run all, wherever its period is."""
        place, last = (round_number - 1) % self.cohort_rounds + 1, round_number == self.task.recipe.rounds
        intervals = zip(self.pieces, server.memory["intervals"].tolist(), strict=True)
        return tuple(name for piece, interval in intervals if last or place % interval == 0 for name in piece.tensors)

    @torch.no_grad()
    def extract(self, server: Server, selection: Selection) -> nn.Module:
        submodel, place = copy_of(server.model), self.place(selection)
        if place > 1:
            restore(submodel, server, selection.client)
        # What a client sends is decided where it is trained, which may be another process.
        submodel.carried = self.due(server, round_of(selection))  # type: ignore[assignment]
        return submodel

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in super().upload(submodel).items() if name in _sent(submodel)}

    def local_state(self, submodel: nn.Module) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in super().upload(submodel).items() if name not in _sent(submodel)}

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        """Everything in the first round of a period, then what was averaged in the round before."""
        place, held = self.place(selection), submodel.state_dict()
        if place == 1:
            return held.values()
        return [held[name] for name in self.due(server, round_of(selection) - 1)]

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        named = {name: tensor.detach() for name, tensor in server.model.named_parameters()}
        means = {name: SpreadMean(tensor) for name, tensor in named.items()}
        selection: Selection | None = None
        for update in updates:
            selection = update.selection
            place, weight = self.place(selection), client_weight(selection.client, self.params.weights)
            for name, values in update.parameters.items():
                means[name].add(values, weight, spreads=place == self.cohort_rounds)
            remember(server, update, weight)
        if selection is None:
            return server
        for name in self.due(server, round_of(selection)):
            named[name].copy_(means[name].mean.result())
        if self.place(selection) == self.cohort_rounds:
            self._adjust(server, {name: mean.spread() for name, mean in means.items()}, selection)
        return server

    def _adjust(self, server: Server, spreads: dict[str, float], selection: Selection) -> None:
        """Set the intervals of the next period from the clients' mean squared distance from the mean, by parameter."""
        memory, base = server.memory, self.params.base_interval
        discrepancy = discrepancies(self.pieces, memory["intervals"].tolist(), spreads)
        adjusts = round_of(selection) // base - 1 >= self.params.first_adjustment
        relaxed = less_critical(discrepancy, self.pieces) if adjusts else set()
        new = [base * (self.params.phi if place in relaxed else 1) for place in range(len(self.pieces))]
        memory["intervals"] = torch.tensor(new, device=memory["intervals"].device)
        memory["discrepancy"] = torch.tensor(discrepancy, device=memory["intervals"].device)

    def full_model(self, server: Server) -> nn.Module:
        return mean_model(server)

    def expected_errors(self, server: Server, selections: Sequence[Selection]) -> Measures:
        """The interval that each layer has in this round, known before training."""
        pieces = zip(self.pieces, server.memory["intervals"].tolist(), strict=True)
        return {name: {"aggregation_interval": float(interval)} for piece, interval in pieces for name in piece.tensors}


def _sent(submodel: nn.Module) -> tuple[str, ...]:
    return submodel.carried  # type: ignore[return-value]
