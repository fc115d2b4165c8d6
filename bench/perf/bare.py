"""The yardstick: a plain PyTorch loop over the clients, as one would write it for a single experiment."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from bench.federation import Federation

ClientData = Mapping[int, tuple[Tensor, Tensor]]


def resident_data(federation: Federation) -> ClientData:
    """Return every client's inputs (as stored) and labels by the client's number, held on the device."""
    clients = range(federation.task.recipe.clients)
    return {client: federation.client_data(client) for client in clients}


def train_clients(federation: Federation, model: nn.Module, data: ClientData, round_number: int) -> Iterator[nn.Module]:
    """Train a copy of the model on each client of the round's cohort, one after the other, and yield the copies.

    The batches are those of the harness, drawn from the same streams. Each batch is gathered, augmented and normalised
    on its own, with the task's functions.
    """
    task, recipe = federation.task, federation.task.recipe
    for client in federation.cohort(round_number).clients:
        inputs, labels = data[client.number]
        order_rng = federation.streams("batches", round_number).client(client.number)
        augment_rng = federation.streams("augmentation", round_number).client(client.number)
        local = copy.deepcopy(model).train()
        optimiser = torch.optim.SGD(
            local.parameters(), recipe.lr_of(round_number), recipe.momentum, weight_decay=recipe.weight_decay
        )
        for _ in range(recipe.local_epochs):
            order = torch.from_numpy(order_rng.permutation(len(labels))).to(federation.device)
            for batch in order.split(recipe.batch_size):
                samples = task.prepare(task.augment(inputs[batch], augment_rng))
                optimiser.zero_grad()
                task.loss(local(samples), labels[batch]).backward()
                optimiser.step()
        yield local
