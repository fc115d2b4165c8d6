"""The yardstick: a plain PyTorch loop over the clients, as one would write it for a single experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from bench.api import Cohort
from bench.federation.federation import Federation
from bench.numerics.precision import outputs_of, products_in
from bench.perf.trainer import Trainer


class BareLoop(Trainer):
    """Trains the clients' sub-models one after the other, eagerly, with PyTorch's and C's defaults.

    Sub-models are those that the method extracts, copies of the full model for FedAvg. The batches are those of the
    harness; each is gathered from the client's resident tensors, augmented and normalised on its own, with the task's
    functions (so that crops and flips, drawn batch by batch, are others than the harness'). The loss has the method's
    penalty, by autograd, where it has one: PriSM decays the products of its factors so, and exempts the factors from
    the optimiser's weight decay.

    Args:
        federation: what is trained; every client's data is put on its device here.
        threads: number of threads PyTorch may use.
    """

    def __init__(self, federation: Federation, threads: int) -> None:
        torch.set_num_threads(threads)
        super().__init__(federation)
        self.data = [federation.client_data(client) for client in range(federation.task.recipe.clients)]

    def train(self, cohort: Cohort) -> int:
        epochs = self.federation.task.recipe.local_epochs
        for _ in self.trained(cohort):
            pass
        return sum(client.samples * epochs for client in cohort.clients)

    def trained(self, cohort: Cohort) -> Iterator[nn.Module]:
        """Yield the trained sub-model of each client of a cohort, in the cohort's order."""
        for selection in self.selections(cohort):
            model = self.method.extract(self.server, selection).train()
            self._train(model, selection.client.number, cohort.round_number)
            yield model

    def _train(self, model: nn.Module, client: int, round_number: int) -> None:
        task, recipe = self.federation.task, self.federation.task.recipe
        inputs, labels = self.data[client]
        order_rng = self.federation.streams("batches", round_number).client(client)
        augment_rng = self.federation.streams("augmentation", round_number).client(client)
        optimiser = torch.optim.SGD(
            self._groups(model), recipe.lr_of(round_number), recipe.momentum, weight_decay=recipe.weight_decay
        )
        for _ in range(recipe.local_epochs):
            order = torch.from_numpy(order_rng.permutation(len(labels))).to(self.federation.device)
            for batch in order.split(recipe.batch_size):
                prepared = task.prepare(task.augment(inputs[batch], augment_rng))
                # PyTorch's default layout is part of the yardstick; the copy is a thousandth of the batch's time.
                samples = prepared.clone(memory_format=torch.contiguous_format)
                optimiser.zero_grad()
                with products_in(recipe.precision):
                    loss = task.loss(outputs_of(model, samples, recipe.precision), labels[batch])
                    penalty = self.method.penalty(model)
                    (loss if penalty is None else loss + penalty).backward()
                optimiser.step()

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Return the optimiser's groups of parameters: those it decays, and those that the method exempts."""
        exempt = self.method.decay_free(model)
        named = list(model.named_parameters())
        decayed = {"params": [tensor for name, tensor in named if name not in exempt]}
        return [decayed, {"params": [tensor for name, tensor in named if name in exempt], "weight_decay": 0.0}]

    def close(self) -> None:
        """Nothing is left running."""
