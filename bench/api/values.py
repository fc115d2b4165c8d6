"""What passes between a method and the harness: clients, cohorts, selections, updates, the server's state."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Measures = dict[str, dict[str, float]]
"""Measures by name for each piece of the model."""


class Skip(Exception):
    """Raised by :meth:`Method.setup` where a method is not defined, with the reason; the cell counts as skipped."""


@dataclass(frozen=True)
class Client:
    """One client of a round's cohort.

    Attributes:
        number: index of the client in the federation, from 0.
        samples: number of training samples it holds.
        keep: keep ratio of the sub-model it can train, in (0, 1].
        labels: the classes among its samples, ascending; what it would tell the server of them.
    """

    number: int
    samples: int
    keep: float
    labels: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cohort:
    """The clients that take part in one communication round.

    Attributes:
        round_number: the communication round, from 1.
        clients: the clients in the order in which they were drawn.
    """

    round_number: int
    clients: tuple[Client, ...]


@dataclass(frozen=True)
class Selection:
    """The part of the server model that one client gets.

    Attributes:
        client: who gets it.
        indices: for each named piece of the model (a factored weight, a channel group) the kept indices, int64 and
            ascending. Empty for the full model.
        multipliers: for each named piece frozen factors of the kept units, where a method weighs them; empty for ones.
        draws: what else was drawn for the client, by name, for example the width of each of its local steps.
    """

    client: Client
    indices: Mapping[str, Tensor] = field(default_factory=dict)
    multipliers: Mapping[str, Tensor] = field(default_factory=dict)
    draws: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """What one client sends back.

    Attributes:
        selection: the part it was given.
        parameters: the trained tensors of its sub-model by name, those of :meth:`Method.upload`.
        momentum: the optimiser's momentum buffers by parameter name; empty unless :attr:`Method.returns_momentum`.
        local: what the client does not send and keeps for its next round, see :meth:`Method.local_state`. It is here
            because the simulation stores it, in the server's memory, for that client; no other use may be made of it.
    """

    selection: Selection
    parameters: Mapping[str, Tensor]
    momentum: Mapping[str, Tensor] = field(default_factory=dict)
    local: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Server:
    """What the server keeps from one round to the next.

    Attributes:
        model: the full model in its original space; it is what is evaluated unless a method says otherwise.
        memory: further tensors that a method carries across rounds, by name; what clients keep for themselves is in it
            too. Model and memory are what a checkpoint holds; anything else must follow from them.
    """

    model: nn.Module
    memory: dict[str, Tensor] = field(default_factory=dict)


def copy_of(model: nn.Module) -> nn.Module:
    """Return a copy of a model that shares no memory with it."""
    with torch.no_grad():
        return copy.deepcopy(model)
