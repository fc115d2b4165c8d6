"""Local training: what a client does with its sub-model in one round. The only hot loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.precision import outputs_of

if TYPE_CHECKING:
    from bench.api import Method
    from bench.federation import Federation
    from bench.tasks.base import Recipe


class Diverged(Exception):
    """A client's loss, or the server model after a round, is not finite."""


@dataclass(frozen=True)
class Job:
    """What a client is asked to do.

    Attributes:
        client: the client's number.
        round_number: the communication round, from 1.
        submodel: its sub-model, trained in place.
        momentum: momentum buffers to start from, by parameter name; None starts from zero.
        learning_rates: of each local epoch; None for the recipe's.
        reference: train as FedAvg would, whatever the method.
    """

    client: int
    round_number: int
    submodel: nn.Module
    momentum: Mapping[str, Tensor] | None = None
    learning_rates: Sequence[float] | None = None
    reference: bool = False


@dataclass(frozen=True)
class Trained:
    """What a client has done.

    Attributes:
        parameters: the tensors it sends back.
        momentum: its momentum buffers by parameter name; empty unless the method asks for them.
        loss: mean training loss over its passes, without the penalty.
        passes: samples passed through the sub-model, each epoch counted.
    """

    parameters: dict[str, Tensor]
    momentum: dict[str, Tensor]
    loss: float
    passes: int


@torch.enable_grad()  # updates are drawn from within a method's aggregation, which runs without gradients
def train_client(job: Job, federation: Federation) -> Trained:
    """Train a client's sub-model on its own data for the recipe's local epochs.

    Plain SGD with momentum over shuffled batches; the last, smaller batch is used unless recipe or method drop it. The
    order of the samples and their augmentation come from streams that do not depend on the method or keep ratio.

    Raises:
        Diverged: the loss is not finite.
    """
    task, recipe = federation.task, federation.task.recipe
    method = federation.reference if job.reference else federation.method
    submodel = job.submodel.train()
    inputs, labels = federation.client_data(job.client)
    learning_rates = job.learning_rates
    if learning_rates is None:
        learning_rates = [recipe.lr_of(job.round_number)] * recipe.local_epochs
    optimiser = _optimiser(job, learning_rates[0], recipe, method)
    order_rng = federation.streams("batches", job.round_number).client(job.client)
    augment_rng = federation.streams("augmentation", job.round_number).client(job.client)
    batch = recipe.batch_size
    drop_last = (recipe.drop_last or method.drop_last) and len(labels) >= batch
    used = len(labels) // batch * batch if drop_last else len(labels)
    total = torch.zeros((), device=federation.device)
    for lr in learning_rates:
        for group in optimiser.param_groups:
            group["lr"] = lr
        # A whole epoch is gathered, augmented and converted at once; batches are then slices of it.
        order = torch.from_numpy(order_rng.permutation(len(labels))).to(federation.device)
        samples = task.prepare(task.augment(inputs[order], augment_rng))
        targets = labels[order]
        for start in range(0, used, batch):
            piece = slice(start, min(start + batch, used))
            loss = task.loss(outputs_of(submodel, samples[piece], recipe.precision), targets[piece])
            penalty = method.penalty(submodel)
            (loss if penalty is None else loss + penalty).backward()
            method.adjust_gradients(submodel)
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_(submodel.parameters(), recipe.clip_norm)
            optimiser.step()
            optimiser.zero_grad()
            total += loss.detach() * (piece.stop - piece.start)
    passes = used * len(learning_rates)
    mean_loss = float(total) / passes if passes else 0.0
    if not torch.isfinite(total):
        raise Diverged(f"round {job.round_number}: the training loss of client {job.client} is {mean_loss}")
    return Trained(method.upload(submodel), _buffers(submodel, optimiser, method.returns_momentum), mean_loss, passes)


def _optimiser(job: Job, lr: float, recipe: Recipe, method: Method) -> torch.optim.SGD:
    """Return SGD with the first epoch's learning rate; parameters the method exempts are not decayed by it."""
    exempt = method.decay_free(job.submodel)
    trained = [(name, tensor) for name, tensor in job.submodel.named_parameters() if tensor.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [tensor for name, tensor in trained if name not in exempt]},
        {"params": [tensor for name, tensor in trained if name in exempt], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.SGD(groups, lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
    if job.momentum is not None:
        for name, tensor in trained:
            # The fused step wants a buffer for all parameters or none, laid out in memory as the parameter is: it
            # would silently take the entries of a transposed buffer in the wrong order.
            buffer = optimiser.state[tensor]["momentum_buffer"] = torch.zeros_like(tensor, requires_grad=False)
            if name in job.momentum:
                buffer.copy_(job.momentum[name])
    return optimiser


def _buffers(submodel: nn.Module, optimiser: torch.optim.SGD, wanted: bool) -> dict[str, Tensor]:
    """Return the momentum buffers by parameter name."""
    if not wanted:
        return {}
    buffers = {name: optimiser.state[tensor].get("momentum_buffer") for name, tensor in submodel.named_parameters()}
    return {name: buffer for name, buffer in buffers.items() if buffer is not None}
