"""Cohorts that stay together for some rounds, whose clients keep some tensors from one of them to the next.

The server's memory holds for each such client ``weight/<number>`` and ``client/<number>/<parameter>``, what it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench.api import Client, Selection, Server, Update, copy_of
from bench.families.averaging import CoverageMean


@dataclass(frozen=True)
class Turn(Selection):
    """The full model for one client in one round."""

    round_number: int = 1


def round_of(selection: Selection) -> int:
    """Return the round that a :class:`Turn` is for."""
    assert isinstance(selection, Turn)
    return selection.round_number


@torch.no_grad()
def restore(submodel: nn.Module, server: Server, client: Client) -> None:
    """Give a sub-model, in place, the tensors that its client has kept."""
    for name, tensor in submodel.named_parameters():
        own = server.memory.get(f"client/{client.number}/{name}")
        if own is not None:
            tensor.copy_(own)


def remember(server: Server, update: Update, weight: float) -> None:
    """Keep what a client keeps, in the place of what it kept before."""
    number, memory = update.selection.client.number, server.memory
    own = f"client/{number}/"
    for entry in [entry for entry in memory if entry.startswith(own)]:
        del memory[entry]
    memory.pop(f"weight/{number}", None)
    for name, values in update.local.items():
        memory[own + name] = values
    if update.local:
        memory[f"weight/{number}"] = next(iter(update.local.values())).new_tensor(weight)


@torch.no_grad()
def mean_model(server: Server) -> nn.Module:
    """Return the mean of the cohort's models as they are: the server's where nobody keeps anything."""
    means = {name: CoverageMean(tensor.detach()) for name, tensor in server.model.named_parameters()}
    kept = set()
    for entry, values in server.memory.items():
        kind, _, rest = entry.partition("/")
        if kind == "client":
            number, _, name = rest.partition("/")
            means[name].add(values, weight=float(server.memory[f"weight/{number}"]))
            kept.add(name)
    if not kept:
        return server.model
    model = copy_of(server.model)
    for name, tensor in model.named_parameters():
        if name in kept:
            tensor.copy_(means[name].result())
    return model
