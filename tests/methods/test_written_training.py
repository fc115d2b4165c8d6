"""Local training of FedHM and FjORD over several steps, against loops written from their formulas.

The CNN in double precision: its forward pass is written out as a function of a dictionary of tensors. Of PyTorch only
convolutions, pools and the gradients of that function are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import CNN, federation
from reference import SIZE, assert_same, batches, exact, prepared
from torch import Tensor
from torch.nn import functional

from bench.federation.federation import Federation
from bench.training.local import Job, train_client

MOMENTUM, DECAY, LR = 0.9, 0.02, 0.01
TRAINING = {**SIZE, "momentum": MOMENTUM, "weight_decay": DECAY, "lr": LR}
STEPS = 10
"""Two epochs of 37 samples in batches of 8."""

Tensors = dict[str, Tensor]


def written_sgd(
    built: Federation,
    client: int,
    start: Mapping[str, Tensor],
    loss_of: Callable[[Tensors, Tensor, Tensor, int], tuple[Tensor, Tensor]],
    decay: Callable[[str], float],
) -> tuple[Tensors, Tensors, float, int]:
    """Return parameters, buffers, mean loss and passes after ``b <- m b + g + decay x`` and ``x <- x - lr b``.

    Args:
        built: the federation.
        client: who trains.
        start: the parameters to begin with.
        loss_of: returns loss and penalty of parameters, inputs, labels and the number of the step.
        decay: the weight decay of a parameter.
    """
    values = {name: tensor.detach().clone() for name, tensor in start.items()}
    buffers = {name: torch.zeros_like(tensor) for name, tensor in values.items()}
    total, passes, step = 0.0, 0, 0
    for _, inputs, labels in batches(built, client):
        moving = {name: tensor.clone().requires_grad_() for name, tensor in values.items()}
        loss, penalty = loss_of(moving, inputs, labels, step)
        gradients = torch.autograd.grad(loss + penalty, list(moving.values()))
        for (name, value), gradient in zip(values.items(), gradients, strict=True):
            buffers[name] = MOMENTUM * buffers[name] + gradient + decay(name) * value
            values[name] = value - LR * buffers[name]
        total, passes, step = total + loss.item() * len(labels), passes + len(labels), step + 1
    assert step == STEPS
    return values, buffers, total / passes, passes


def logits_of(kernels: tuple[Tensor, Tensor, Tensor], biases: tuple[Tensor, Tensor, Tensor], inputs: Tensor) -> Tensor:
    """Return what the CNN computes with two kernels and a classifier of any number of channels."""
    hidden = inputs
    for kernel, bias in zip(kernels[:2], biases[:2], strict=True):
        hidden = functional.conv2d(hidden, kernel, bias, padding=kernel.shape[-1] // 2)
        hidden = functional.max_pool2d(hidden.clamp(min=0), 2)
    return hidden.flatten(1) @ kernels[2].T + biases[2]


def cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Return the mean over samples of ``sum_c -p_c log q_c`` for given p and the softmax q of logits."""
    return (shares * (logits.logsumexp(1, keepdim=True) - logits)).sum(1).mean()


def one_hot(labels: Tensor, classes: int = 62) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[labels]


FEDHM: list[dict[str, Any]] = [
    {},
    {"factor_decay": True},
    {"frobenius_decay": 0.3},
    {"frobenius_decay": 0.3, "factor_decay": True},
    {"masked_loss": True},
]


@pytest.mark.parametrize("parameters", FEDHM, ids=str)
def test_fedhm_decays_the_product_of_its_factors_and_the_rest_by_itself(parameters: dict[str, Any]) -> None:
    built = exact(federation("fedhm", CNN, keep=0.3, training=TRAINING, parameters=parameters))
    server, selection = prepared(built)
    submodel = built.method.extract(server, selection)
    start = {name: tensor.detach().clone() for name, tensor in submodel.named_parameters()}
    factors = {"conv2.weight_u": (64 * 3, 19), "conv2.weight_v": (19, 64 * 3)}
    assert {name: tuple(start[name].shape) for name in factors} == factors
    absent = [label for label in range(62) if label not in selection.client.labels]
    assert absent and selection.client.labels

    def loss_of(now: Tensors, inputs: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        u, v = now["conv2.weight_u"].reshape(64, 3, 19), now["conv2.weight_v"].reshape(19, 64, 3)
        kernel = torch.einsum("nir,rmj->nmij", u, v)
        logits = logits_of((now["conv1.weight"], kernel, now["classifier.weight"]), biases_of(now), inputs)
        if parameters.get("masked_loss"):
            logits = torch.stack([row * 0 if c in absent else row for c, row in enumerate(logits.T)]).T
        penalty = parameters.get("frobenius_decay", DECAY) / 2 * kernel.square().sum()
        return cross_entropy(logits, one_hot(labels)), penalty

    def decay(name: str) -> float:
        return 0.0 if name in factors and not parameters.get("factor_decay") else DECAY

    expected = written_sgd(built, selection.client.number, start, loss_of, decay)
    assert_same(train_client(Job(selection.client.number, 1, submodel), built), expected)


def biases_of(now: Tensors) -> tuple[Tensor, Tensor, Tensor]:
    return now["conv1.bias"], now["conv2.bias"], now["classifier.bias"]


def leading(now: Tensors, width: float) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return kernels and biases of the network of the first ``ceil(width * 64)`` channels."""
    held = math.ceil(round(width * 64, 6))
    first, second, last = now["conv1.weight"], now["conv2.weight"], now["classifier.weight"]
    kernels = first[:held], second[:held, :held], last[:, : held * 49]
    return kernels, (now["conv1.bias"][:held], now["conv2.bias"][:held], now["classifier.bias"])


@pytest.mark.parametrize("distillation", [False, True])
def test_fjord_trains_the_leading_channels_of_each_step(distillation: bool) -> None:
    """Momentum and weight decay go on in the channels that a step leaves out: their gradient is 0 there."""
    keep, widths = 0.75, [0.75, 0.4, 0.2, 0.2, 0.6, 0.75, 0.4, 0.75, 0.2, 0.6]
    parameters = {"distillation": distillation}
    built = exact(federation("fjord", CNN, keep=keep, training=TRAINING, parameters=parameters))
    server, selection = prepared(built)
    assert selection.draws["widths"].shape == (STEPS,)
    selection = replace(selection, draws={"widths": torch.tensor(widths, dtype=torch.float64)})
    kernels, biases = leading(dict(server.model.named_parameters()), keep)
    names = ("conv1", "conv2", "classifier")
    start = {f"{name}.weight": kernel for name, kernel in zip(names, kernels, strict=True)}
    start |= {f"{name}.bias": bias for name, bias in zip(names, biases, strict=True)}

    def loss_of(now: Tensors, inputs: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        none = torch.zeros((), dtype=torch.float64)
        narrow = logits_of(*leading(now, widths[step]), inputs)
        if not distillation:
            return cross_entropy(narrow, one_hot(labels)), none
        wide = logits_of(*leading(now, keep), inputs)
        taught = np.exp(wide.detach().numpy())
        shares = torch.from_numpy(taught / taught.sum(1, keepdims=True))
        return cross_entropy(wide, one_hot(labels)) + cross_entropy(narrow, shares), none

    expected = written_sgd(built, selection.client.number, start, loss_of, lambda name: DECAY)
    submodel = built.method.extract(server, selection)
    assert_same(train_client(Job(selection.client.number, 1, submodel), built), expected)
