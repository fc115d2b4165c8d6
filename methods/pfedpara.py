"""pFedPara: one half of each entry-wise product is everyone's, the other is the client's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from bench.api import Client, Selection, Server, Streams, Update
from bench.families.hadamard import Hadamard, factor_names

OWN = "2"
"""The half that stays with the client."""


class PFedPara(Hadamard):
    """``W = W_1 * (W_2 + 1)``: factors of W_1 are sent and averaged, those of W_2 never leave the client.

    All clients start with the same W_2, which each draws itself from the run's seed: it is not sent either. The
    server's model is ``W_1 * (W_2 + 1)`` with that W_2: what a client that has never taken part would use.
    """

    summary = "as fedpara, but half of the factors stay with the client: personal models, half of the bytes"
    paper = "pFedPara of Hyeon-Woo et al., FedPara, ICLR 2022"
    deviations = (
        "ranks follow the paper; the authors' notebook takes the smallest one that holds a share of the weight's "
        "numbers, and never less than the root of the larger side (rank_rule=share)",
        "without normalisation layers initial weights are as large as the task's own (init=matched): by the authors' "
        "law (fan_in) the CNN diverges",
        "no Jacobian regularisation: neither the authors' notebook nor Flower's baseline has it",
        "ranks of matrices follow from their own count of parameters: the authors' notebook has convolutions alone",
        "where keep ratios differ, all clients have the rank of the smallest one: factors of two ranks have no mean",
        "whole stay 1 x 1 shortcuts, and weights of which the smallest rank would hold as many numbers",
    )
    offset = 1.0

    def extract(self, server: Server, selection: Selection) -> nn.Module:
        return self.submodel(server, {**self.factors(server), **_kept_by(server, selection.client)})

    def upload(self, submodel: nn.Module) -> dict[str, Tensor]:
        own = factor_names(submodel, OWN)
        return {name: tensor for name, tensor in super().upload(submodel).items() if name not in own}

    def local_state(self, submodel: nn.Module) -> dict[str, Tensor]:
        own = factor_names(submodel, OWN)
        return {name: tensor.detach() for name, tensor in submodel.named_parameters() if name in own}

    def received(self, server: Server, selection: Selection, submodel: nn.Module) -> Iterable[Tensor]:
        own = factor_names(submodel, OWN)
        return [tensor for name, tensor in submodel.state_dict().items() if name not in own]

    @torch.no_grad()
    def aggregate(self, server: Server, updates: Iterable[Update], streams: Streams) -> Server:
        kept: dict[str, Tensor] = {}
        following = super().aggregate(server, _noted(updates, kept), streams)
        following.memory |= kept
        return following

    def personal_model(self, server: Server, client: Client) -> nn.Module | None:
        own = _kept_by(server, client)
        return self.submodel(server, {**self.factors(server), **own}) if own else None


def _kept_by(server: Server, client: Client) -> Mapping[str, Tensor]:
    """Return what a client has kept, by the names in a sub-model; empty before it first takes part."""
    prefix = _prefix(client)
    return {name.removeprefix(prefix): tensor for name, tensor in server.memory.items() if name.startswith(prefix)}


def _noted(updates: Iterable[Update], kept: dict[str, Tensor]) -> Iterator[Update]:
    """Pass updates on and note what their clients keep."""
    for update in updates:
        kept |= {_prefix(update.selection.client) + name: tensor.clone() for name, tensor in update.local.items()}
        yield update


def _prefix(client: Client) -> str:
    return f"client/{client.number}/"
