"""A client's training written out by hand: batch after batch, parameter after parameter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.api import Selection, Server
from bench.federation.federation import Federation
from bench.models.factorise import low_rank_layers
from bench.training.local import Job, Trained, train_client

UNDECAYED = {"prism": ("conv2.bias",), "orthdrop": ("conv2.bias",)}
"""Of the CNN, beside the factors: PriSM's released code has the bias behind them in their group, without decay."""
SIZE = {"samples_per_client": 37, "batch_size": 8, "local_epochs": 2}


def exact(built: Federation) -> Federation:
    """Let a federation compute in double precision, where rounding cannot hide a difference (or make one)."""
    prepare, initial_model = built.task.prepare, built.initial_model

    def doubled(inputs: Tensor) -> Tensor:
        prepared_inputs = prepare(inputs)
        return prepared_inputs.double() if prepared_inputs.is_floating_point() else prepared_inputs

    built.task.prepare = doubled  # type: ignore[method-assign]
    built.initial_model = lambda: initial_model().double()  # type: ignore[method-assign]
    return built


def prepared(built: Federation, client: int = 0) -> tuple[Server, Selection]:
    server = built.method.setup(built.initial_model(), built.task)
    selections = built.method.select(server, built.cohort(1), built.streams("selection", 1))
    return server, selections[client]


def train(built: Federation, momentum: Mapping[str, Tensor] | None = None, round_number: int = 1) -> Trained:
    server, selection = prepared(built)
    submodel = built.method.extract(server, selection)
    return train_client(Job(selection.client.number, round_number, submodel, momentum), built)


def batches(
    built: Federation, client: int, round_number: int = 1, drop_last: bool = False
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield epoch, inputs and labels of each batch, one sample after the other gathered and prepared by itself."""
    task, recipe = built.task, built.task.recipe
    inputs, labels = built.client_data(client)
    order_rng = built.streams("batches", round_number).client(client)
    augment_rng = built.streams("augmentation", round_number).client(client)
    for epoch in range(recipe.local_epochs):
        order = order_rng.permutation(len(labels)).tolist()
        stored = torch.stack([inputs[place] for place in order])
        augmented = task.augment(stored, augment_rng)
        for start in range(0, len(order), recipe.batch_size):
            places = order[start : start + recipe.batch_size]
            if (recipe.drop_last or drop_last) and len(places) < recipe.batch_size <= len(order):
                continue
            pieces = [task.prepare(augmented[start + place : start + place + 1]) for place in range(len(places))]
            yield epoch, torch.cat(pieces), torch.stack([labels[place] for place in places])


def reference_training(
    built: Federation,
    momentum: Mapping[str, Tensor] | None = None,
    *,
    learning_rates: Sequence[float] = (),
    clip_tau: float | None = None,
    clip_norm: float | None = None,
    drop_last: bool = False,
    undecayed: Sequence[str] | None = None,
) -> tuple[Any, ...]:
    """Return parameters, momentum buffers, mean loss and passes of plain SGD written out.

    Weight decay, momentum and step follow Sutskever's form as torch documents it: ``buffer <- m buffer + gradient``,
    ``parameter <- parameter - lr buffer``.

    Args:
        built: the federation, whose first client of round 1 is trained.
        momentum: buffers to start from.
        learning_rates: of each epoch; the round's if not given.
        clip_tau: gradients of a kernel with multiplier w are multiplied by ``min(1, tau / w)``.
        clip_norm: largest norm of the gradient, beside the recipe's.
        drop_last: leave the last, smaller batch out whatever the recipe says.
        undecayed: parameters beside the factors without weight decay; by default those of :data:`UNDECAYED`.
    """
    spared = UNDECAYED.get(built.method.name, ()) if undecayed is None else undecayed
    server, selection = prepared(built)
    model, recipe = built.method.extract(server, selection).train(), built.task.recipe
    learning_rates = learning_rates or [recipe.lr_of(1)] * recipe.local_epochs
    buffers = {name: tensor.clone() for name, tensor in (momentum or {}).items()}
    total, passes = 0.0, 0
    for epoch, inputs, labels in batches(built, selection.client.number, drop_last=drop_last):
        loss = built.task.loss(model(inputs), labels)
        total, passes = total + loss.item() * len(labels), passes + len(labels)
        model.zero_grad()
        (loss + frobenius_penalty(model, recipe.weight_decay)).backward()
        gradients = {name: tensor.grad for name, tensor in model.named_parameters() if tensor.grad is not None}
        if clip_tau is not None:
            gradients = damped(gradients, selection, clip_tau)
        gradients = shrunk(shrunk(gradients, clip_norm), recipe.clip_norm)
        for name, tensor in model.named_parameters():
            decay = 0.0 if name.endswith(("_u", "_v")) or name in spared else recipe.weight_decay
            step = gradients[name] + decay * tensor.detach()
            buffers[name] = recipe.momentum * buffers[name] + step if name in buffers else step
            tensor.data = tensor.data - learning_rates[epoch] * buffers[name]
    return {name: tensor.detach() for name, tensor in model.named_parameters()}, buffers, total / passes, passes


def frobenius_penalty(model: nn.Module, decay: float) -> Tensor:
    """Return half the decay times the squared norms of the products of all factors, multiplied out."""
    norms = [
        (layer.factors(weight).product() ** 2).sum()
        for layer in low_rank_layers(model).values()
        for weight in layer.factored_weights()
    ]
    return torch.stack([*norms, torch.zeros((), dtype=torch.float64)]).sum() * decay / 2


def damped(gradients: Mapping[str, Tensor], selection: Selection, tau: float) -> dict[str, Tensor]:
    """Return gradients with those of each kernel multiplied by ``min(1, tau / w)``, kernel by kernel."""
    result = {name: gradient.clone() for name, gradient in gradients.items()}
    for weight, multipliers in selection.multipliers.items():
        for kernel, w in enumerate(multipliers.tolist()):
            result[f"{weight}_u"][:, kernel] *= min(1.0, tau / w)
            result[f"{weight}_v"][kernel] *= min(1.0, tau / w)
    return result


def shrunk(gradients: Mapping[str, Tensor], clip_norm: float | None) -> dict[str, Tensor]:
    """Return gradients whose common norm is at most ``clip_norm``."""
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
    shrink = 1.0 if clip_norm is None else min(1.0, clip_norm / (norm + 1e-6))
    return {name: gradient * shrink for name, gradient in gradients.items()}


def assert_same(trained: Trained, expected: tuple[Any, ...], tolerance: float = 1e-9) -> None:
    parameters, buffers, loss, passes = expected
    assert set(trained.parameters) == set(parameters)
    for name, value in parameters.items():
        torch.testing.assert_close(trained.parameters[name], value, rtol=tolerance, atol=tolerance)
    for name, value in trained.momentum.items():
        torch.testing.assert_close(value, buffers[name], rtol=tolerance, atol=tolerance)
    assert trained.loss == pytest.approx(loss, rel=1e-6)
    assert trained.passes == passes
