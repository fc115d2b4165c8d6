"""The yardstick: a plain PyTorch loop over the clients, as one would write it for a single experiment."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from bench.federation import Federation


class BareLoop:
    """Trains copies of the initial model one client after the other, eagerly, with PyTorch's and C's defaults.

    The batches are those of the harness, drawn from the same streams; each is gathered from the client's resident
    tensors, augmented and normalised on its own, with the task's functions.

    Args:
        federation: what is trained; every client's data is put on its device here.
        threads: number of threads PyTorch may use.
    """

    def __init__(self, federation: Federation, threads: int) -> None:
        torch.set_num_threads(threads)
        self.federation, self.model = federation, federation.initial_model()
        self.data = [federation.client_data(client) for client in range(federation.task.recipe.clients)]

    def train(self, round_number: int) -> int:
        """Train the cohort of a round and return the number of samples passed."""
        epochs = self.federation.task.recipe.local_epochs
        clients = self.federation.cohort(round_number).clients
        for _ in self.trained(round_number):
            pass
        return sum(client.samples * epochs for client in clients)

    def trained(self, round_number: int) -> Iterator[nn.Module]:
        """Yield the trained model of each client of a round's cohort, in the cohort's order."""
        task, recipe = self.federation.task, self.federation.task.recipe
        for client in self.federation.cohort(round_number).clients:
            inputs, labels = self.data[client.number]
            order_rng = self.federation.streams("batches", round_number).client(client.number)
            augment_rng = self.federation.streams("augmentation", round_number).client(client.number)
            model = copy.deepcopy(self.model).train()
            optimiser = torch.optim.SGD(
                model.parameters(), recipe.lr_of(round_number), recipe.momentum, weight_decay=recipe.weight_decay
            )
            for _ in range(recipe.local_epochs):
                order = torch.from_numpy(order_rng.permutation(len(labels))).to(self.federation.device)
                for batch in order.split(recipe.batch_size):
                    prepared = task.prepare(task.augment(inputs[batch], augment_rng))
                    # PyTorch's default layout is part of the yardstick; the copy is a thousandth of the batch's time.
                    samples = prepared.clone(memory_format=torch.contiguous_format)
                    optimiser.zero_grad()
                    task.loss(model(samples), labels[batch]).backward()
                    optimiser.step()
            yield model

    def close(self) -> None:
        """Nothing is left running."""
