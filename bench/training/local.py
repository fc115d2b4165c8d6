"""Local training: what a client does with its sub-model in one round. The only hot loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bench.data.transfer import to_device
from bench.errors import BenchError
from bench.models.recompute import recomputing
from bench.numerics.precision import outputs_of, products_in
from bench.training.descent import Descent

if TYPE_CHECKING:
    from bench.api import Method
    from bench.federation.federation import Federation
    from bench.tasks.base import Recipe, Task


class Diverged(Exception):
    """A client's loss, or the server model after a round, is not finite."""


@dataclass(frozen=True)
class Job:
    """What a client is asked to do.

    Attributes:
        client: the client's number.
        round_number: the communication round, from 1.
        submodel: its sub-model, not to be used afterwards: it is trained in place, or a replica in its stead.
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
        local: the tensors it keeps for its next round.
        momentum: its momentum buffers by parameter name; empty unless the method asks for them.
        loss: mean training loss over its passes, without the penalty.
        passes: samples passed through the sub-model, each epoch counted.
    """

    parameters: dict[str, Tensor]
    momentum: dict[str, Tensor]
    loss: float
    passes: int
    local: dict[str, Tensor] = field(default_factory=dict)


@torch.enable_grad()  # updates are drawn from within a method's aggregation, which runs without gradients
def train_client(job: Job, federation: Federation) -> Trained:
    """Train a client's sub-model on its own data for the recipe's local epochs.

    Plain SGD with momentum over shuffled batches; the last, smaller batch is used unless recipe or method drop it. The
    order of the samples and their augmentation come from streams that do not depend on the method or keep ratio.

    Raises:
        Diverged: the loss is not finite.
    """
    method = method_of(job, federation)
    submodel, lr = job.submodel.train(), learning_rate_on(federation.device)
    optimiser = optimiser_of(submodel, lr, federation.task.recipe, method, job.momentum)
    total, passes = torch.zeros((), device=federation.device), 0
    with recomputing(submodel) if federation.task.recipe.recompute else nullcontext():
        for rate, samples, targets in local_batches(job, federation):
            lr.fill_(rate)
            total += local_step(submodel, optimiser, samples, targets, federation.task, method) * len(targets)
            passes += len(targets)
    loss = mean_loss(job, float(total), passes)
    momentum = momentum_of(submodel, optimiser) if method.returns_momentum else {}
    return Trained(
        tensors_of(method, "upload", submodel), momentum, loss, passes, tensors_of(method, "local_state", submodel)
    )


def method_of(job: Job, federation: Federation) -> Method:
    """Return the method whose hooks take part in a client's training."""
    return federation.reference if job.reference else federation.method


def local_batches(job: Job, federation: Federation) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Yield learning rate, prepared samples and targets of each of a client's local steps."""
    task, recipe = federation.task, federation.task.recipe
    inputs, labels = federation.client_data(job.client)
    learning_rates = job.learning_rates
    if learning_rates is None:
        learning_rates = [recipe.lr_of(job.round_number)] * recipe.local_epochs
    order_rng = federation.streams("batches", job.round_number).client(job.client)
    augment_rng = federation.streams("augmentation", job.round_number).client(job.client)
    batch = recipe.batch_size
    drop_last = (recipe.drop_last or method_of(job, federation).drop_last) and len(labels) >= batch
    used = len(labels) // batch * batch if drop_last else len(labels)
    for lr in learning_rates:
        # A whole epoch is gathered, augmented and converted at once; batches are then slices of it.
        order = to_device(order_rng.permutation(len(labels)), federation.device)
        samples = task.prepare(task.augment(inputs[order], augment_rng))
        targets = labels[order]
        for start in range(0, used, batch):
            piece = slice(start, min(start + batch, used))
            yield lr, samples[piece], targets[piece]


def local_step(
    submodel: nn.Module, optimiser: Descent, samples: Tensor, targets: Tensor, task: Task, method: Method
) -> Tensor:
    """Move a sub-model by one step of SGD on one batch; return the batch's mean loss, without the penalty."""
    precision = task.recipe.precision
    with products_in(precision):
        forward = partial(outputs_of, submodel, samples, precision)
        own = method.local_loss(submodel, forward, targets)
        loss = task.loss(forward(), targets) if own is None else _scalar(own, method)
        penalty = method.penalty(submodel)
        (loss if penalty is None else loss + penalty).backward()
    method.adjust_gradients(submodel)
    if task.recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(submodel.parameters(), task.recipe.clip_norm)
    optimiser.step()
    optimiser.zero_grad()
    return loss.detach()


def _scalar(loss: Tensor, method: Method) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim:
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise BenchError(f"method {method.name!r}: local_loss returned {shape:.80}; allowed: a scalar tensor, or None")
    return loss


def tensors_of(method: Method, hook: str, submodel: nn.Module) -> dict[str, Tensor]:
    """Return what a method's hook says of a trained sub-model, "upload" or "local_state".

    Raises:
        BenchError: it is no dictionary of tensors.
    """
    tensors = getattr(method, hook)(submodel)
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise BenchError(f"method {method.name!r}: {hook} returned {tensors!r:.80}; allowed: tensors by name")
    return tensors


def learning_rate_on(device: torch.device) -> Tensor:
    """Return a scalar to hold the learning rate, in the type that the fused step reads it in on a device."""
    return torch.zeros((), dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)


def optimiser_of(
    submodel: nn.Module, lr: Tensor, recipe: Recipe, method: Method, momentum: Mapping[str, Tensor] | None
) -> Descent:
    """Return SGD; parameters the method exempts are not decayed by it.

    Args:
        submodel: what is trained.
        lr: a scalar that is read anew at each step.
        recipe, method: what it depends on.
        momentum: buffers to start from, by parameter name, zeros where there is none; None for no buffers as yet.
    """
    exempt = method.decay_free(submodel)
    trained = [(name, tensor) for name, tensor in submodel.named_parameters() if tensor.requires_grad]
    groups = [
        ({name: tensor for name, tensor in trained if name not in exempt}, recipe.weight_decay),
        ({name: tensor for name, tensor in trained if name in exempt}, 0.0),
    ]
    optimiser = Descent(groups, lr, recipe.momentum)
    if momentum is not None:
        for name, tensor in trained:
            # The fused step wants a buffer for all parameters or none, laid out in memory as the parameter is: it
            # would silently take the entries of a transposed buffer in the wrong order.
            buffer = optimiser.buffers[name] = torch.zeros_like(tensor, requires_grad=False)
            if name in momentum:
                buffer.copy_(momentum[name])
    return optimiser


def momentum_of(submodel: nn.Module, optimiser: Descent) -> dict[str, Tensor]:
    """Return the momentum buffers by parameter name."""
    buffers = optimiser.buffers
    return {name: buffers[name] for name, _ in submodel.named_parameters() if name in buffers}


def mean_loss(job: Job, total: float, passes: int) -> float:
    """Return the mean of a client's losses from their sum.

    Raises:
        Diverged: it is not finite.
    """
    loss = total / passes if passes else 0.0
    if not math.isfinite(total):
        raise Diverged(f"round {job.round_number}: the training loss of client {job.client} is {loss}")
    return loss
