"""What a client's sub-model takes of each quantity that a budget may limit, counted from the sub-model itself."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import torch
from torch import nn

from bench.api import Client, Cohort, Method, Server, Streams
from bench.cell import Cell
from bench.cost.cost import Cost, CostMeter, bytes_of
from bench.models.base import Model, blank
from bench.models.initialise import initial_values
from bench.tasks.base import Recipe, Task

BATCHES = 64
"""Batches that the client has who is counted: what a method draws for each step is averaged over so many an epoch."""


@dataclass(frozen=True)
class Taken:
    """What one client takes in a round.

    Attributes:
        memory: bytes that a local step holds: parameters and buffers, a gradient and, where the recipe has momentum,
            a buffer for each trained parameter, and what autograd keeps of a batch. Workspace is not counted.
        parameters: numbers in the parameters held, trained or not.
        bytes: received and sent in a round.
        macs: multiply-accumulates of forward and backward pass for one sample.
    """

    memory: float
    parameters: float
    bytes: float
    macs: float

    def of(self, quantity: str) -> float:
        """Return the amount of a quantity of :data:`bench.budget.written.UNITS`."""
        return float(getattr(self, quantity))


def step_memory(cost: Cost, buffers: int, recipe: Recipe) -> int:
    """Return the bytes that a local step of a sub-model holds, in 32-bit numbers.

    Args:
        cost: of the sub-model.
        buffers: bytes of its buffers.
        recipe: its batch size and momentum count.
    """
    copies = 2 if recipe.momentum > 0 else 1  # the gradient, and the optimiser's buffer
    return 4 * (cost.parameters + copies * cost.trained_parameters) + buffers + recipe.batch_size * cost.saved_bytes


def taken_by(method: Method, server: Server, task: Task, keep: float, meter: CostMeter) -> Taken:
    """Return what one client of a keep ratio takes, the most of the method's first ``cost_rounds`` rounds.

    Args:
        method: set up for the task.
        server: its state before the first round; methods may change it.
        task: model and recipe.
        keep: the client's keep ratio.
        meter: counts operations, each shape once.
    """
    rounds = [_in_round(number, method, server, task, keep, meter) for number in range(1, method.cost_rounds + 1)]
    return Taken(*(max(amounts) for amounts in zip(*map(astuple, rounds), strict=True)))


def _in_round(number: int, method: Method, server: Server, task: Task, keep: float, meter: CostMeter) -> Taken:
    client = Client(0, BATCHES * task.recipe.batch_size, keep)
    (selection,) = method.select(server, Cohort(number, (client,)), Streams(0, "selection", number))
    submodel = method.extract(server, selection)
    momentum = method.initial_momentum(server, selection) or {}
    down = bytes_of(method.received(server, selection, submodel)) + bytes_of(momentum.values())
    sent = method.upload(submodel)
    up = bytes_of(sent.values()) * (2 if method.returns_momentum else 1)
    networks = [(meter.of(network), passes) for network, passes in method.computed(submodel)]
    cost = meter.of(submodel)
    return Taken(
        memory=step_memory(cost, bytes_of(submodel.buffers()), task.recipe),
        parameters=cost.parameters,
        bytes=down + up,
        macs=math.fsum(own.train_macs * passes for own, passes in networks),
    )


def full_model_of(task: Task) -> Model:
    """Return a task's full model with initial values, which do not matter for what it takes."""
    with torch.device("meta"):
        model = task.model()
    blank(model)
    task.initialise(model, initial_values(0))
    return model


def taken_by_full(task: Task, model: nn.Module, meter: CostMeter) -> Taken:
    """Return what a client takes that trains the full model: FedAvg's."""
    from bench.plugins import registry

    fedavg = registry.method("fedavg").build(Cell(task.name, "fedavg"))
    return taken_by(fedavg, Server(model), task, 1.0, meter)
